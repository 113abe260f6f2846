"""A pool of tasks: how many run, what becomes of each, and that no error is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.errors import PoolClosedError, PoolFullError, TaskCancelledError
from chunkstore.tasks import Handle, TaskState, open_pool

Reported = list[tuple[str, str]]


def keep(reported: Reported) -> Callable[[str, Exception], None]:
    """Have errors kept."""
    return lambda name, error: reported.append((name, str(error)))


JOBS = st.lists(
    st.tuples(
        st.sampled_from(["forget", "execute"]),
        st.floats(0, 3),
        st.sampled_from(["returns", "raises", "is cancelled"]),
    ),
    max_size=12,
)


@given(JOBS, st.integers(1, 3), st.booleans())
def test_every_task_ends_once_and_every_error_is_told(
    jobs: list[tuple[str, float, str]], limit: int, are_awaited: bool
) -> None:
    async def main() -> None:
        reported: Reported = []
        running = most = 0

        async def job(number: int, takes_s: float, end: str) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                await trio.sleep(takes_s)
                if end == "raises":
                    raise OSError(str(number))
                return number
            finally:
                running -= 1

        handles: dict[int, Handle[int]] = {}
        async with open_pool(limit=limit, report=keep(reported)) as pool:
            for number, (how, takes_s, end) in enumerate(jobs):
                if how == "forget":
                    pool.forget(job, number, takes_s, end)
                else:
                    handles[number] = pool.execute(job, number, takes_s, end)
                    if end == "is cancelled":
                        handles[number].cancel()
            if are_awaited:
                for number, handle in handles.items():
                    await outcome(number, handle, jobs[number][2])
        assert running == 0
        assert most <= limit
        statistics = pool.statistics()
        assert statistics.running_count == statistics.queued_count == 0
        assert sum(statistics[2:]) == len(jobs)
        raised = {str(n) for n, (_, _, end) in enumerate(jobs) if end == "raises"}
        told = {str(n) for n in handles} if are_awaited else set()
        assert sorted(error for _, error in reported) == sorted(raised - told)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def outcome(number: int, handle: Handle[int], end: str) -> None:
    """A handle tells what became of its task, as often as it is asked."""
    for _ in range(2):
        if end == "returns":
            assert await handle.result() == number
            assert handle.state is TaskState.DONE
        elif end == "raises":
            with pytest.raises(OSError, match=str(number)):
                await handle.result()
            assert handle.state is TaskState.FAILED
        else:
            with pytest.raises(TaskCancelledError):
                await handle.result()
            assert handle.state is TaskState.CANCELLED


async def test_what_is_too_much_is_refused(autojump_clock: MockClock) -> None:
    async with open_pool(limit=1, queue_max=1) as pool:
        pool.forget(trio.sleep, 1)
        pool.forget(trio.sleep, 1)
        with pytest.raises(PoolFullError, match="1 tasks wait already: sleep was not taken"):
            pool.forget(trio.sleep, 1)
        await trio.sleep(1.5)
        pool.forget(trio.sleep, 1)
    assert pool.statistics().done_count == 3


@pytest.mark.parametrize(("drain", "deadline_s"), [(False, None), (True, 5.0)])
async def test_a_close_has_an_end(
    drain: bool, deadline_s: float | None, autojump_clock: MockClock
) -> None:
    async with open_pool(limit=2) as pool:
        handles = [pool.execute(trio.sleep, seconds) for seconds in (1.0, 100.0, 3.0, 100.0)]
        await trio.sleep(0.1)
        began_s = trio.current_time()
        await pool.close(drain=drain, deadline_s=deadline_s)
        assert trio.current_time() - began_s == pytest.approx(deadline_s or 0.0)
        with pytest.raises(PoolClosedError):
            pool.forget(trio.sleep, 1)
        ended = [handle.state for handle in handles]
        kept = TaskState.DONE if drain else TaskState.CANCELLED
        assert ended == [kept, TaskState.CANCELLED, kept, TaskState.CANCELLED]


async def test_who_leaves_with_an_error_cancels_its_tasks(autojump_clock: MockClock) -> None:
    handles: list[Handle[None]] = []

    async def leave() -> None:
        async with open_pool() as pool:
            handles.append(pool.execute(trio.sleep_forever))
            await trio.sleep(1)
            raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        await leave()
    assert [handle.state for handle in handles] == [TaskState.CANCELLED]


async def test_a_waiter_that_is_cancelled_leaves_its_task_alone(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        handle = pool.execute(trio.sleep, 10)
        with trio.move_on_after(1) as scope:
            await handle.result()
        assert scope.cancelled_caught
        await handle.result()
        assert handle.state is TaskState.DONE


async def test_a_pool_that_is_cancelled_ends_its_tasks(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1):
        async with open_pool(limit=1) as pool:
            handles = [pool.execute(trio.sleep_forever) for _ in range(3)]
            await trio.sleep_forever()
    assert [handle.state for handle in handles] == [TaskState.CANCELLED] * 3


def test_a_pool_without_room_for_a_task_is_a_mistake() -> None:
    async def main() -> None:
        async with open_pool(limit=0):
            raise AssertionError

    with pytest.raises(ValueError, match="got 0 and 10000"):
        trio.run(main)
