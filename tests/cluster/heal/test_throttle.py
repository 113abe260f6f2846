"""What is moved at a rate: never faster, and not slower either."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.cluster.heal.throttle import BURST_S, Throttle


@given(
    st.lists(st.integers(1, 10**7), min_size=1, max_size=20),
    st.integers(1, 4),
    st.floats(10**4, 10**9),
)
def test_a_rate_is_kept_by_all_its_users_together(
    sizes: list[int], user_count: int, bytes_s: float
) -> None:
    async def main() -> float:
        throttle = Throttle(bytes_s)
        began_s = trio.current_time()
        waiting = iter(sizes)

        async def use() -> None:
            for size in waiting:
                await throttle.take(size)

        async with trio.open_nursery() as nursery:
            for _ in range(user_count):
                nursery.start_soon(use)
        await throttle.take(0)
        return trio.current_time() - began_s

    took_s = trio.run(main, clock=MockClock(autojump_threshold=0))
    asked_s = sum(sizes) / bytes_s
    assert asked_s - BURST_S - 1e-6 <= took_s <= asked_s + 1e-6


async def test_a_pause_is_not_saved_up(autojump_clock: MockClock) -> None:
    throttle = Throttle(1000.0)
    await trio.sleep(3600)
    began_s = trio.current_time()
    for _ in range(10):
        await throttle.take(1000)
    assert trio.current_time() - began_s >= 9 - BURST_S


async def test_none_is_no_limit(autojump_clock: MockClock) -> None:
    throttle = Throttle(None)
    began_s = trio.current_time()
    for _ in range(100):
        await throttle.take(10**12)
    assert trio.current_time() == began_s
