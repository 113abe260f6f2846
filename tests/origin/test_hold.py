"""GETs that wait for an object to appear: who may wait, how long, and what they get."""

from __future__ import annotations

import pytest
import trio

from tests.origin.conftest import OpenSite
from tests.origin.drive import Client, Site

SEGMENT = "/live/2.m4s"


async def hold(site: Site, target: str, *lines: str) -> Client:
    """Send a GET that will wait."""
    client = site.connect()
    await client.request("GET", target, *lines)
    await trio.testing.wait_all_tasks_blocked()
    return client


async def warm(site: Site, target: str = "/live/1.m4s") -> None:
    """Let a folder receive a byte."""
    await site.put(target, b"x")


async def elapsed(site: Site, target: str, *lines: str) -> tuple[int, float]:
    """The status of a GET, and how long it took by the test's clock, in seconds."""
    began = trio.current_time()
    status = (await site.get(target, *lines)).status
    return status, round(trio.current_time() - began, 3)


@pytest.mark.parametrize(("asked", "waited"), [("0", 0), ("1", 1), ("3", 3), ("60", 5), ('"2"', 2)])
async def test_prefer_wait_up_to_the_cap(site: Site, asked: str, waited: float) -> None:
    assert await elapsed(site, "/nothing", f"Prefer: wait={asked}") == (404, waited)
    assert await elapsed(site, "/nothing", f"Prefer: x, wait={asked}; y") == (404, waited)


async def test_prefer_that_is_no_wait_is_ignored(site: Site) -> None:
    for value in ("wait", "wait=soon", "wait=-1", "respond-async", "waiting=5"):
        assert await elapsed(site, "/nothing", f"Prefer: {value}") == (404, 0)


async def test_a_hold_is_answered_at_the_first_byte(site: Site) -> None:
    client = await hold(site, "/x", "Prefer: wait=5")
    writer = await site.upload("/x")
    assert site.waiter_count == 1  # a PUT without a byte isn't there yet: no head went out
    await writer.chunk(b"abc")
    assert site.waiter_count == 0
    answer = await client.head()
    assert answer.fields["chunkstore-state"] == "open"
    await writer.end()
    assert (await client.rest()).body == b"abc"
    assert site.origin.metrics.holds_met == 1
    await site.check_nothing_left()


async def test_a_hold_may_be_met_by_an_empty_object(site: Site) -> None:
    client = await hold(site, "/x", "Prefer: wait=5")
    await site.put("/x", b"")
    answer = await client.read()
    assert (answer.status, answer.body) == (200, b"")


async def test_a_held_range_goes_on_as_for_an_open_object(site: Site) -> None:
    client = await hold(site, "/x", "Prefer: wait=5", "Range: bytes=2-4")
    writer = await site.upload("/x")
    await writer.chunk(b"012")
    await writer.chunk(b"345")
    answer = await client.read()
    assert (answer.status, answer.body) == (206, b"234")


async def test_a_put_without_a_byte_is_invisible_but_held_for(site: Site) -> None:
    writer = await site.upload("/cold/x.bin")
    assert (await site.ask("HEAD", "/cold/x.bin")).status == 404
    assert await site.list() == []
    assert await elapsed(site, "/cold/x.bin") == (404, 5)
    client = await hold(site, "/cold/x.bin")
    await writer.chunk(b"abc")
    await client.head()
    await writer.end()
    assert (await client.rest()).body == b"abc"


async def test_the_policys_hold_for_media_segments_at_a_live_edge(site: Site) -> None:
    await warm(site)
    assert await elapsed(site, SEGMENT) == (404, 2)
    client = await hold(site, SEGMENT)
    await site.put(SEGMENT, b"abc")
    assert (await client.read()).body == b"abc"


@pytest.mark.parametrize("target", ["/live/x.mpd", "/live/x.m3u8", "/live/x.bin", "/live/x"])
async def test_the_policys_hold_is_for_no_other_names(site: Site, target: str) -> None:
    await warm(site)
    assert await elapsed(site, target) == (404, 0)


async def test_no_policy_hold_in_another_folder(site: Site) -> None:
    await warm(site)
    for target in ("/2.m4s", "/live/sub/2.m4s", "/live2/2.m4s"):
        assert await elapsed(site, target) == (404, 0)


async def test_no_policy_hold_where_no_byte_came_within_10_s(site: Site) -> None:
    await warm(site)
    await trio.sleep(9.5)
    assert await elapsed(site, SEGMENT) == (404, 2)
    assert await elapsed(site, SEGMENT) == (404, 0)


async def test_a_byte_of_an_open_upload_keeps_its_folder_live(site: Site) -> None:
    writer = await site.upload("/live/1.m4s")
    await writer.chunk(b"x")
    await trio.sleep(9)
    await writer.chunk(b"y")
    await trio.sleep(9)
    assert await elapsed(site, SEGMENT) == (404, 2)


async def test_no_policy_hold_for_a_deleted_name(site: Site) -> None:
    await warm(site)
    await site.ask("DELETE", "/live/1.m4s")
    assert await elapsed(site, "/live/1.m4s") == (404, 0)
    assert await elapsed(site, "/live/1.m4s", "Prefer: wait=1") == (404, 1)
    await trio.sleep(9)
    await warm(site, "/live/3.m4s")
    assert await elapsed(site, "/live/1.m4s") == (404, 2)


async def test_no_policy_hold_for_an_expired_name(open_site: OpenSite) -> None:
    site = await open_site(ttl_s=3.0)
    await warm(site)
    await trio.sleep(3.1)
    await warm(site, "/live/3.m4s")
    assert await elapsed(site, "/live/1.m4s") == (404, 0)
    assert await elapsed(site, SEGMENT) == (404, 2)


async def test_a_name_that_was_put_again_is_held_for_again(site: Site) -> None:
    await warm(site)
    await site.ask("DELETE", "/live/1.m4s")
    writer = await site.upload("/live/1.m4s")
    client = await hold(site, "/live/1.m4s")
    await writer.chunk(b"again")
    await writer.end()
    assert (await client.read()).body == b"again"


async def test_at_most_10_000_gone_names_are_remembered(site: Site) -> None:
    await warm(site, "/live/live.m4s")
    namespace = site.origin.catalog.namespace
    policy = site.origin.catalog.namespace.visible("/live/live.m4s")
    assert policy is not None
    for number in range(10_001):
        key = f"/live/{number}.m4s"
        namespace.begin(key, policy.policy, created_s=0.0)
        namespace.delete(key, trio.current_time())
    assert len(namespace._gone) == 10_000
    assert await elapsed(site, "/live/10000.m4s") == (404, 0)
    assert await elapsed(site, "/live/0.m4s") == (404, 2)


async def test_too_many_waiters_get_503(open_site: OpenSite) -> None:
    site = await open_site(max_waiters=2)
    first = await hold(site, "/x", "Prefer: wait=5")
    await hold(site, "/y", "Prefer: wait=5")
    refused = await site.get("/z", "Prefer: wait=5")
    assert refused.status == 503
    assert refused.fields["retry-after"] == "1"
    assert (await site.get("/z")).status == 404  # who doesn't wait is told the truth
    writer = await site.upload("/o")
    await writer.chunk(b"abc")
    assert (await site.get("/o", "Range: bytes=7-")).status == 503
    await site.put("/x", b"x")
    assert (await first.read()).status == 200
    assert (await site.get("/z", "Prefer: wait=1")).status == 404


async def test_a_drain_releases_holds_with_503(site: Site) -> None:
    writer = await site.upload("/o")
    await writer.chunk(b"abc")
    clients = [
        await hold(site, "/x", "Prefer: wait=5"),
        await hold(site, "/o", "Range: bytes=7-"),
    ]
    began = trio.current_time()
    site.origin.server.stop()
    for client in clients:
        answer = await client.read()
        assert answer.status == 503
        assert answer.fields["retry-after"] == "1"
        assert answer.fields["connection"] == "close"
    assert trio.current_time() == began
    await writer.end()
    await site.check_nothing_left()


async def test_a_hold_creates_no_placeholder(site: Site) -> None:
    client = await hold(site, "/x", "Prefer: wait=5")
    assert await site.list() == []
    assert (await site.ask("DELETE", "/x")).status == 404
    assert (await site.ask("HEAD", "/x")).status == 404
    assert len(site.origin.catalog.namespace) == 0
    assert (await client.read()).status == 404
    await site.check_nothing_left()


async def test_a_hold_outlives_an_upload_that_dies_without_a_byte(site: Site) -> None:
    client = await hold(site, "/x", "Prefer: wait=5")
    writer = await site.upload("/x")
    await writer.kill()
    await site.put("/x", b"second try")
    assert (await client.read()).body == b"second try"


async def test_a_hold_for_an_atomic_name_waits_for_the_whole(site: Site) -> None:
    client = await hold(site, "/x.mpd", "Prefer: wait=5")
    writer = await site.upload("/x.mpd")
    await writer.chunk(b"abc")
    assert site.waiter_count == 1
    await writer.end()
    answer = await client.read()
    assert answer.fields["content-length"] == "3"


async def test_a_hold_outlives_what_appeared_and_was_cut_at_once(site: Site) -> None:
    held = await hold(site, "/x", "Prefer: wait=5")
    writer = site.connect()
    await writer.request("PUT", "/x", "Transfer-Encoding: chunked")
    await writer.send(b"3\r\nabc\r\nnonsense")
    assert (await writer.read("PUT")).status == 400
    assert site.waiter_count == 1
    await site.put("/x", b"again")
    assert (await held.read()).body == b"again"
