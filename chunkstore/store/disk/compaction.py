"""Empties a volume, a step at a time: what is needed of it is written again, then it is unlinked.

Between two steps anything may be committed, replaced and deleted. So each record is judged when its
turn comes, by what the ledger knows by then; what is written again keeps its sequence, and loses to
whatever is newer. The volume goes when the ledger says that nothing in it is needed, and that is
durable: until then a start finds each thing twice, or once.

Source: the cleaning of a log-structured store (Rosenblum and Ousterhout, 1992).
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import Final

from chunkstore.errors import DamagedError
from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.located import verify
from chunkstore.store.disk.log import Log
from chunkstore.store.disk.record import HEAD_BYTES, HEADER_BYTES, Kind, Named
from chunkstore.store.disk.scan import Damage, Found
from chunkstore.store.disk.volume import Volume
from chunkstore.store.disk.volumes import Volumes

__all__ = ["GARBAGE_SHARE", "STEP_BYTES", "STEP_RECORDS", "Compaction"]

GARBAGE_SHARE: Final = 0.3
"""Of a volume: with less than this, writing the rest again costs more than it frees."""
STEP_BYTES: Final = 4 << 20
"""So much is written in one step: a commit behind it waits for that."""
STEP_RECORDS: Final = 500
"""So many are looked at in one step: ten milliseconds, if all are small and needed."""


class _UnreadableError(Exception):
    """Unlike what writing raises, it will be the same the next time."""


class Compaction:
    """One volume's; by the engine's thread.

    Args:
        volume: not the active one.
        left_alone: volumes that can't be emptied, by number, and why; told here.

    Attributes:
        copied_bytes: written again so far.
    """

    def __init__(
        self,
        volume: Volume,
        volumes: Volumes,
        log: Log,
        ledger: Ledger,
        left_alone: dict[int, str],
    ) -> None:
        self._volume = volume
        self._volumes = volumes
        self._log = log
        self._ledger = ledger
        self._left_alone = left_alone
        self._failed_syncs = log.failed_syncs
        self._bytes_left = self._records_left = 0  # of this step
        self._steps = self._work()
        self.copied_bytes = 0

    def step(self, *, most_bytes: int = STEP_BYTES, most_records: int = STEP_RECORDS) -> bool:
        """A bounded piece of the work.

        Args:
            most_bytes: so much is written again, and at most a record more.
            most_records: so many are looked at.
        Returns:
            False: it is over: the volume is gone, or it is left alone.
        Raises:
            OSError: it is over, and the volume stays; it may be tried again.
        """
        if self._log.failed_syncs != self._failed_syncs:
            self._failed_syncs = self._log.failed_syncs
            self._steps.close()
            raise OSError(errno.EIO, "a sync failed, and what was written again may be lost")
        self._bytes_left, self._records_left = most_bytes, most_records
        return next(self._steps, False)

    def _work(self) -> Generator[bool]:
        number = self._volume.number
        for one in self._volume.scan(HEAD_BYTES, self._volume.end):
            if isinstance(one, Damage):  # it may be of something that is needed
                self._left_alone[number] = f"{one.size} bytes at {one.position} are damaged"
                return
            try:
                copied_bytes = self._copy(one)
            except _UnreadableError as error:
                self._left_alone[number] = str(error)
                return
            self.copied_bytes += copied_bytes
            self._bytes_left -= copied_bytes
            self._records_left -= 1
            if self._bytes_left <= 0 or self._records_left <= 0:
                yield True
        self._log.sync()
        # All was looked at, so what tombstones are left here may go; and nothing else is left.
        assert self._ledger.live_bytes[number] == self._ledger.tombstone_bytes[number]
        self._volumes.unlink(self._volume)
        # Only now: as long as the volume may come back, its dead need their tombstones.
        while not self._ledger.forget(number, self._records_left):
            yield True

    def _copy(self, found: Found) -> int:
        """Write a record again if it is needed.

        Returns:
            the size of what was written.
        Raises:
            _UnreadableError: it is needed, and isn't right, or the disk can't say.
        """
        header, number = found.header, self._volume.number
        if header.kind is Kind.RUN:
            return self._copy_run(found)
        if header.kind is Kind.COMMIT:
            key = Named.decode(found.payload).key
            stored = self._ledger.objects.get(key)
            if stored is None or stored[:2] != (header.sequence, header.generation):
                return 0
            if stored.commit_volume != number:
                return 0
            self._log.commit_again(key, stored)
            return header.record_bytes
        if header.kind is Kind.TOMBSTONE:
            key = Named.decode(found.payload).key
            tombstone = self._ledger.tombstones.get(key)
            where = (header.sequence, number)
            if tombstone is None or tombstone[:2] != where or self._ledger.is_needless(key, number):
                return 0
            self._log.tombstone(key, tombstone.sequence)
            return header.record_bytes
        return 0

    def _copy_run(self, found: Found) -> int:
        header, position = found.header, found.position + HEADER_BYTES
        extents = self._ledger.extents_of(header.generation)
        index = extents.find(header.offset)
        extent = extents[index] if index < len(extents) else None
        if extent is None or (extent.volume, extent.position) != (self._volume.number, position):
            return 0
        name = self._ledger.key_of(header.generation) or f"upload {header.generation}"
        try:
            data = verify(name, extent, self._volume)
        except (DamagedError, OSError) as error:
            raise _UnreadableError(str(error)) from error
        self._log.run_again(header.generation, extent, data)
        return header.record_bytes
