"""The metadata's thread, as tasks see it: what comes during a sync is synced together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import trio

from chunkstore.cluster.meta import Meta
from chunkstore.errors import DiskError, StaleError, StoreError

__all__ = ["BATCH_COUNT", "Scribe"]

T = TypeVar("T")

BATCH_COUNT = 256
"""So many changes are made in one transaction: 5 ms of work, in which nobody else's is durable."""

_Change: TypeAlias = Callable[[Meta], Any]
_Done: TypeAlias = Callable[[Any, StoreError | None], None]


class _Entry(NamedTuple):
    """What waits to be made."""

    change: _Change
    on_done: _Done
    is_lasting: bool


class Scribe:
    """Makes changes in their order, many in one transaction.

    Args:
        meta: from `run` on it is this one's, but for what any thread may call.
        in_thread: calls what blocks, in a thread.
    """

    def __init__(
        self,
        meta: Meta,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = trio.to_thread.run_sync,
    ) -> None:
        self._meta = meta
        self._in_thread = in_thread
        self._waiting: list[_Entry] = []
        self._came = trio.Event()
        self._is_over = False

    def put(
        self,
        change: Callable[[Meta], T],
        on_done: Callable[[T | None, StoreError | None], None],
        *,
        is_lasting: bool = True,
    ) -> None:
        """Have a change made, in the order of the calls.

        Args:
            change: called in a thread, inside `Meta.batch`.
            on_done: called on the loop: with what it returned, durable; or with None and the
                error: StaleError, or a DiskError, and it wasn't made; at once, once `run` is over.
            is_lasting: as for `Meta.batch`; one of a batch that is makes all of it durable.
        """
        if self._is_over:
            on_done(None, DiskError("the metadata is being closed"))
            return
        self._waiting.append(_Entry(change, on_done, is_lasting))
        self._came.set()

    async def ask(self, change: Callable[[Meta], T], *, is_lasting: bool = True) -> T:
        """Have a change made, and wait until it is durable.

        Args:
            is_lasting: as for `put`.
        Raises:
            StaleError, DiskError: it wasn't made.
        Cancellation: it may yet be made.
        """
        done = trio.Event()
        told: list[tuple[T | None, StoreError | None]] = []

        def on_done(outcome: T | None, error: StoreError | None) -> None:
            told.append((outcome, error))
            done.set()

        self.put(change, on_done, is_lasting=is_lasting)
        await done.wait()
        [(outcome, error)] = told
        if error is not None:
            raise error
        return cast(T, outcome)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled.

        Cancellation: what was put before is made, and told, first.
        """
        task_status.started()
        try:
            while True:
                await self._came.wait()
                with trio.CancelScope(shield=True):
                    await self._make()
        finally:
            with trio.CancelScope(shield=True):
                while self._waiting:
                    await self._make()
            self._is_over = True

    async def _make(self) -> None:
        """Make what waits, as much as goes into one transaction."""
        batch, self._waiting = self._waiting[:BATCH_COUNT], self._waiting[BATCH_COUNT:]
        if not self._waiting:
            self._came = trio.Event()
        changes = [one.change for one in batch]
        is_lasting = any(one.is_lasting for one in batch)
        make = partial(self._meta.batch, changes, is_lasting=is_lasting)
        try:
            outcomes = await self._in_thread(make)
        except DiskError as error:
            for one in batch:
                one.on_done(None, error)
            return
        for one, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, StaleError):
                one.on_done(None, outcome)
            else:
                one.on_done(outcome, None)
