"""The engine in a thread of its own, as tasks see it.

Whoever commits or deletes waits until that is durable. What comes while a sync is under way is
synced together by the next one: the slower the disk, the more share a sync.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import trio

from chunkstore.errors import CapacityError, DiskError
from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.files import Buffer, Files
from chunkstore.store.disk.stored import Extent

__all__ = ["DiskStore"]

QUEUE_BYTES = 32 << 20
"""So much may wait for the disk; then uploads wait, too."""
UNSYNCED_BYTES = 8 << 20
"""So much is synced though nobody waits for it: a commit must not find seconds of work."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(eq=False, slots=True)
class _Request:
    """Something for the thread to do.

    Attributes:
        act: does it; it counts once it is synced.
        generation: the upload that is lost if this fails; 0: none.
        size_bytes: of what waits in memory for it.
        is_last: of that upload: it needn't be remembered that it is lost.
        done: set once it counts, or has failed.
    """

    act: Callable[[Engine], object]
    generation: int = 0
    size_bytes: int = 0
    is_last: bool = False
    error: OSError | None = None
    done: trio.Event = field(default_factory=trio.Event)


class DiskStore:
    """A data dir with complete objects, which outlive the process.

    Args:
        folder: the data dir.
        files: the file system.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()  # None: nothing comes behind it
        self._queued_bytes = 0
        self._shrunk = trio.Event()
        self._engine: Engine | None = None

    async def run(self, *, task_status: trio.TaskStatus[Engine] = trio.TASK_STATUS_IGNORED) -> None:
        """Start, and work until cancelled; then what was asked for is made durable, and all closed.

        The engine is given to whoever starts this, to look at what there is before the first
        request; from then on it is the thread's.

        Raises:
            DataDirError: the folder can't be used.
            OSError: it can't be read or written.
        """
        data = DataDir(self._folder)
        token = trio.lowlevel.current_trio_token()

        def started(engine: Engine) -> None:
            self._engine = engine
            token.run_sync_soon(task_status.started, engine)

        def finished(requests: Sequence[_Request]) -> None:
            token.run_sync_soon(self._finish, requests)

        def work() -> None:
            engine = Engine(data, self._files)
            try:
                started(engine)
                _Worker(engine, self._queue, finished).work()
            finally:
                engine.close()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_when_cancelled)
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(work)
                nursery.cancel_scope.cancel()
        finally:
            data.close()

    async def _stop_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._queue.put(None)  # the thread finishes what it has, and ends by itself

    # --- uploads -------------------------------------------------------------------------------

    def begin(self) -> int:
        """A new upload: its generation."""
        assert self._engine is not None
        return self._engine.begin()

    async def append(self, generation: int, offset: int, pieces: Sequence[Buffer]) -> None:
        """Hand a run of an upload over; waits only while too much waits for the disk.

        Whether it could be stored is said by `commit`.

        Args:
            offset: of its first byte in the object.
            pieces: together at most 1 MiB, and at least a byte; not changed any more.
        Cancellation: it was not handed over.
        """
        size = sum(map(len, pieces))
        act = partial(Engine.append, generation=generation, offset=offset, pieces=pieces)
        while self._queued_bytes and self._queued_bytes + size > QUEUE_BYTES:
            await self._shrunk.wait()
        self._put(_Request(act, generation, size))

    async def commit(self, generation: int, key: str, size_bytes: int, facts: bytes) -> None:
        """The upload is whole: wait until it is what `key` has, whatever happens from then on.

        Raises:
            CapacityError: the disk is full; nothing changed.
            DiskError: the disk failed; nothing changed.
        Cancellation: it may yet become so.
        """
        act = partial(
            Engine.commit, generation=generation, key=key, size_bytes=size_bytes, facts=facts
        )
        await self._ask(_Request(act, generation))

    def abandon(self, generation: int) -> None:
        """The upload won't become complete."""
        self._put(
            _Request(partial(Engine.abandon, generation=generation), generation, is_last=True)
        )

    async def delete(self, key: str) -> None:
        """Wait until all that was committed under `key` is gone, whatever happens from then on.

        Raises, Cancellation: as `commit`.
        """
        await self._ask(_Request(partial(Engine.delete, key=key)))

    async def read(self, key: str, extent: Extent) -> bytes:
        """The payload of a run, checked.

        Raises:
            DamagedError: it isn't what was written.
            DiskError: the disk can't say.
        Cancellation: at once; the thread ends by itself.
        """
        assert self._engine is not None
        read = self._engine.read
        try:
            return await trio.to_thread.run_sync(read, key, extent, abandon_on_cancel=True)
        except OSError as error:
            raise DiskError(str(error)) from error

    # --- inside --------------------------------------------------------------------------------

    def _put(self, request: _Request) -> None:
        self._queued_bytes += request.size_bytes
        self._queue.put(request)

    async def _ask(self, request: _Request) -> None:
        self._put(request)
        await request.done.wait()
        error = request.error
        if error is None:
            return
        if error.errno in _FULL:
            raise CapacityError(request.size_bytes, 0) from error
        raise DiskError(str(error)) from error

    def _finish(self, requests: Sequence[_Request]) -> None:
        """They count now, or have failed."""
        self._queued_bytes -= sum(request.size_bytes for request in requests)
        self._shrunk.set()
        self._shrunk = trio.Event()
        for request in requests:
            request.done.set()


class _Worker:
    """The thread's side.

    Args:
        finished: told what counts now, or has failed.
    """

    def __init__(
        self,
        engine: Engine,
        queue: SimpleQueue[_Request | None],
        finished: Callable[[Sequence[_Request]], None],
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._finished = finished
        self._lost: dict[int, OSError] = {}  # uploads of which something couldn't be stored

    def work(self) -> None:
        """Do what comes, and what came meanwhile, and sync it together; until None comes."""
        is_over = False
        while not is_over:
            requests: list[_Request] = []
            request = self._queue.get()
            while request is not None:
                requests.append(request)
                self._act(request)
                if self._queue.empty() or sum(one.size_bytes for one in requests) > UNSYNCED_BYTES:
                    break
                request = self._queue.get()
            is_over = request is None
            self._sync(requests)
            self._finished(requests)

    def _act(self, request: _Request) -> None:
        if request.is_last:  # it is done, lost or not: what the upload stored must become garbage
            self._lost.pop(request.generation, None)
        request.error = self._lost.get(request.generation)
        if request.error is None:
            try:
                request.act(self._engine)
            except OSError as error:
                request.error = error
        if request.error is not None and request.generation and not request.is_last:
            self._lost[request.generation] = request.error

    def _sync(self, requests: Sequence[_Request]) -> None:
        try:
            self._engine.flush()
        except OSError as error:
            for request in requests:
                if request.error is None and not request.is_last:
                    request.error = error
                    if request.generation:
                        self._lost[request.generation] = error
