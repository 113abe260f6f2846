"""A Trio loop in a thread: tasks are started, fail visibly, and end with the block."""

from __future__ import annotations

import threading

import pytest
import trio

from bench.build import BenchError
from bench.studio.sending import Background

DEADLINE_S = 10


def test_a_task_starts_and_is_cancelled_at_the_end() -> None:
    ended = threading.Event()

    async def task(word: str, *, task_status: trio.TaskStatus[str]) -> None:
        task_status.started(word.upper())
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    with Background() as background:
        assert background.start(task, "word") == "WORD"
        background.check()
        assert not ended.is_set()
    assert ended.is_set()


def test_a_task_that_cannot_start_says_so_to_who_starts_it() -> None:
    async def task(*, task_status: trio.TaskStatus[None]) -> None:
        raise BenchError("no")

    with Background() as background, pytest.raises(BenchError, match="no"):
        background.start(task)


def test_a_task_that_fails_later_is_told_when_asked() -> None:
    failed = threading.Event()

    async def task() -> None:
        failed.set()
        raise ValueError("something")

    with Background() as background:
        background.start_soon(task)
        assert failed.wait(DEADLINE_S)
        background._thread.join(DEADLINE_S)  # the loop ends a moment after the task
        with pytest.raises(BenchError, match="something"):
            background.check()


def test_an_error_in_the_block_goes_through() -> None:
    with pytest.raises(KeyError), Background():
        raise KeyError
