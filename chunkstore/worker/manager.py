"""The chunks of one folder, as callers see them: they say what they want, and never wait.

Every call from outside takes one short lock around `Core`, and wakes the loop, which does the rest
(`shell.py`). So calls come from any thread, in any order, and the last of each chunk counts.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from chunkstore.errors import ChunkFailedError, ChunkGoneError
from chunkstore.worker.collector import collector_paused
from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.core.core import Core
from chunkstore.worker.core.generation import ChunkInfo, Generation
from chunkstore.worker.core.space import Space
from chunkstore.worker.core.states import State
from chunkstore.worker.disk.files import ChunkFiles
from chunkstore.worker.disk.folder import ChunkFolder
from chunkstore.worker.fetch import Fetching
from chunkstore.worker.reference import ChunkRef
from chunkstore.worker.shell import InThread, Shell

__all__ = ["ChunkEvent", "ChunkManager", "ChunkStatus", "WorkerStatus", "open_manager"]

EVENTS_MAX = 1000
"""A listener that is so many behind misses the next ones."""
OTHERS_MAX = 1000


class ChunkEvent(NamedTuple):
    """A chunk has come into another state.

    Attributes:
        chunk: which.
        state: by now.
        error: why it failed; "" if it didn't.
    """

    chunk: ChunkInfo
    state: State
    error: str


class ChunkStatus(NamedTuple):
    """A chunk that isn't simply there.

    Attributes:
        chunk: which.
        state: of it.
        written_bytes: on disk so far.
        error: why it failed last; "" if it didn't.
        hold_count: references to it.
    """

    chunk: ChunkInfo
    state: State
    written_bytes: int
    error: str
    hold_count: int


class WorkerStatus(NamedTuple):
    """A manager at one moment.

    Attributes:
        counts: chunks by their state.
        stored_bytes, claimed_bytes: on disk and whole; of what is on its way.
        is_full: the disk said that it is, and nothing has gone since.
        hold_count: references, to all chunks.
        published_count, failure_count: downloads that ended well, and tries that didn't, so far.
        fetched_bytes: that came over the network, so far.
        notes_error: why what was said can't be made durable now; "" if it can.
        others: those that aren't READY, at most 1000 of them.
    """

    counts: dict[State, int]
    stored_bytes: int
    claimed_bytes: int
    is_full: bool
    hold_count: int
    published_count: int
    failure_count: int
    fetched_bytes: int
    notes_error: str
    others: list[ChunkStatus]


class ChunkManager:
    """Downloads, keeps and hands out chunks; made by `open_manager`.

    But for what is `async`, all of it may be called in any thread, does no IO, and returns at once.
    Once it has ended, it promises nothing: who wants, finds, lists or waits gets `ChunkGoneError`;
    references have to be closed before.

    Args:
        folder: theirs alone.
        config: limits.
        fetching: downloads.
        in_thread: calls what blocks, in a thread.
    """

    def __init__(
        self, folder: ChunkFolder, config: WorkerConfig, fetching: Fetching, in_thread: InThread
    ) -> None:
        with collector_paused():  # it takes a third of the time, and finds nothing
            found = folder.scan()
            self._core = Core(found.ready, found.partial, found.next_number)
        self._folder = folder
        self._fetching = fetching
        self._lock = threading.Lock()
        self._space = Space(config.quota_bytes, config.reserve_bytes)
        self._token: trio.lowlevel.TrioToken | None = None
        self._leaked: deque[Generation] = deque()
        self._listeners: list[trio.MemorySendChannel[ChunkEvent]] = []
        self._changed = trio.Event()
        self._is_open = True
        self._shell = Shell(
            self._core, self._space, self._lock, folder, found, config, fetching, in_thread
        )

    # --- what callers want ---------------------------------------------------------------------

    def download_chunk(self, chunk: DataChunk) -> None:
        """Have a chunk here, as soon as can be; one that failed is tried again."""
        self._check_folder()
        with self._lock:
            self._core.want(chunk)
        self._wake()

    def delete_chunk(self, chunk_id: bytes) -> None:
        """Have it here no more: it is not found from now on, and goes once nobody holds it.

        Unknown ids are ignored: what isn't there is deleted already.
        """
        self._check_folder()
        with self._lock:
            self._core.unwant(chunk_id)
        self._wake()

    def set_desired(self, chunks: Iterable[DataChunk]) -> None:
        """Have these and no others. Cost: 10 us each, in which other calls wait."""
        self._check_folder()
        wanted = list(chunks)
        with self._lock:
            self._core.desire(wanted)
        self._wake()

    # --- what there is -------------------------------------------------------------------------

    def list_chunks(self) -> list[ChunkInfo]:
        """Those that are wholly here: a snapshot, in no order. Cost: 5 ns each."""
        self._check_folder()
        with self._lock:
            return self._core.listed()

    def find_chunk(self, dataset_id: bytes, block: int) -> ChunkRef | None:
        """A reference to the chunk that has a block of a dataset, or None.

        Of several it is the one with the smallest range, and of these the newest. Cost: 4 us.
        """
        self._check_folder()
        with self._lock:
            generation = self._core.find(dataset_id, block)
        return None if generation is None else ChunkRef(generation, self)

    def status(self) -> WorkerStatus:
        """How it stands. Cost: 1 us for each of `others`."""
        with self._lock:
            space, shell = self._space, self._shell
            others = [self._status_of(one) for one in self._core.others(OTHERS_MAX)]
            return WorkerStatus(
                self._core.counts(),
                space.stored_bytes,
                space.claimed_bytes,
                space.is_full,
                self._core.hold_count,
                shell.published_count,
                shell.failure_count,
                self._fetching.fetched_bytes,
                shell.notes_error,
                others,
            )

    def chunk_status(self, chunk_id: bytes) -> ChunkStatus | None:
        """How it stands with one chunk; None: nobody wants it. Cost: 3 us."""
        with self._lock:
            current = self._core.current(chunk_id)
            return None if current is None else self._status_of(current)

    def _status_of(self, one: Generation) -> ChunkStatus:
        """Inside the lock."""
        written_bytes = self._space.written_bytes(one.name.number)
        return ChunkStatus(one.info, one.state, written_bytes, one.error, one.hold_count)

    async def wait_for(self, chunk_id: bytes) -> None:
        """Wait until a chunk is wholly here.

        Raises:
            ChunkFailedError: its download failed, and would again.
            ChunkGoneError: nobody wants it, or not any more; or the manager has ended.
        """
        while True:
            self._check_open()
            with self._lock:
                current = self._core.current(chunk_id)
                state = None if current is None else current.state
                error = "" if current is None else current.error
            if state is State.READY:
                return
            if state is None:
                raise ChunkGoneError(f"nobody wants the chunk {chunk_id.hex()}")
            if state is State.FAILED:
                raise ChunkFailedError(error)
            await self._changed.wait()

    async def settled(self) -> None:
        """Wait until nothing is under way, and what was said before is durable.

        What failed for good, waits for space, or is held by somebody, is at rest, too.

        Raises:
            ChunkGoneError: the manager has ended.
        """
        while True:
            self._check_open()
            if not self._leaked and self._shell.is_settled():
                return
            await self._changed.wait()

    @asynccontextmanager
    async def events(self) -> AsyncGenerator[trio.MemoryReceiveChannel[ChunkEvent]]:
        """What becomes of chunks, until the manager ends; who reads too slowly misses some.

        Of a chunk that changes several times at once only where it ends is told.
        """
        self._check_open()
        send, receive = trio.open_memory_channel[ChunkEvent](EVENTS_MAX)
        self._listeners.append(send)
        try:
            with receive:
                yield receive
        finally:
            self._listeners.remove(send)
            send.close()

    # --- references ----------------------------------------------------------------------------

    def folder_of(self, generation: Generation) -> Path:
        """As `Holder.folder_of`."""
        return self._folder.ready(generation.dataset_id, generation.name)

    def hold_once_more(self, reference: ChunkRef) -> None:
        """As `Holder.hold_once_more`."""
        with self._lock:
            if not reference.is_open:
                raise ValueError("the reference was closed")
            self._core.hold(reference.generation)

    def let_go(self, reference: ChunkRef) -> None:
        """As `Holder.let_go`."""
        with self._lock:
            if not reference.is_open:
                return
            reference.is_open = False
            is_last = self._core.release(reference.generation)
        if is_last:
            self._wake()

    def leaked(self, generation: Generation) -> None:
        """As `Holder.leaked`: the collector may run while this thread has the lock."""
        self._leaked.append(generation)
        self._wake()

    # --- the loop ------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled.

        Cancellation: downloads end where they are, and go on in the next life.
        """
        self._token = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._shell.run, self._told)
                self._woken()
                task_status.started()
        finally:
            self._token, self._is_open = None, False
            self._changed.set()
            for listener in self._listeners:
                listener.close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise ChunkGoneError("the manager has ended")

    def _check_folder(self) -> None:
        """Under cancellation the loop's work ends first: until it is left, calls do no harm."""
        if not self._folder.is_open:
            raise ChunkGoneError("the manager has ended")

    def _wake(self) -> None:
        token = self._token
        if token is not None:
            try:
                token.run_sync_soon(self._woken, idempotent=True)
            except trio.RunFinishedError:
                return  # nobody is there to do it: the next life looks at the disk

    def _woken(self) -> None:
        while self._leaked:
            leaked = self._leaked.popleft()  # outside of the lock: the collector may come any time
            with self._lock:
                self._core.release(leaked)
        self._shell.wake()

    def _told(self, changed: list[Generation]) -> None:
        """The shell has moved on."""
        self._changed.set()
        self._changed = trio.Event()
        for one in changed if self._listeners else ():
            for listener in self._listeners:
                _offer(listener, ChunkEvent(one.info, one.state, one.error))


def _offer(listener: trio.MemorySendChannel[ChunkEvent], event: ChunkEvent) -> None:
    try:
        listener.send_nowait(event)
    except (trio.WouldBlock, trio.BrokenResourceError):
        return  # it is too slow, or listens no more


@asynccontextmanager
async def open_manager(
    data_dir: str | os.PathLike[str],
    config: WorkerConfig | None = None,
    *,
    fetching: Callable[[WorkerConfig], Fetching] = Fetching,
    files: ChunkFiles | None = None,
    in_thread: InThread = trio.to_thread.run_sync,
) -> AsyncGenerator[ChunkManager]:
    """A manager at work: what is wholly in the folder is there at once.

    Args:
        data_dir: a folder of its own, made if it isn't there.
        config: limits.
        fetching: makes what downloads.
        files: the file system.
        in_thread: calls what blocks, in a thread.
    Raises:
        DataDirError: the folder is another's, in use, of another version, or can't be used.
    Cancellation: downloads end where they are, and go on when asked for in the next life.
    """
    config = config or WorkerConfig()
    failure: Exception | None = None  # raised outside: callers see no group
    source = fetching(config)
    folder = await in_thread(lambda: ChunkFolder(Path(data_dir), files))
    try:
        manager = await in_thread(lambda: ChunkManager(folder, config, source, in_thread))
        async with trio.open_nursery() as nursery:
            await nursery.start(manager.run)
            try:
                yield manager
            except Exception as error:
                failure = error
            finally:
                nursery.cancel_scope.cancel()
    finally:
        folder.close()
        with trio.CancelScope(shield=True):  # short: what is idle is closed by force
            await source.aclose()
    if failure is not None:
        raise failure
