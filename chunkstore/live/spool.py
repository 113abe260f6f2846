"""The way of one upload to the store behind a catalog, beside its ring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from chunkstore.errors import CapacityError, DiskError, DiskFullError, QuorumError
from chunkstore.live.broadcast import Broadcast
from chunkstore.objects import Abort, Facts
from chunkstore.store import Incoming

if TYPE_CHECKING:
    from chunkstore.live.shelf import Shelf

__all__ = ["Spool"]

RUN_BYTES = 1 << 20
"""So much of an upload goes to disk at once."""
WINDOW_BYTES = 8 << 20
"""So much of an upload stays in memory behind its live edge."""


class Spool:
    """One upload's way to disk.

    Args:
        shelf: where it goes.
        broadcast: of its generation.
        disk: the writer's side.
    """

    __slots__ = ("_broadcast", "_disk", "_done", "_shelf", "error")

    def __init__(self, shelf: Shelf, broadcast: Broadcast, disk: Incoming) -> None:
        self._shelf = shelf
        self._broadcast = broadcast
        self._disk = disk
        disk.on_written = self.written
        self._done = trio.Event()
        self.error: DiskError | None = None

    @property
    def has_run(self) -> bool:
        """There is enough to hand over."""
        size_bytes = self._broadcast.generation.ring.size_bytes
        return size_bytes - self._disk.handed_bytes >= RUN_BYTES

    async def hand_over(self, *, is_whole: bool = False) -> None:
        """Have whole runs written, or all there is; waits while too much waits for the disk.

        Cancellation: the rest can be handed over later.
        """
        ring, least = self._broadcast.generation.ring, 1 if is_whole else RUN_BYTES
        # The end of a long one may take of the reserve: there was room when it began.
        if not is_whole or not self._disk.handed_bytes:
            try:
                self._shelf.space.check(ring.size_bytes if is_whole else 0)
            except CapacityError as error:
                self.error = self.error or DiskFullError(str(error))
        while ring.size_bytes - (start := self._disk.handed_bytes) >= least:
            await self._disk.append(ring.views(start, min(start + RUN_BYTES, ring.size_bytes)))

    def written(self) -> None:
        """More of it can be read from disk, or it never will be: let go of what left the window.

        Or its digest is known now.
        """
        self.error = self.error or self._disk.error
        self._take_digest()
        if self._broadcast.generation.is_open:
            self._shrink(WINDOW_BYTES)

    def shrink(self) -> None:
        """Memory is short: let go of all that can be read from disk."""
        self._shrink(0)

    def _shrink(self, window_bytes: int) -> None:
        generation = self._broadcast.generation
        ring = generation.ring
        behind = min(ring.size_bytes - window_bytes, self._disk.written_bytes)
        ring.trim(min(behind, self._broadcast.kept_from))
        self._shelf.store.charge(generation)

    def commit(self, facts: Facts) -> None:
        """All of it was handed over, and it shows as complete: make that durable."""
        size_bytes = self._broadcast.generation.ring.size_bytes
        self._disk.commit(size_bytes, facts.encode(), self._committed)

    def _committed(self, error: DiskError | None) -> None:
        self.error = error
        self._take_digest()
        self._shelf.committed(self._broadcast.generation, self.cause)
        self._done.set()
        if self._disk.has_digest:  # of what failed nobody may have learnt it
            self._broadcast.wake(trio.current_time())

    @property
    def has_digest(self) -> bool:
        """Who reads it to its end can be told the digest then."""
        return self._disk.has_digest

    @property
    def awaits_digest(self) -> bool:
        """It is to be told soon; else it is known by now, or never will be."""
        return self._disk.has_digest and self._disk.sha256 is None and not self._done.is_set()

    def _take_digest(self) -> None:
        generation = self._broadcast.generation
        if generation.sha256 is None and self._disk.sha256 is not None:
            generation.sha256, generation.head = self._disk.sha256, None
            self._broadcast.wake(trio.current_time())

    def abandon(self) -> None:
        """It won't become complete."""
        self._disk.abandon()

    async def stored(self) -> Abort | None:
        """Wait until the commit is durable; or why it can't be, and was taken back.

        Cancellation: it may yet become so.
        """
        await self._done.wait()
        return self.cause

    @property
    def cause(self) -> Abort | None:
        """Why it can't become complete; None so far."""
        if self.error is None:
            return None
        if isinstance(self.error, QuorumError):
            return Abort.NO_QUORUM
        return Abort.NO_SPACE if isinstance(self.error, DiskFullError) else Abort.DISK_FAILED

    @property
    def receipt_fields(self) -> Sequence[tuple[str, str]]:
        """What its writer is told of how it is kept, once that is durable."""
        return self._disk.receipt_fields
