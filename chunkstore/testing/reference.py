"""The store contract in memory, as plainly as can be.

It has no thread: what is asked for is done by `run`, in a later step of the loop. So it is one to
use on a clock that jumps, while its callers still wait for every change as they would for a disk.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import trio

from chunkstore.errors import DamagedError, DiskError, DiskFullError
from chunkstore.objects import FileRange
from chunkstore.store import OnDone

__all__ = ["ReferenceStore"]


class _Payload:
    """Runs of one object in the file, and who needs them.

    Attributes:
        offsets: of the runs, in the object.
        ranges: where they are.
        users: who holds it, and the store itself if it is complete.
    """

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.ranges: list[FileRange] = []
        self.users = 0

    @property
    def size_bytes(self) -> int:
        return sum(one.size for one in self.ranges)


class _Stored(NamedTuple):
    generation: int
    size_bytes: int
    facts: bytes
    payload: _Payload
    sha256: bytes


class _Source:
    def __init__(
        self, store: ReferenceStore, key: str, generation: int, payload: _Payload | None = None
    ) -> None:
        self.is_committed = payload is None
        self._store = store
        self._key = key
        self._generation = generation
        self._payload = payload or _Payload()
        self._holds = 0

    def hold(self) -> None:
        if self.is_committed and not self._holds:
            stored = self._store.stored(self._key)
            if stored is None or stored.generation != self._generation:
                raise DamagedError(self._key, "nothing has it any more")
            self._payload = stored.payload
        self._holds += 1
        self._payload.users += 1

    def let_go(self) -> None:
        assert self._holds, "let go of more often than it was held"
        self._holds -= 1
        self._store._let_go(self._payload)

    async def range(self, offset: int, limit_bytes: int) -> FileRange:
        assert self._holds, "read without being held"
        await trio.lowlevel.checkpoint()
        offsets, ranges = self._payload.offsets, self._payload.ranges
        index = bisect_right(offsets, offset) - 1
        if index < 0 or offset >= offsets[index] + ranges[index].size:
            raise DamagedError(self._key, f"its bytes from {offset} on are missing")
        fd, position, size = ranges[index]
        skip = offset - offsets[index]
        return FileRange(fd, position + skip, min(limit_bytes, size - skip))

    async def read(self) -> bytes:
        assert self._holds, "read without being held"
        await trio.lowlevel.checkpoint()
        ranges = self._payload.ranges
        return b"".join(os.pread(one.fd, one.size, one.position) for one in ranges)


class _Incoming:
    has_digest = True
    receipt_fields = ()

    def __init__(self, store: ReferenceStore, key: str, generation: int) -> None:
        self._store = store
        self._key = key
        self._payload = _Payload()
        self.on_written: Callable[[], None] = lambda: None
        self.generation = generation
        self.source = _Source(store, key, generation, self._payload)
        self.handed_bytes = self.written_bytes = 0
        self.error: DiskError | None = None
        self.sha256: bytes | None = None
        self._hash = hashlib.sha256()
        self.source.hold()

    async def append(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        await trio.lowlevel.checkpoint()
        offset, self.handed_bytes = self.handed_bytes, self.handed_bytes + sum(map(len, pieces))
        self._store._ask(lambda: self._append(offset, pieces))

    def _append(self, offset: int, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        if self.error is None:
            try:
                data = b"".join(pieces)
                part = self._store._write(data)
            except DiskError as error:
                self.error = error
            else:
                self._payload.offsets.append(offset)
                self._payload.ranges.append(part)
                self.written_bytes += part.size
                self._hash.update(data)
        self.on_written()

    def commit(self, size_bytes: int, facts: bytes, on_done: OnDone) -> None:
        assert self.handed_bytes == size_bytes
        self._store._ask(lambda: self._commit(size_bytes, facts, on_done))

    def _commit(self, size_bytes: int, facts: bytes, on_done: OnDone) -> None:
        if self.error is None:
            self.sha256 = self._hash.digest()
            self.on_written()
            stored = _Stored(self.generation, size_bytes, facts, self._payload, self.sha256)
            self._store._replace(self._key, stored)
            self.source.is_committed = True
        on_done(self.error)
        self.source.let_go()

    def abandon(self) -> None:
        self._store._ask(self.source.let_go)


class ReferenceStore:
    """A `Store` that keeps objects as long as it is there itself; `run` may come and go.

    What nobody has any more is gone at once: who reads it without holding it gets an error.

    Args:
        limit_bytes: most payload that it takes.
    """

    def __init__(self, limit_bytes: int = 1 << 40) -> None:
        self._limit_bytes = limit_bytes
        self._objects: dict[str, _Stored] = {}
        self._number = 0
        self._todo: deque[Callable[[], None]] = deque()
        self._came = trio.Event()
        self._end = self._used_bytes = 0
        file = tempfile.TemporaryFile(buffering=0)
        weakref.finalize(self, file.close)
        self._fd = file.fileno()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As `Store.run`."""
        task_status.started()
        try:
            while True:
                await self._came.wait()
                self._work()
        finally:
            self._work()

    def _work(self) -> None:
        while self._todo:
            self._todo.popleft()()
        self._came = trio.Event()

    def _ask(self, act: Callable[[], None]) -> None:
        self._todo.append(act)
        self._came.set()

    # --- objects -------------------------------------------------------------------------------

    def objects(self) -> Iterator[tuple[str, int, bytes]]:
        """As `Store.objects`."""
        return ((key, one.generation, one.facts) for key, one in self._objects.items())

    def stored(self, key: str) -> _Stored | None:
        """As `Room.stored`."""
        return self._objects.get(key)

    def source(self, key: str, generation: int) -> _Source:
        """As `Store.source`."""
        return _Source(self, key, generation)

    def begin(self, key: str) -> _Incoming:
        """As `Store.begin`."""
        self._number += 1
        return _Incoming(self, key, self._number)

    def delete(self, key: str, on_done: OnDone, *, is_urgent: bool = True) -> None:
        """As `Store.delete`."""

        def act() -> None:
            self._replace(key, None)
            on_done(None)

        self._ask(act)

    # --- space ---------------------------------------------------------------------------------

    def live_bytes(self) -> int:
        """As `Room.live_bytes`."""
        return sum(one.size_bytes for one in self._objects.values())

    def refusal(self) -> None:
        """There is nothing against an upload."""

    def free_bytes(self) -> int:
        """As `Room.free_bytes`."""
        return self._limit_bytes - self._used_bytes

    def capacity_bytes(self) -> int:
        """As `Room.capacity_bytes`."""
        return self._limit_bytes

    @property
    def used_bytes(self) -> int:
        """With what is read or written."""
        return self._used_bytes

    @property
    def flaw_count(self) -> int:
        """It looks for none."""
        return 0

    def trouble(self) -> list[str]:
        """It has none."""
        return []

    # --- inside --------------------------------------------------------------------------------

    def _write(self, data: bytes) -> FileRange:
        if len(data) > self.free_bytes():
            raise DiskFullError(f"{len(data)} bytes are more than the {self.free_bytes()} free")
        part = FileRange(self._fd, self._end, len(data))
        os.pwrite(self._fd, data, self._end)
        self._end += len(data)
        self._used_bytes += len(data)
        return part

    def _replace(self, key: str, stored: _Stored | None) -> None:
        before = self._objects.pop(key, None)
        if stored is not None:
            self._objects[key] = stored
            stored.payload.users += 1
        if before is not None:
            self._let_go(before.payload)

    def _let_go(self, payload: _Payload) -> None:
        payload.users -= 1
        if not payload.users:
            # Not overwritten: what `sendfile` has on its way are the file's own pages.
            self._used_bytes -= payload.size_bytes
            payload.ranges.clear()
            payload.offsets.clear()
