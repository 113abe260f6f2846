"""The writer's side of one open generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import trio

from chunkstore.errors import CapacityError, DiskError
from chunkstore.live.broadcast import Broadcast
from chunkstore.objects import Abort, State
from chunkstore.ring import CHUNK_COST_BYTES, OWN_BLOCK_BYTES

if TYPE_CHECKING:
    from chunkstore.live.catalog import Catalog

__all__ = ["Run", "Upload"]

PUBLISH_AFTER_S = 0.02
"""Bytes are shown at the latest so long after the first of them came, chunk end or not."""


class Run(Protocol):
    """Consecutive payload bytes; the wire's `Data` has this shape."""

    @property
    def data(self) -> bytes | bytearray | memoryview:
        """One byte or more."""

    @property
    def chunk_end(self) -> bool:
        """The last of them is the last of a chunk as the writer framed it."""


class Upload:
    """Takes the bytes of one PUT in and shows them; never waits for a reader.

    Args:
        catalog: where the generation was begun.
        broadcast: its async face.

    Attributes:
        generation: what is being written.
        publish_at_s: when `publish` is due, if bytes wait that the publish rule holds back.
    """

    def __init__(self, catalog: Catalog, broadcast: Broadcast) -> None:
        self._catalog = catalog
        self._broadcast = broadcast
        self.generation = broadcast.generation
        self.publish_at_s: float | None = None
        self._spool = broadcast.spool

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two arrivals of bytes."""
        return self._broadcast.longest_gap_s

    def append(self, runs: Sequence[Run], *, max_bytes: int) -> Abort | None:
        """Store what came at once and show it as the publish rule says; never waits for a reader.

        Args:
            runs: one or more, of one receive; copied unless they may stay where they are.
            max_bytes: what the object may have at most.
        Returns:
            None, or why the upload must be given up (the caller calls `abort` with it).
        """
        generation, store = self.generation, self._catalog.store
        ring = generation.ring
        size = sum([len(run.data) for run in runs])
        if ring.size_bytes + size > max_bytes:
            return Abort.TOO_LARGE
        needed_bytes = size + CHUNK_COST_BYTES * len(runs)
        if store.is_short(needed_bytes):
            try:
                self._catalog.make_room(needed_bytes)
            except CapacityError:
                return Abort.NO_MEMORY
        if self._spool is not None and self._spool.error is not None:
            return self._spool.cause
        if generation.state is not State.OPEN:
            return generation.abort  # displaced or deleted while these bytes were on their way
        was_empty = not ring.end
        now = trio.current_time()
        is_lasting = _is_lasting(runs)
        is_published = False
        for run in runs:
            is_published |= ring.append(run.data, chunk_end=run.chunk_end, is_lasting=is_lasting)
        if is_published:
            # Readers first, accounts afterwards.
            self._catalog.grew(self._broadcast, self._waiting_since_s(now))
        self._broadcast.arrived(now)
        if is_published:
            self._published(now, was_empty=was_empty)
        if self.publish_at_s is None and ring.unpublished_bytes:
            self.publish_at_s = now + PUBLISH_AFTER_S
        store.charge(generation)
        return None

    def publish(self) -> None:
        """Show what is stored: its 20 ms are over."""
        was_empty = not self.generation.ring.end
        if self.generation.ring.publish():
            now = trio.current_time()
            self._catalog.grew(self._broadcast, self._waiting_since_s(now))
            self._catalog.store.charge(self.generation)
            self._published(now, was_empty=was_empty)

    def _waiting_since_s(self, now_s: float) -> float:
        return now_s if self.publish_at_s is None else self.publish_at_s - PUBLISH_AFTER_S

    def _published(self, now_s: float, *, was_empty: bool) -> None:
        self.publish_at_s = None
        self._catalog.namespace.published(self.generation, now_s)
        if was_empty and not self.generation.policy.atomic:
            self._catalog.holds.changed(self.generation.key)

    @property
    def has_run(self) -> bool:
        """There is enough to `hand_over`."""
        return self._spool is not None and self._spool.has_run

    async def hand_over(self, *, is_whole: bool = False) -> None:
        """Have what can be written to disk, if there is one; all of it, if the body is whole.

        Waits while too much waits for the disk.

        Cancellation: the rest can be handed over later.
        """
        if self._spool is not None:
            await self._spool.hand_over(is_whole=is_whole)

    def commit(self) -> bool:
        """The body is whole, and handed over: it is complete. Whether it replaced another one."""
        self.publish()
        return self._catalog.committed(self._broadcast)

    @property
    def cause(self) -> Abort | None:
        """Why it can't be stored; None so far."""
        return None if self._spool is None else self._spool.cause

    async def stored(self) -> Abort | None:
        """Wait until the commit is durable; or why it can't be, and was taken back.

        Cancellation: it may yet become so.
        """
        return None if self._spool is None else await self._spool.stored()

    @property
    def error(self) -> DiskError | None:
        """What the store says of why it can't become complete; None so far."""
        return None if self._spool is None else self._spool.error

    @property
    def receipt_fields(self) -> Sequence[tuple[str, str]]:
        """What its writer is told of how it is kept, once it was `stored`."""
        return () if self._spool is None else self._spool.receipt_fields

    def abort(self, cause: Abort) -> None:
        """Give the upload up; readers are cut. Nothing happens if it has already ended."""
        if self.generation.is_open:
            self._catalog.namespace.abort(self.generation, cause)


def _is_lasting(runs: Sequence[Run]) -> bool:
    """Whether a receive may be kept as it came: nobody writes to it, and little else is in it.

    What is kept beside the runs is in no budget, and so is the copy of small ones.
    """
    data = runs[0].data
    whole = data.obj if isinstance(data, memoryview) else data
    if type(whole) is not bytes:
        return False
    kept_bytes = sum([len(run.data) for run in runs if len(run.data) >= OWN_BLOCK_BYTES])
    return len(whole) <= kept_bytes + kept_bytes // 8
