"""How old bytes are when they are handed over, as the metrics tell it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chunkstore.metrics import AGE_BOUNDS_S, Histogram
from tests.live.rig import Stage


def buckets(ages: Histogram) -> dict[float, int]:
    """Upper bound -> how many, where there are any."""
    return {bound: n for bound, n in zip(AGE_BOUNDS_S, ages.counts, strict=False) if n}


@pytest.mark.parametrize(("reader_count", "small_edge"), [(1, 8), (8, 8), (9, 8), (300, 0)])
async def test_what_is_pushed_at_once_has_no_age(
    reader_count: int, small_edge: int, autojump_clock: MockClock
) -> None:
    async with Stage.open(small_edge=small_edge) as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        for _ in range(reader_count):
            stage.connect("unix").ask("/live")
        await wait_all_tasks_blocked()
        ages = stage.origin.metrics.sent_age
        assert not buckets(ages)  # they caught up, each in a task of its own
        stage.append(upload, 10)
        await wait_all_tasks_blocked()
        assert buckets(ages) == {AGE_BOUNDS_S[0]: reader_count}
        assert not ages.sum_s


async def test_bytes_held_back_are_as_old_as_the_first_of_them(autojump_clock: MockClock) -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        stage.connect("unix").ask("/live")
        await wait_all_tasks_blocked()
        stage.append(upload, 10, chunk_end=False)
        await trio.sleep(0.02)
        upload.publish()
        await wait_all_tasks_blocked()
        assert buckets(stage.origin.metrics.sent_age) == {0.02: 1}


async def test_what_came_before_a_reader_does_not_count(autojump_clock: MockClock) -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        await trio.sleep(5)
        stage.connect("unix").ask("/live")
        await wait_all_tasks_blocked()
        stage.append(upload, 10)
        await wait_all_tasks_blocked()
        assert buckets(stage.origin.metrics.sent_age) == {AGE_BOUNDS_S[0]: 1}


@pytest.mark.parametrize("small_edge", [0, 8])
async def test_whom_the_push_could_not_send_all_does_not_count(
    small_edge: int, autojump_clock: MockClock
) -> None:
    async with Stage.open(small_edge=small_edge) as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        slow = stage.connect("unix", send_buffer=1)
        stage.connect("unix", send_buffer=500_000).ask("/live")
        slow.ask("/live")
        await wait_all_tasks_blocked()
        slow.pause()
        stage.append(upload, 60_000)
        assert small_edge or not buckets(stage.origin.metrics.sent_age)
        await wait_all_tasks_blocked()
        assert buckets(stage.origin.metrics.sent_age) == {AGE_BOUNDS_S[0]: 1}
        slow.resume()
