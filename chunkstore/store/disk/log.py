"""Records that are appended to the volumes, and told to the ledger once they count.

A run is told at once: an upload that isn't committed may be read, and is forgotten by any start.
All else waits until it is synced, or until nobody asks for that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock

from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.record import HEADER_BYTES, Kind, Named, checksum
from chunkstore.store.disk.stored import Extent, Stored, Tombstone
from chunkstore.store.disk.volume import Volume
from chunkstore.store.disk.volumes import Volumes

__all__ = ["Log"]


class Log:
    """What one thread writes; `next_sequence` is for any.

    Args:
        volumes: where to.
        ledger: who is told.
        sequence: the highest so far.

    Attributes:
        sequence: the highest so far.
        broken: uploads that lost bytes to a sync that failed.
        failed_syncs: how many so far.
        failure: of a sync, which nobody was told of so far; to be set to None by who tells.
    """

    def __init__(self, volumes: Volumes, ledger: Ledger, sequence: int) -> None:
        self._volumes = volumes
        self._ledger = ledger
        self.sequence = sequence
        self.broken: set[int] = set()
        self.failed_syncs = 0
        self.failure: OSError | None = None
        self._counting = Lock()
        self._untold: list[Callable[[], None]] = []
        self._uploads: set[int] = set()  # of which something doesn't count so far
        self._ended: set[int] = set()  # of them, those that nothing follows for

    def next_sequence(self) -> int:
        """One that nothing has. Any thread may ask."""
        with self._counting:
            self.sequence += 1
            return self.sequence

    # --- what is appended; each raises OSError: it isn't, and won't count ----------------------

    def run(self, generation: int, offset: int, data: bytes, *, is_own: bool) -> Extent:
        """A part of an upload, in its own file or not; it is told at once."""
        crc = checksum(data)
        extent = self._run(generation, offset, data, crc, is_own=is_own)
        self._uploads.add(generation)
        self._ledger.run(generation, extent)
        return extent

    def run_again(self, generation: int, extent: Extent, data: bytes) -> None:
        """The same part elsewhere; from the next `sync` on it is read there."""
        moved = self._run(generation, extent.offset, data, extent.crc, is_own=False)
        self._untold.append(partial(self._ledger.move, generation, moved))

    def commit(self, key: str, stored: Stored) -> None:
        """An upload is whole.

        Args:
            stored: its place is given to it here.
        """
        self._commit(key, stored)
        self._end(stored.generation)

    def commit_again(self, key: str, stored: Stored) -> None:
        """The same commit elsewhere."""
        self._commit(key, stored)

    def _commit(self, key: str, stored: Stored) -> None:
        payload = Named(key, stored.facts).encode()
        volume = self._with_room(len(payload))
        self._volumes.append(
            volume,
            Kind.COMMIT,
            payload,
            checksum(payload),
            sequence=stored.sequence,
            generation=stored.generation,
            offset=stored.size_bytes,
        )
        record_bytes = HEADER_BYTES + len(payload)
        placed = stored._replace(commit_volume=volume.number, commit_bytes=record_bytes)
        self._untold.append(partial(self._complete, key, placed))

    def tombstone(self, key: str, sequence: int) -> None:
        """All that was committed under `key` up to `sequence` is gone."""
        payload = Named(key, b"").encode()
        volume = self._with_room(len(payload))
        self._volumes.append(volume, Kind.TOMBSTONE, payload, checksum(payload), sequence=sequence)
        tombstone = Tombstone(sequence, volume.number, HEADER_BYTES + len(payload))
        self._untold.append(partial(self._ledger.tombstone, key, tombstone))

    def abandon(self, generation: int) -> None:
        """An upload won't become whole. Nothing is written: any start knows."""
        self._end(generation)
        self.broken.discard(generation)
        self._untold.append(partial(self._ledger.abandon, generation))

    # --- what counts ---------------------------------------------------------------------------

    def publish(self) -> None:
        """All that was appended counts from now on, durable or not."""
        self._volumes.count()
        self._uploads.clear()
        self._ended.clear()
        untold, self._untold = self._untold, []
        for tell in untold:
            tell()

    def sync(self) -> None:
        """Make all that was appended durable; then it counts.

        Raises:
            OSError: nothing since the last time does, and uploads that lost bytes are broken.
        """
        try:
            self._volumes.sync()
        except OSError as error:
            self.failed_syncs += 1
            self.failure = error
            self._untold.clear()
            for generation in self._uploads:
                self._ledger.abandon(generation)
            self.broken |= self._uploads - self._ended
            self._uploads.clear()
            self._ended.clear()
            raise
        self.publish()

    # --- inside --------------------------------------------------------------------------------

    def _run(self, generation: int, offset: int, data: bytes, crc: int, *, is_own: bool) -> Extent:
        volume = self._volumes.begin_own(generation) if is_own else self._with_room(len(data))
        position = self._volumes.append(
            volume,
            Kind.RUN,
            data,
            crc,
            sequence=generation,
            generation=generation,
            offset=offset,
        )
        return Extent(offset, volume.number, position, len(data), crc)

    def _with_room(self, payload_bytes: int) -> Volume:
        """The active volume, or another one if it is full."""
        if not self._volumes.has_room(payload_bytes):
            self.sync()
            self._volumes.begin_next()
        self._volumes.mark_first(self.sequence)
        return self._volumes.active

    def _end(self, generation: int) -> None:
        self._uploads.add(generation)
        self._ended.add(generation)

    def _complete(self, key: str, stored: Stored) -> None:
        self._ledger.commit(key, stored)
        self._volumes.end_own(stored.generation)
