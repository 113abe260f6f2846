"""When chunks came, and which gaps are the writer's."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.transfer import Arrival, Arrivals, follow
from chunkstore.transfer import arrivals as module
from tests.origin.drive import Site
from tests.transfer.stage import client_of


async def test_following_an_origin(nursery: trio.Nursery) -> None:
    site = await Site.open(nursery)
    upload = await site.upload("/a")
    await upload.chunk(b"ab", b"cde")
    seen: list[Arrival] = []
    arrivals = Arrivals(there_bytes=5)
    async with trio.open_nursery() as inner, client_of(site) as client:
        answer = await client.request("GET", "/a")
        inner.start_soon(follow, answer, arrivals, seen.append)
        for pause_s in (1.0, 3.0):
            await trio.sleep(pause_s)
            await upload.chunk(b"x")
        await upload.end()
    assert [(one.number, one.size_bytes, one.end, one.is_live) for one in seen] == [
        (1, 2, 2, False),
        (2, 3, 5, False),
        (3, 1, 6, True),
        (4, 1, 7, True),
    ]
    assert (arrivals.count, arrivals.end, arrivals.live_count) == (4, 7, 2)
    # The gap before the first live chunk began before anybody looked.
    assert arrivals.gap_s(0.5) == arrivals.gap_s(0.99) == pytest.approx(3, abs=0.1)
    nursery.cancel_scope.cancel()


async def test_a_complete_object_is_one_piece(nursery: trio.Nursery) -> None:
    site = await Site.open(nursery)
    await site.put("/a", b"x" * 200_000)
    seen: list[Arrival] = []
    async with client_of(site) as client:
        arrivals = Arrivals(200_000)
        await follow(await client.request("GET", "/a"), arrivals, seen.append)
    assert [(one.size_bytes, one.is_live) for one in seen] == [(200_000, False)]
    assert arrivals.gap_s(0.5) is None
    nursery.cancel_scope.cancel()


@given(st.lists(st.floats(0, 10), min_size=2, max_size=200))
def test_percentiles(gaps: list[float]) -> None:
    arrivals, now_s = Arrivals(0), 0.0
    for gap in gaps:
        now_s += gap
        arrivals.add(now_s, 1)
    p50, p99 = arrivals.gap_s(0.5), arrivals.gap_s(0.99)
    assert p50 is not None
    assert p99 is not None
    assert min(gaps[1:]) - 1e-9 <= p50 <= p99 <= max(gaps[1:]) + 1e-9


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GAP_COUNT", 100)
    arrivals = Arrivals(0)
    for index in range(100_000):
        arrivals.add(index, 1)
        assert len(arrivals._gaps) < 100
    assert arrivals.gap_s(0.99) == 1
