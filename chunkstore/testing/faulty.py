"""A store around another one, which fails and waits where it is told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import trio

from chunkstore.errors import DiskError
from chunkstore.objects import FileRange, Source
from chunkstore.store import Incoming, OnDone, Store, StoredObject

__all__ = ["FaultyStore"]


class FaultyStore:
    """A `Store` that does what another one does, but for what a test wants.

    Args:
        store: does the work.

    Attributes:
        before: called with what is about to be done ("append", "commit", "delete", "hold", "range",
            "read") and the object's name; a `DiskError` that it raises (or a `DamagedError`, where
            something is read) is the outcome, and nothing is done.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._life = trio.CancelScope(shield=True)
        self._todo: deque[Callable[[], Awaitable[None]]] = deque()
        self._came = trio.Event()
        self._going = trio.Event()
        self._going.set()
        self.before: Callable[[str, str], None] = lambda kind, key: None

    def pause(self) -> None:
        """Change nothing any more, and tell nobody anything, until `resume`; reads go on."""
        if self._going.is_set():
            self._going = trio.Event()

    def resume(self) -> None:
        """Do what was asked for meanwhile, and go on."""
        self._going.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As `Store.run`; whatever was paused goes on at its end."""
        async with trio.open_nursery() as nursery:
            self._life = trio.CancelScope(shield=True)  # it ends behind what it is asked for here
            await nursery.start(self._run_store)
            task_status.started()
            try:
                while True:
                    await self._came.wait()
                    await self._going.wait()
                    await self._work()
            finally:
                self.resume()
                await self._work()
                self._life.cancel()

    async def _run_store(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self._life:
            await self._store.run(task_status=task_status)

    async def _work(self) -> None:
        with trio.CancelScope(shield=True):
            while self._todo and self._going.is_set():
                await self._todo.popleft()()
        if not self._todo:
            self._came = trio.Event()

    def ask(self, act: Callable[[], Awaitable[None]]) -> None:
        """Have something done behind all that was asked for before."""
        self._todo.append(act)
        self._came.set()

    # --- objects -------------------------------------------------------------------------------

    def objects(self) -> Iterator[tuple[str, int, bytes]]:
        """As `Store.objects`."""
        return self._store.objects()

    def stored(self, key: str) -> StoredObject | None:
        """As `Room.stored`."""
        return self._store.stored(key)

    def source(self, key: str, generation: int) -> Source:
        """As `Store.source`."""
        return _FaultySource(self, key, self._store.source(key, generation))

    def begin(self, key: str) -> Incoming:
        """As `Store.begin`."""
        return _FaultyIncoming(self, key, self._store.begin(key))

    def delete(self, key: str, on_done: OnDone, *, is_urgent: bool = True) -> None:
        """As `Store.delete`."""

        async def act() -> None:
            try:
                self.before("delete", key)
            except DiskError as error:
                on_done(error)
            else:
                self._store.delete(key, on_done, is_urgent=is_urgent)

        self.ask(act)

    # --- space ---------------------------------------------------------------------------------

    def live_bytes(self) -> int:
        """As `Room.live_bytes`."""
        return self._store.live_bytes()

    def refusal(self) -> DiskError | None:
        """As `Room.refusal`."""
        return self._store.refusal()

    def free_bytes(self) -> int:
        """As `Room.free_bytes`."""
        return self._store.free_bytes()

    def capacity_bytes(self) -> int:
        """As `Room.capacity_bytes`."""
        return self._store.capacity_bytes()

    @property
    def used_bytes(self) -> int:
        """As `Store.used_bytes`."""
        return self._store.used_bytes

    @property
    def flaw_count(self) -> int:
        """As `Store.flaw_count`."""
        return self._store.flaw_count

    def trouble(self) -> list[str]:
        """As `Store.trouble`."""
        return self._store.trouble()


class _FaultySource:
    def __init__(self, store: FaultyStore, key: str, source: Source) -> None:
        self._store = store
        self._key = key
        self._source = source

    @property
    def is_committed(self) -> bool:
        return self._source.is_committed

    def hold(self) -> None:
        self._store.before("hold", self._key)
        self._source.hold()

    def let_go(self) -> None:
        self._source.let_go()

    async def range(self, offset: int, limit_bytes: int) -> FileRange | bytes | memoryview:
        self._store.before("range", self._key)
        return await self._source.range(offset, limit_bytes)

    async def read(self) -> bytes:
        self._store.before("read", self._key)
        return await self._source.read()


class _FaultyIncoming:
    def __init__(self, store: FaultyStore, key: str, incoming: Incoming) -> None:
        self._store = store
        self._key = key
        self._incoming = incoming
        self._error: DiskError | None = None
        incoming.on_written = lambda: self.on_written()
        self.on_written: Callable[[], None] = lambda: None
        self.source = _FaultySource(store, key, incoming.source)
        self.handed_bytes = 0

    @property
    def generation(self) -> int:
        return self._incoming.generation

    @property
    def written_bytes(self) -> int:
        return self._incoming.written_bytes

    @property
    def error(self) -> DiskError | None:
        return self._error or self._incoming.error

    @property
    def has_digest(self) -> bool:
        return self._incoming.has_digest

    @property
    def sha256(self) -> bytes | None:
        return self._incoming.sha256

    @property
    def receipt_fields(self) -> Sequence[tuple[str, str]]:
        return self._incoming.receipt_fields

    async def append(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        await trio.lowlevel.checkpoint()
        self.handed_bytes += sum(map(len, pieces))
        self._store.ask(partial(self._append, pieces))

    async def _append(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        if self._error is None:
            try:
                self._store.before("append", self._key)
            except DiskError as error:
                self._error = error
        if self._error is None:
            await self._incoming.append(pieces)
        else:
            self.on_written()

    def commit(self, size_bytes: int, facts: bytes, on_done: OnDone) -> None:
        async def act() -> None:
            try:
                if self._error is not None:
                    raise self._error
                self._store.before("commit", self._key)
            except DiskError as error:
                self._incoming.abandon()
                on_done(error)
            else:
                self._incoming.commit(size_bytes, facts, on_done)

        self._store.ask(act)

    def abandon(self) -> None:
        async def act() -> None:
            self._incoming.abandon()

        self._store.ask(act)
