"""A pool of tasks: functions that run by themselves, so many at a time, until it is closed.

::

    async with open_pool(limit=8) as pool:
        pool.forget(tidy_up)                 # its error is reported
        handle = pool.execute(fetch, url)    # its outcome is the handle's
        data = await handle.result()

An error ends its own task alone. None is lost: it goes to who awaits the handle, else to `report`.
All calls belong to the thread of the Trio loop.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar, TypeVarTuple

import trio

from chunkstore.errors import PoolClosedError, PoolFullError, TaskCancelledError

__all__ = ["Handle", "PoolStatistics", "TaskPool", "TaskState", "open_pool"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Report = Callable[[str, Exception], None]
"""Told of an error that nobody waits for: the name of the function, and the error."""

QUEUE_MAX = 10_000


class TaskState(Enum):
    """Where a task is; the value is for people."""

    QUEUED = "waits for its turn"
    RUNNING = "runs"
    DONE = "has returned"
    FAILED = "has raised"
    CANCELLED = "was cancelled"


class PoolStatistics(NamedTuple):
    """A pool at one moment.

    Attributes:
        running_count, queued_count: tasks now.
        done_count, failed_count, cancelled_count: tasks so far.
    """

    running_count: int
    queued_count: int
    done_count: int
    failed_count: int
    cancelled_count: int


class Handle(Generic[T]):
    """One task.

    Attributes:
        name: of its function, for messages.
        state: of it now.
    """

    def __init__(self, call: Callable[[], Awaitable[T]], name: str, is_forgotten: bool) -> None:
        self.name = name
        self.state = TaskState.QUEUED
        self._call = call
        self._is_forgotten = is_forgotten
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._value: T | None = None
        self._error: Exception | None = None
        self._was_told = False

    async def result(self) -> T:
        """What the function returns; any number may wait for it.

        Raises:
            TaskCancelledError: it was cancelled, by `cancel` or with its pool.
            Exception: whatever the function raised.
        Cancellation: the task goes on.
        """
        await self._ended.wait()
        if self.state is TaskState.CANCELLED:
            raise TaskCancelledError(f"{self.name} was cancelled")
        if self._error is not None:
            self._was_told = True
            raise self._error
        value: Any = self._value
        result: T = value
        return result

    def cancel(self) -> None:
        """End it at its next checkpoint, or before it begins; behind its end that does nothing."""
        self._scope.cancel()

    async def _run(self) -> None:
        self.state = TaskState.RUNNING
        try:
            with self._scope:
                self._value = await self._call()
                self.state = TaskState.DONE
        except Exception as error:
            self._error = error
            self.state = TaskState.FAILED
        finally:
            if self.state is TaskState.RUNNING:
                self.state = TaskState.CANCELLED
            self._ended.set()

    def _never_began(self) -> None:
        self.state = TaskState.CANCELLED
        self._ended.set()

    @property
    def _untold(self) -> Exception | None:
        """Its error, if nobody was told."""
        return None if self._was_told else self._error


class TaskPool:
    """Runs tasks in a nursery; made by `open_pool`.

    Args:
        nursery: of its tasks.
        limit: tasks that run at a time.
        queue_max: tasks that wait for their turn.
        report: told of errors that nobody waits for.
    """

    def __init__(
        self, nursery: trio.Nursery, *, limit: int, queue_max: int, report: Report
    ) -> None:
        self._nursery = nursery
        self._limit = limit
        self._queue_max = queue_max
        self._report = report
        self._queue: deque[Handle[Any]] = deque()
        self._running: dict[Handle[Any], None] = {}
        self._untold: list[Handle[Any]] = []
        self._ends = dict.fromkeys(TaskState, 0)
        self._is_open = True
        self._idle = trio.Event()

    def forget(self, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Have a function run, and hear of it only if it fails.

        Raises:
            PoolFullError: too many wait already; it was not taken.
            PoolClosedError: the pool takes no more.
        """
        self._take(Handle(partial(fn, *args), _name_of(fn), is_forgotten=True))

    def execute(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> Handle[T]:
        """Have a function run, and its outcome kept.

        Raises: as `forget`.
        """
        handle = Handle(partial(fn, *args), _name_of(fn), is_forgotten=False)
        self._take(handle)
        return handle

    async def close(self, *, drain: bool = True, deadline_s: float | None = None) -> None:
        """Take no more, and end.

        Args:
            drain: have what was taken run to its end first; else it is cancelled.
            deadline_s: so long; then what is left is cancelled. None: as long as it takes.
        Cancellation: what is left is cancelled.
        """
        self._is_open = False
        limit_s = 0.0 if not drain else math.inf if deadline_s is None else deadline_s
        try:
            with trio.move_on_after(limit_s):
                await self._until_idle()
        finally:
            while self._queue:
                self._end(self._queue.popleft(), Handle._never_began)
            for handle in self._running:
                handle.cancel()
            with trio.CancelScope(shield=True):  # short of a task that shields itself
                await self._until_idle()
            for handle in self._untold:
                if (error := handle._untold) is not None:
                    self._report(handle.name, error)
            self._untold.clear()

    def statistics(self) -> PoolStatistics:
        """The pool now."""
        ends = self._ends
        return PoolStatistics(
            len(self._running),
            len(self._queue),
            ends[TaskState.DONE],
            ends[TaskState.FAILED],
            ends[TaskState.CANCELLED],
        )

    # --- inside --------------------------------------------------------------------------------

    def _take(self, handle: Handle[Any]) -> None:
        if not self._is_open:
            raise PoolClosedError(f"{handle.name} came when the pool was closed")
        if len(self._running) >= self._limit and len(self._queue) >= self._queue_max:
            raise PoolFullError(
                f"{len(self._queue)} tasks wait already: {handle.name} was not taken"
            )
        self._queue.append(handle)
        self._begin()

    def _begin(self) -> None:
        while self._queue and len(self._running) < self._limit:
            handle = self._queue.popleft()
            self._running[handle] = None
            self._nursery.start_soon(self._run, handle, name=handle.name)

    async def _run(self, handle: Handle[Any]) -> None:
        try:
            await handle._run()
        finally:
            del self._running[handle]
            self._end(handle)
            self._begin()
            self._idle.set()

    def _end(
        self, handle: Handle[Any], settle: Callable[[Handle[Any]], None] | None = None
    ) -> None:
        if settle is not None:
            settle(handle)
        self._ends[handle.state] += 1
        error = handle._untold
        if error is not None and handle._is_forgotten:
            self._report(handle.name, error)
        elif error is not None:
            self._untold = [one for one in self._untold if one._untold is not None]
            self._untold.append(handle)

    async def _until_idle(self) -> None:
        while self._running or self._queue:
            self._idle = trio.Event()
            await self._idle.wait()


@asynccontextmanager
async def open_pool(
    *, limit: int = 16, queue_max: int = QUEUE_MAX, report: Report | None = None
) -> AsyncGenerator[TaskPool, None]:
    """A pool; at the end of the context all of its tasks have ended.

    Args:
        limit: tasks that run at a time.
        queue_max: tasks that wait for their turn; more are refused.
        report: told of each error that nobody waits for; must not raise. None: they are logged, by
            the logger "chunkstore.tasks".
    Raises: what is raised inside; then its tasks are cancelled, else they run to their end.
    """
    if limit < 1 or queue_max < 0:
        raise ValueError(f"expected limit >= 1 and queue_max >= 0, got {limit} and {queue_max}")
    failure: Exception | None = None  # raised outside: callers see no group
    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery, limit=limit, queue_max=queue_max, report=report or _log)
        try:
            yield pool
            await pool.close()
        except Exception as error:
            failure = error
        finally:
            await pool.close(drain=False)
    if failure is not None:
        raise failure


def _log(name: str, error: Exception) -> None:
    logging.getLogger("chunkstore.tasks").error("%s failed", name, exc_info=error)


def _name_of(fn: Callable[..., object]) -> str:
    return str(getattr(fn, "__qualname__", None) or repr(fn))
