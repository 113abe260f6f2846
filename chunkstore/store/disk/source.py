"""Where the bytes of one generation lie, for who reads them: extents, and the volumes they are in.

While it is held, its volumes are open: what compaction moves or a delete takes away can still be
read to its end. While nobody holds it, it knows nothing, and looks its place up at the next hold.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from operator import attrgetter
from typing import TypeVar

import trio

from chunkstore.errors import DamagedError, DiskError
from chunkstore.objects import FileRange
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.resident import is_resident
from chunkstore.store.disk.stored import Extent
from chunkstore.store.disk.volume import Volume

__all__ = ["READ_THREADS", "DiskSource"]

_T = TypeVar("_T")

READ_THREADS = 16
"""Reads that wait for the disk at a time; more would only wait there."""
READ_S = 30.0
"""A disk that takes longer is taken for broken by whoever reads."""


class DiskSource:
    """A `Source`: payload of one generation on disk; for the loop's thread.

    Args:
        engine: has the ledger and the volumes.
        key: the object's name.
        generation: its number.
        threads: bounds the reads that wait for the disk.
        is_committed: it is in the ledger; else it is being written, and `add` says where.
    """

    __slots__ = (
        "_engine",
        "_extents",
        "_holds",
        "_threads",
        "_volumes",
        "generation",
        "is_committed",
        "key",
    )

    def __init__(
        self,
        engine: Engine,
        key: str,
        generation: int,
        threads: trio.CapacityLimiter,
        *,
        is_committed: bool,
    ) -> None:
        self._engine = engine
        self._threads = threads
        self._extents: Sequence[Extent] = []
        self._volumes: dict[int, Volume] = {}
        self._holds = 0
        self.key = key
        self.generation = generation
        self.is_committed = is_committed

    def add(self, extent: Extent, volume: Volume) -> None:
        """Another run of an upload was written; the volume was held for this."""
        if not self._holds or volume.number in self._volumes:
            volume.close()
        else:
            self._volumes[volume.number] = volume
        if not self._holds:  # it was given up, and nobody reads it
            return
        assert isinstance(self._extents, list)  # of an upload
        self._extents.append(extent)

    def hold(self) -> None:
        """As `Source.hold`."""
        if not self._holds and self.is_committed:
            try:
                located = self._engine.locate(self.key, self.generation)
            except OSError as error:
                raise DiskError(str(error)) from error
            if located is None:
                raise DamagedError(self.key, "no volume has it any more")
            self._extents, self._volumes = located.extents, located.volumes
        self._holds += 1

    def let_go(self) -> None:
        """As `Source.let_go`."""
        self._holds -= 1
        if not self._holds:
            for volume in self._volumes.values():
                volume.close()
            self._extents, self._volumes = [], {}

    async def range(self, offset: int, limit_bytes: int) -> FileRange:
        """As `Source.range`; within one run."""
        extent = self._extent_at(offset)
        volume = self._volumes[extent.volume]
        skip = offset - extent.offset
        position, size = extent.position + skip, min(limit_bytes, extent.size_bytes - skip)
        if extent.position not in volume.verified:
            await self._in_thread([volume], partial(self._verify, extent, volume))
        elif not is_resident(volume.fd, position, size):
            await self._in_thread([volume], partial(volume.read, size, position))
        return FileRange(volume.fd, position, size)

    async def read(self) -> bytes:
        """As `Source.read`."""
        found = [(extent, self._volumes[extent.volume]) for extent in self._extents]

        def read() -> bytes:
            return b"".join(self._verify(*one) for one in found)

        return await self._in_thread(list(self._volumes.values()), read)

    def _verify(self, extent: Extent, volume: Volume) -> bytes:
        return self._engine.verify(self.key, extent, volume)

    def _extent_at(self, offset: int) -> Extent:
        index = bisect_right(self._extents, offset, key=attrgetter("offset")) - 1
        if index >= 0:
            extent = self._extents[index]
            if offset < extent.offset + extent.size_bytes and extent.volume in self._volumes:
                return extent
        raise DamagedError(self.key, f"its bytes from {offset} on are missing")

    async def _in_thread(self, volumes: Sequence[Volume], read: Callable[[], _T]) -> _T:
        def work() -> _T:
            with ExitStack() as stack:
                for volume in volumes:  # who waits for this may leave before it is done
                    if not volume.hold():
                        raise DamagedError(self.key, "it went while it was read")
                    stack.callback(volume.close)
                return read()

        try:
            with trio.fail_after(READ_S):
                return await trio.to_thread.run_sync(
                    work, abandon_on_cancel=True, limiter=self._threads
                )
        except OSError as error:
            raise DiskError(str(error)) from error
        except trio.TooSlowError as error:
            raise DiskError(f"the disk gave nothing within {READ_S:g} s") from error
