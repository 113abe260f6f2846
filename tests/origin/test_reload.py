"""LL-HLS: playlists that are asked for before they are there, and the parts they hint at."""

from __future__ import annotations

import pytest
import trio

from chunkstore.origin import reload as reload_module
from tests.origin.conftest import OpenSite
from tests.origin.drive import Client, Site
from tests.origin.test_hold import elapsed, hold

LIST = "/live/v.m3u8"


def playlist(last: int, parts: int = 0, *, more: str = "", control: str = "YES") -> bytes:
    """Whole segments up to `last`, each of two parts, and some parts of the next."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXT-X-PART-INF:PART-TARGET=0.5"]
    lines += [f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD={control}"] if control else []
    for msn in range(last + 2):
        count = parts if msn > last else 2
        lines += [f'#EXT-X-PART:DURATION=0.5,URI="{msn}.{part}.m4s"' for part in range(count)]
        lines += ["#EXTINF:1,", f"{msn}.m4s"] if msn <= last else []
    return "\n".join([*lines, more]).encode()


async def test_a_reload_waits_for_the_part_it_asks_for(site: Site) -> None:
    await site.put(LIST, playlist(1, 0))
    part = await hold(site, f"{LIST}?_HLS_msn=2&_HLS_part=1")
    whole = await hold(site, f"{LIST}?_HLS_msn=2")
    await site.put(LIST, playlist(1, 1))
    assert site.waiter_count == 2
    await site.put(LIST, playlist(1, 2))
    answer = await part.read()
    assert (answer.status, answer.body) == (200, playlist(1, 2))
    assert answer.fields["content-type"] == "application/vnd.apple.mpegurl"
    assert site.waiter_count == 1
    await site.put(LIST, playlist(2, 0))
    assert (await whole.read()).body == playlist(2, 0)
    assert site.origin.metrics.holds_met == 2
    await site.check_nothing_left()


@pytest.mark.parametrize(
    "query", ["_HLS_msn=1", "_HLS_msn=0&_HLS_part=1", "_HLS_msn=2&_HLS_part=0"]
)
async def test_what_is_there_is_answered_at_once(site: Site, query: str) -> None:
    await site.put(LIST, playlist(1, 1))
    assert await elapsed(site, f"{LIST}?{query}") == (200, 0)


async def test_a_reload_before_the_first_playlist_waits_for_its_part_too(site: Site) -> None:
    """One that is held because the first PUT is under way isn't answered with just any version."""
    first = await site.upload(LIST)
    early = await hold(site, f"{LIST}?_HLS_msn=0&_HLS_part=1")
    await first.chunk(playlist(-1, 1))
    await first.end()
    assert site.waiter_count == 1
    await site.put(LIST, playlist(-1, 2))
    answer = await early.read()
    assert (answer.status, answer.body) == (200, playlist(-1, 2))
    await site.check_nothing_left()


async def test_a_part_past_the_last_is_the_next_segments_first(site: Site) -> None:
    await site.put(LIST, playlist(1, 0))
    client = await hold(site, f"{LIST}?_HLS_msn=1&_HLS_part=2")
    await site.put(LIST, playlist(1, 1))
    assert (await client.read()).body == playlist(1, 1)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("_HLS_part=1", "needs _HLS_msn"),
        ("_HLS_msn=x", "whole number"),
        ("_HLS_msn=-1", "whole number"),
        ("_HLS_msn=", "whole number"),
        ("_HLS_msn=1&_HLS_part=1.5", "whole number"),
        ("_HLS_msn=99999999999999999999", "whole number"),
        ("_HLS_msn=4", "3 at most"),
        ("_HLS_msn=2&_HLS_part=7", "6 at most"),
    ],
)
async def test_parameters_out_of_bounds(site: Site, query: str, word: str) -> None:
    await site.put(LIST, playlist(1, 1))
    answer = await site.get(f"{LIST}?{query}")
    assert answer.status == 400
    assert word in answer.json["detail"]


@pytest.mark.parametrize(
    "body",
    [
        playlist(1, control=""),
        playlist(1, control="NO"),
        playlist(1, more="#EXT-X-ENDLIST"),
        b"#EXTM3U\nno duration",
        b"no playlist",
        b"",
        playlist(1) + b"#" * 300_000,
    ],
)
async def test_where_nothing_may_be_waited_for_the_parameters_mean_nothing(
    site: Site, body: bytes
) -> None:
    await site.put(LIST, body)
    for query in ("_HLS_msn=9", "_HLS_msn=x", "_HLS_part=1"):
        assert await elapsed(site, f"{LIST}?{query}") == (200, 0)


async def test_a_playlist_that_is_not_there_is_missing(site: Site) -> None:
    assert await elapsed(site, f"{LIST}?_HLS_msn=1") == (404, 0)
    assert (await site.get("/a//b?_HLS_msn=1")).status == 400


async def test_head_never_waits(site: Site) -> None:
    await site.put(LIST, playlist(1))
    assert (await site.ask("HEAD", f"{LIST}?_HLS_msn=2")).status == 200


async def test_an_encoder_that_stopped_is_503_after_three_target_durations(site: Site) -> None:
    await site.put(LIST, playlist(1))
    assert await elapsed(site, f"{LIST}?_HLS_msn=2") == (503, 3)
    assert site.origin.metrics.holds_unmet == 1
    await site.check_nothing_left()


async def test_no_target_duration_makes_one_wait_for_ever(site: Site) -> None:
    await site.put(LIST, playlist(1).replace(b"DURATION:1", b"DURATION:9999"))
    assert await elapsed(site, f"{LIST}?_HLS_msn=2") == (503, reload_module.HOLD_MAX_S)


async def test_the_end_of_the_stream_lets_go(site: Site) -> None:
    await site.put(LIST, playlist(1))
    client = await hold(site, f"{LIST}?_HLS_msn=3")
    await site.put(LIST, playlist(1, more="#EXT-X-ENDLIST"))
    assert b"ENDLIST" in (await client.read()).body


async def test_a_deleted_playlist_lets_go(site: Site) -> None:
    await site.put(LIST, playlist(1))
    client = await hold(site, f"{LIST}?_HLS_msn=2")
    began = trio.current_time()
    await site.ask("DELETE", LIST)
    assert (await client.read()).status == 404
    assert trio.current_time() == began
    await site.check_nothing_left()


async def test_an_overwrite_that_fails_wakes_nobody(site: Site) -> None:
    await site.put(LIST, playlist(1))
    client = await hold(site, f"{LIST}?_HLS_msn=2")
    writer = await site.upload(LIST)
    await writer.chunk(playlist(2))
    await writer.kill()
    assert site.waiter_count == 1
    await site.put(LIST, playlist(2))
    assert (await client.read()).body == playlist(2)


async def test_waiters_are_bounded_and_a_drain_lets_go(open_site: OpenSite) -> None:
    site = await open_site(max_waiters=1)
    await site.put(LIST, playlist(1))
    client = await hold(site, f"{LIST}?_HLS_msn=2")
    refused = await site.get(f"{LIST}?_HLS_msn=2")
    assert (refused.status, refused.fields["retry-after"]) == (503, "1")
    site.origin.server.stop()
    assert (await client.read()).status == 503


async def test_a_client_that_leaves_while_it_waits_leaves_nothing(site: Site) -> None:
    await site.put(LIST, playlist(1))
    client = await hold(site, f"{LIST}?_HLS_msn=2")
    await client.close()
    await site.put(LIST, playlist(2))
    await site.check_nothing_left()


async def test_readings_are_remembered_within_a_bound(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload_module, "MEMO_COUNT", 2)
    catalog = site.origin.catalog
    reload = reload_module.BlockingReload(catalog)
    for index in range(5):
        await site.put(f"/{index}.m3u8", playlist(1))
        read = [reload._blocking(catalog.namespace.visible(f"/{index}.m3u8")) for _ in range(2)]
        assert read[0] is read[1] is not None
    assert len(reload._memo) == 2


async def test_a_hinted_part_that_is_not_yet_put_is_held(site: Site) -> None:
    await site.put(LIST, playlist(1, 1, more='#EXT-X-PRELOAD-HINT:TYPE=PART,URI="2.1.m4s"'))
    client = await hold(site, "/live/2.1.m4s")
    writer = await site.upload("/live/2.1.m4s")
    await writer.chunk(b"part")
    assert (await client.head()).status == 200
    await writer.end()
    assert (await client.rest()).body == b"part"


async def test_a_part_by_range_of_the_growing_segment_is_held_until_it_is_there(site: Site) -> None:
    writer = await site.upload("/live/2.m4s")
    await writer.chunk(b"first part")
    client: Client = await hold(site, "/live/2.m4s", "Range: bytes=10-15")
    assert site.waiter_count == 1
    await writer.chunk(b"second")
    answer = await client.read()
    assert (answer.status, answer.body) == (206, b"second")
    assert answer.fields["content-range"] == "bytes 10-15/*"
    await writer.end()
