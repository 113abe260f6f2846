"""The parts of a worker, put together."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio

from chunkstore.auth import Gate
from chunkstore.client import Connect, dial
from chunkstore.config import Settings
from chunkstore.errors import DataDirError
from chunkstore.metrics import Figure, Metrics
from chunkstore.server import Exchange, Handler, Listener, Log, Server
from chunkstore.worker.assignment import Assignment
from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.face.face import Face
from chunkstore.worker.face.status import Reporter
from chunkstore.worker.fetch import Fetching
from chunkstore.worker.manager import open_manager
from chunkstore.worker.shell import InThread

__all__ = ["Worker", "config_of"]

READ_THREADS = 16
"""Reads that wait for the disk at a time, and what else the face asks of threads."""
_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")


def config_of(settings: Settings) -> WorkerConfig:
    """The limits of downloads, as the settings say."""
    return WorkerConfig(
        chunks_max=settings.fetch_chunks,
        files_max=settings.fetch_files,
        files_per_chunk=settings.fetch_per_chunk,
        files_per_host=settings.fetch_per_host,
        quota_bytes=settings.quota_bytes,
        reserve_bytes=settings.disk_reserve_bytes,
        stall_s=settings.fetch_stall_s,
        refuse_private=settings.refuse_private,
    )


class Worker:
    """A worker with its face, ready to `run`.

    Args:
        settings: limits, tokens, with a data dir.
        log: gets a line a request.
        sign_keys: what signed URLs are checked with.
        fetching: makes what downloads.
        connect: makes connections, for an assignment.
        in_thread: calls what blocks, in a thread; None: threads of Trio.
        wall_s: Unix time, by which credentials expire.
    Raises:
        ValueError: the assignment's URL is none.

    Attributes:
        gate: who may do what; the admin listener asks it too.
        server: its connections; `server.serve(transport)` serves one more, while it runs.
    """

    def __init__(
        self,
        settings: Settings,
        log: Log,
        sign_keys: Sequence[bytes] = (),
        *,
        fetching: Callable[[WorkerConfig], Fetching] = Fetching,
        connect: Connect = dial,
        in_thread: InThread | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        assert settings.data is not None
        limiter = trio.CapacityLimiter(READ_THREADS)
        self._in_face: InThread = in_thread or partial(trio.to_thread.run_sync, limiter=limiter)
        self._in_thread: InThread = in_thread or trio.to_thread.run_sync
        self._settings = settings
        self._data_dir = Path(settings.data)
        self._fetching = fetching
        self._connect = connect
        self._wall_s = wall_s
        self._face: Face | None = None
        self._reporter: Reporter | None = None
        self._log = log
        self.gate = Gate(
            settings.tokens,
            sign_keys,
            open_reads=settings.open_reads,
            open_writes=settings.open_writes,
        )
        handlers: dict[str, Handler] = dict.fromkeys(_METHODS, self._answer)
        self.server = Server(settings, handlers, Metrics(), log)

    async def run(
        self,
        listeners: tuple[Listener, ...] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `server.stop()` and the drain after it; downloads end where they are.

        Raises:
            DataDirError: the data dir can't be used.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            opening = open_manager(
                self._data_dir,
                config_of(settings),
                fetching=self._fetching,
                in_thread=self._in_thread,
            )
            try:
                manager = await stack.enter_async_context(opening)
            except OSError as error:
                raise DataDirError(self._data_dir, error.strerror or str(error)) from error
            assignment = None
            if settings.assignment is not None:
                assignment = Assignment(
                    settings.assignment,
                    manager.set_desired,
                    poll_s=settings.assignment_poll_s,
                    limit_bytes=settings.assignment_bytes,
                    note=self._log.note,
                    connect=self._connect,
                    in_thread=self._in_thread,
                    chance=random.random,
                )
            self._reporter = Reporter(manager, assignment, self._in_face)
            self._face = Face(manager, self._reporter, self.gate, self._in_face, self._wall_s)
            async with trio.open_nursery() as nursery:
                if assignment is not None:
                    nursery.start_soon(assignment.run)
                await self.server.run(listeners, task_status=task_status)
                nursery.cancel_scope.cancel()

    async def figures(self) -> list[Figure]:
        """What /metrics has beside what all servers count; nothing before it runs."""
        return await self._reporter.figures() if self._reporter is not None else []

    async def troubles(self) -> list[str]:
        """What is wrong, a sentence each."""
        return await self._reporter.troubles() if self._reporter is not None else ["starting"]

    async def answer_status(self, exchange: Exchange) -> None:
        """A handler: how it stands with all chunks."""
        if self._reporter is None:
            await exchange.refuse(503, "starting")
        else:
            await self._reporter.answer(exchange)

    async def _answer(self, exchange: Exchange) -> None:
        assert self._face is not None, "it does not run"
        await self._face.answer(exchange)
