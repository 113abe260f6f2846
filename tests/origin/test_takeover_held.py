"""GETs that were sent nothing yet go on in the next upload, whatever bytes that has."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.objects import KEPT_COUNT
from tests.origin.drive import Site

GRACE_S = 1.0


@pytest.mark.parametrize("end", ["kill", "displace"])
async def test_who_waits_for_bytes_of_the_first_gets_them_of_the_retry(
    site: Site, end: str
) -> None:
    first = await site.upload("/x")
    await first.chunk(b"one")
    reader, streaming = site.connect(), site.connect()
    await reader.request("GET", "/x", "Range: bytes=3-7")
    await streaming.request("GET", "/x", f"Range: bytes=4-{2**53 - 1}")
    old = site.connect()
    await old.send(b"GET /x HTTP/1.0\r\n\r\n")
    await wait_all_tasks_blocked()
    if end == "kill":
        await first.kill()
        await trio.sleep(GRACE_S / 2)
    second = await site.upload("/x")
    await second.chunk(b"One", b"tw")  # other bytes are no matter: none were sent
    await second.chunk(b"othree")
    answer = await reader.read()
    assert (answer.status, answer.body) == (206, b"twoth")
    await second.end()
    answer = await streaming.read()
    assert (answer.status, answer.is_whole, answer.body) == (206, True, b"wothree")
    answer = await old.read()
    assert (answer.status, answer.body) == (200, b"Onetwothree")
    await site.check_nothing_left()


async def test_who_waits_for_bytes_of_the_first_waits_for_the_grace_at_most(site: Site) -> None:
    first = await site.upload("/x")
    await first.chunk(b"one")
    reader = site.connect()
    await reader.request("GET", "/x", "Range: bytes=3-7")
    await wait_all_tasks_blocked()
    began = trio.current_time()
    await first.kill()
    assert (await reader.read()).status == 503
    assert trio.current_time() - began == pytest.approx(GRACE_S)
    await site.check_nothing_left()


@pytest.mark.parametrize(("every_s", "moves"), [(GRACE_S / 2, KEPT_COUNT), (2.0, 2)])
async def test_retries_do_not_lengthen_a_hold(site: Site, every_s: float, moves: int) -> None:
    """They end it after a few, or the hold's cap does."""
    reader = site.connect()
    await (await site.upload("/x")).chunk(b"one")
    await reader.request("GET", "/x", "Range: bytes=3-7")
    await wait_all_tasks_blocked()
    for _ in range(moves):
        await trio.sleep(every_s)
        await (await site.upload("/x")).chunk(b"one")
        assert site.waiter_count == 1
    await trio.sleep(every_s)
    await (await site.upload("/x")).chunk(b"one")
    assert site.waiter_count == 0
    assert (await reader.read()).status == 503
