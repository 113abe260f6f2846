"""The studio's Trio parts, for a question that has no loop: they run in that of a thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import trio

from bench.build import BenchError
from bench.interrupts import hold_signals
from bench.studio.publisher import Packages, Publisher, carry, publishing

__all__ = ["Background", "publish"]


class Background:
    """A Trio loop in a thread for the length of a block, at whose end it is cancelled."""

    def __init__(self) -> None:
        self._failure: BaseException | None = None
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Background:
        with hold_signals():
            self._thread.start()
            self._is_ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with hold_signals():
            try:
                trio.from_thread.run_sync(self._nursery.cancel_scope.cancel, trio_token=self._token)
            except trio.RunFinishedError:
                pass  # by a failure, which `check` tells
            self._thread.join()

    def start(self, task: Callable[..., Awaitable[object]], *args: object) -> Any:  # noqa: ANN401 - as Trio's
        """Start a task as `trio.Nursery.start` does; what it reports once it has started."""
        with hold_signals():
            return trio.from_thread.run(self._nursery.start, task, *args, trio_token=self._token)

    def start_soon(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task."""
        with hold_signals():
            trio.from_thread.run_sync(self._nursery.start_soon, task, *args, trio_token=self._token)

    def check(self) -> None:
        """Raises BenchError if a task has failed."""
        failure = self._failure
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        if failure is not None:
            raise BenchError(f"what stands before the origin failed: {failure!r}")

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # it ends the thread anyway: `check` raises it elsewhere
            self._failure = error
        finally:
            self._is_ready.set()

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._is_ready.set()
            await trio.sleep_forever()


async def publish(
    descriptor: int,
    packager: Packages,
    host: str,
    port: int,
    folder: str,
    *,
    task_status: trio.TaskStatus[Publisher],
) -> None:
    """Package and publish what comes out of a pipe, to its end; starts with the publisher.

    Args:
        descriptor: of the pipe; it stays the caller's.
    """
    async with trio.lowlevel.FdStream(os.dup(descriptor)) as source:
        async with publishing(host, port, folder) as publisher:
            task_status.started(publisher)
            await carry(source, packager, publisher)
