"""One thread's work on a data dir: append, make it count, save what the index must know.

Blocking and for one thread, but for what any may ask: `begin`, `locate`, `verify`, `read`. What is
committed or deleted counts at the next `flush`; what a sync fails for is cut off before anything
else is done, so that no start finds what nobody here knows.
"""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from chunkstore.store.disk.compaction import GARBAGE_SHARE, Compaction
from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.files import Buffer, Files
from chunkstore.store.disk.located import Located, locate, verify
from chunkstore.store.disk.log import Log
from chunkstore.store.disk.record import PAYLOAD_BYTES
from chunkstore.store.disk.scrub import Scrub
from chunkstore.store.disk.start import start
from chunkstore.store.disk.stored import Extent, Stored
from chunkstore.store.disk.volume import OWN, Volume, volume_name
from chunkstore.store.disk.volumes import Volumes

__all__ = ["INDEX_INTERVAL_S", "INDEX_NAMES", "OWN_AFTER_BYTES", "VOLUME_BYTES", "Engine"]

VOLUME_BYTES: Final = 1 << 30
"""At this size a volume is full, and another one is begun; on a small disk sooner."""
VOLUME_LEAST_BYTES: Final = 4 << 20
VOLUME_SHARE: Final = 32
"""So many are a disk: garbage in the one that is written to can't be cleared away."""
OWN_AFTER_BYTES: Final = 64 << 20
"""From this offset on an upload continues in a file of its own, which goes with it."""
INDEX_INTERVAL_S: Final = 1.0
"""So old the index may be; a start reads what was written since."""
INDEX_NAMES: Final = 2000
"""With so many names to tell it is told at once: commits wait for that, some 20 ms."""


class Engine:
    """A data dir, started: what was acknowledged is in `ledger`.

    Args:
        data: the folder, ours until its `close`.
        files: the file system.
        capacity_bytes: what all volumes may take; None: what the disk has.
        volume_bytes: at this size a volume is full; None: by the capacity.
        own_after_bytes: as the constant, which tests make smaller.
        clock: seconds, never backwards.
    Raises:
        OSError: it can't be read or written.

    Attributes:
        ledger: what is there; changed by this thread.
        report: what the start found.
        index_error: why the index couldn't be written the last time; empty: it could.
        left_alone: volumes that compaction can't empty, and why: damage.
    """

    def __init__(
        self,
        data: DataDir,
        files: Files,
        *,
        capacity_bytes: int | None = None,
        volume_bytes: int | None = None,
        own_after_bytes: int = OWN_AFTER_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data = data
        self._files = files
        self._own_after_bytes = own_after_bytes
        self._clock = clock
        found = start(data, files)
        self.ledger, self.report = found.ledger, found.report
        self._index = found.index
        self.index_error = ""
        self.left_alone: dict[int, str] = {}
        self._sizes: dict[int, int] = {}  # of uploads under way: bytes appended
        self._volumes = Volumes(
            files,
            data.volumes,
            data.dir_id,
            found=found.volumes,
            active=found.active,
            full_bytes=volume_bytes or _volume_bytes(capacity_bytes, data, files),
        )
        self._log = Log(self._volumes, self.ledger, found.sequence)
        self._save()

    # --- uploads -------------------------------------------------------------------------------

    def begin(self) -> int:
        """A new upload: its generation. Any thread may ask."""
        return self._log.next_sequence()

    def append(self, generation: int, offset: int, pieces: Sequence[Buffer]) -> Extent:
        """Store a run of an upload; it can be read at once.

        Args:
            offset: of its first byte in the object, where the run before ended.
            pieces: together at most 1 MiB, and at least a byte.
        Returns:
            where it lies, until compaction moves it.
        Raises:
            OSError: it isn't stored; unless it is tried again, the upload can't become complete.
        """
        self._check(generation)
        assert offset == self._sizes.get(generation, 0), "runs come in order"
        data = b"".join(pieces)
        assert 0 < len(data) <= PAYLOAD_BYTES
        is_own = offset >= self._own_after_bytes
        extent = self._log.run(generation, offset, data, is_own=is_own)
        self._sizes[generation] = offset + len(data)
        return extent

    def commit(
        self, generation: int, key: str, size_bytes: int, facts: bytes, *, sync: bool = True
    ) -> None:
        """The upload is whole: it becomes what `key` has, at the next `flush`.

        Args:
            sync: as for the `flush` that follows.
        Raises:
            OSError: it doesn't.
            ValueError: other than `size_bytes` were appended; nothing changed.
        """
        self._check(generation)
        stored_bytes = self._sizes.get(generation, 0)
        if stored_bytes != size_bytes:
            raise ValueError(f"upload {generation} has {stored_bytes} bytes, not {size_bytes}")
        if sync:
            self._volumes.sync_own(generation)  # or a crash might keep the commit without it
        sequence = self._log.next_sequence()
        self._log.commit(key, Stored(sequence, generation, size_bytes, facts))
        self._sizes.pop(generation, None)

    def abandon(self, generation: int) -> None:
        """The upload won't become complete: what it stored is garbage."""
        self._sizes.pop(generation, None)
        self._log.abandon(generation)

    def delete(self, key: str) -> None:
        """All that was committed under `key` goes, at the next `flush`.

        Raises:
            OSError: it doesn't.
        """
        self._log.tombstone(key, self._log.next_sequence())

    def flush(self, *, sync: bool = True) -> None:
        """Let all of it count: the ledger knows it, and it may be acknowledged.

        Args:
            sync: make it durable before. Else the next one that does so makes it durable: until
                then a power cut takes the end of what was acknowledged, never more than that from
                the shared volumes; of objects with a file of their own it may take parts, too,
                which is told as damage.
        Raises:
            OSError: nothing since the last one is to be acknowledged, whichever call it was whose
                sync failed; uploads that lost a run by it can't become complete.
        """
        try:
            if sync:
                self._log.sync()
                self._drop_own_files()
                if self._is_index_due():
                    self._save()
            else:
                self._log.publish()
            if self._log.failure is not None:
                raise self._log.failure
        finally:
            self._log.failure = None

    # --- reading -------------------------------------------------------------------------------

    def locate(self, key: str, generation: int) -> Located | None:
        """As `located.locate`. Any thread may ask."""
        return locate(self.ledger, self._volumes, key, generation)

    def volume(self, number: int) -> Volume | None:
        """One of those that there are; None: it is gone. Any thread may ask."""
        return self._volumes.get(number)

    def verify(self, key: str, extent: Extent, volume: Volume) -> bytes:
        """As `located.verify`. Any thread may ask that holds the volume."""
        return verify(key, extent, volume)

    def scrub(self, period_s: float, clock: Callable[[], float]) -> Scrub:
        """Passes over all objects, each within a period; to be made steps of by this thread."""
        place = self._data.scrub
        return Scrub(self.ledger, self._volumes, place, period_s=period_s, clock=clock)

    # --- space ---------------------------------------------------------------------------------

    @property
    def used_bytes(self) -> int:
        """Of all volumes together."""
        return self._volumes.used_bytes

    @property
    def frozen(self) -> Sequence[str]:
        """File names of volumes whose sync failed: nothing more is written to them."""
        return sorted(self._volumes.frozen)

    def trouble(self) -> list[str]:
        """What is wrong now, in words; any thread may ask."""
        found = [f"{name}: a sync failed, nothing more is written there" for name in self.frozen]
        found += [
            f"{volume_name(number)}: can't be compacted: {why}"
            for number, why in sorted(self.left_alone.items())
        ]
        if self.index_error:
            found.append(f"the index can't be written: {self.index_error}")
        return found

    def free_bytes(self) -> int:
        """How much more the disk takes.

        Raises:
            OSError: it can't say.
        """
        return self._files.free_bytes(self._data.volumes)

    def garbage_bytes(self) -> dict[int, int]:
        """What no object needs, by shared volume; the active one isn't among them."""
        return {
            number: volume.end - self.ledger.live_bytes[number]
            for number, volume in self._volumes.shared.items()
            if volume is not self._volumes.active
        }

    def most_garbage(self, free_bytes: int) -> int | None:
        """The volume whose compaction is worth most; None: none is worth it, or can be done.

        Args:
            free_bytes: so much may be written: at least what is live in the volume.
        """
        shares = {
            number: garbage / self._volumes.shared[number].end
            for number, garbage in self.garbage_bytes().items()
            if number not in self.left_alone and self.ledger.live_bytes[number] <= free_bytes
        }
        number = max(shares, key=shares.__getitem__, default=None)
        return None if number is None or shares[number] < GARBAGE_SHARE else number

    def compaction(self, number: int) -> Compaction:
        """Begin to empty one of `garbage_bytes`, which goes at the end."""
        volume = self._volumes.shared[number]
        assert volume is not self._volumes.active
        return Compaction(volume, self._volumes, self._log, self.ledger, self.left_alone)

    def close(self) -> None:
        """Flush, leave a mark that says how far all is durable, and give the files back.

        Raises:
            OSError: as `flush`; the files are given back all the same.
        """
        try:
            self.flush()
            if not self._volumes.active.is_frozen:
                with suppress(OSError):  # a hint, for which a full disk has no room
                    self._volumes.mark(self._log.sequence)
            self._log.sync()
            self._save()
        finally:
            self._index.close()
            self._volumes.close()

    # --- inside --------------------------------------------------------------------------------

    def _check(self, generation: int) -> None:
        own = self._volumes.own.get(OWN + generation)
        if generation in self._log.broken or (own is not None and own.is_frozen):
            raise OSError(errno.EIO, "a sync failed, and bytes of the upload may be lost")

    def _drop_own_files(self) -> None:
        """Of what is gone: objects, and uploads. What can't go now goes later."""
        if not self._volumes.is_settled:  # a commit that comes back would need its file
            return
        for generation in list(self.ledger.ended):
            volume = self._volumes.own.get(OWN + generation)
            if volume is not None:
                try:
                    self._volumes.unlink(volume)
                except OSError:
                    continue
                self.ledger.forget(volume.number)
            self.ledger.ended.discard(generation)

    def _is_index_due(self) -> bool:
        if len(self.ledger.touched) >= INDEX_NAMES and not self.index_error:
            return True
        return self._clock() - self._saved_at >= INDEX_INTERVAL_S

    def _save(self) -> None:
        if not self._volumes.is_settled:  # a commit that comes back would need its runs
            return
        self._saved_at = self._clock()
        volumes = (*self._volumes.shared.values(), *self._volumes.own.values())
        ends = {volume.number: volume.synced_bytes for volume in volumes}
        try:
            self._index.save(self.ledger, ends, self._log.sequence)
            self.index_error = ""
        except sqlite3.Error as error:  # a start finds it in the volumes; the next save tries again
            self.index_error = str(error)


def _volume_bytes(capacity_bytes: int | None, data: DataDir, files: Files) -> int:
    """At which size a volume is full."""
    if capacity_bytes is None:
        capacity_bytes = files.capacity_bytes(data.volumes)
    return min(VOLUME_BYTES, max(VOLUME_LEAST_BYTES, capacity_bytes // VOLUME_SHARE))
