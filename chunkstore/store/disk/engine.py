"""One thread's work on a data dir: append, sync together, and only then believe it.

Blocking and for one thread, but for what any may ask: `begin`, `locate`, `verify`, `read`. What is
appended counts once it is synced: until then the ledger doesn't know of it. What a sync fails for
is cut off before anything else is done, so that no start finds what nobody here knows.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock

from chunkstore.errors import DamagedError
from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.files import Buffer, Files
from chunkstore.store.disk.ledger import Extent, Stored, Tombstone
from chunkstore.store.disk.located import Located, hold, locate, verify
from chunkstore.store.disk.record import (
    HEAD_BYTES,
    HEADER_BYTES,
    PAYLOAD_BYTES,
    Kind,
    Named,
    checksum,
)
from chunkstore.store.disk.scrub import Scrub
from chunkstore.store.disk.start import start
from chunkstore.store.disk.volume import OWN, Volume, volume_name

__all__ = ["OWN_AFTER_BYTES", "VOLUME_BYTES", "Engine"]

VOLUME_BYTES = 1 << 30
"""At this size a volume is full, and another one is begun."""
OWN_AFTER_BYTES = 64 << 20
"""From this offset on an upload continues in a file of its own, which goes with it."""


class Engine:
    """A data dir, started: what was acknowledged is in `ledger`.

    Args:
        data: the folder, ours until its `close`.
        files: the file system.
        volume_bytes, own_after_bytes: as the constants, which tests make smaller.
    Raises:
        OSError: it can't be read or written.

    Attributes:
        ledger: what is there; changed by this thread, behind a sync.
        report: what the start found.
        index_error: why the index couldn't be written the last time; empty: it could.
    """

    def __init__(
        self,
        data: DataDir,
        files: Files,
        *,
        volume_bytes: int = VOLUME_BYTES,
        own_after_bytes: int = OWN_AFTER_BYTES,
    ) -> None:
        self._data = data
        self._files = files
        self._volume_bytes = volume_bytes
        self._own_after_bytes = own_after_bytes
        found = start(data, files)
        self.ledger, self.report = found.ledger, found.report
        self._index, self._volumes = found.index, found.volumes
        self._sequence, self._counting = found.sequence, Lock()
        self.index_error = ""
        self._unsynced: list[tuple[int, Callable[[], None]]] = []  # upload or 0, what to tell
        self._writing: set[int] = set()  # uploads whose own file is held
        self._broken: set[int] = set()  # uploads that lost a run to a sync that failed
        self._failure: OSError | None = None  # of a sync, not told by `flush` so far
        # The highest is never unlinked, so no number comes twice.
        self._number = max((one for one in self._volumes if one < OWN), default=0)
        self._active = found.active or self._create_next()
        self._save()

    # --- uploads -------------------------------------------------------------------------------

    def begin(self) -> int:
        """A new upload: its generation. Any thread may ask."""
        return self._next_sequence()

    def append(self, generation: int, offset: int, pieces: Sequence[Buffer]) -> Extent:
        """Store a run of an upload; it can be read at once.

        Args:
            offset: of its first byte in the object.
            pieces: together at most 1 MiB, and at least a byte.
        Returns:
            where it lies, until compaction moves it.
        Raises:
            OSError: it isn't stored; the upload can't become complete.
        """
        self._check(generation)
        data = b"".join(pieces)
        assert 0 < len(data) <= PAYLOAD_BYTES
        if offset >= self._own_after_bytes:
            volume = self._own(generation)
        else:
            volume = self._with_room(len(data))
        crc = checksum(data)
        position = volume.append(
            Kind.RUN, [data], crc, sequence=generation, generation=generation, offset=offset
        )
        extent = Extent(offset, volume.number, position, len(data), crc)
        self._unsynced.append((generation, partial(self.ledger.run, generation, extent)))
        return extent

    def commit(self, generation: int, key: str, size_bytes: int, facts: bytes) -> None:
        """The upload is whole: it becomes what `key` has, at the next `flush`.

        Raises:
            OSError: it doesn't.
        """
        self._check(generation)
        own = self._volumes.get(OWN + generation)
        if own is not None:
            own.sync()
        self._commit(self._next_sequence(), generation, key, size_bytes, facts)

    def _commit(
        self, sequence: int, generation: int, key: str, size_bytes: int, facts: bytes
    ) -> None:
        payload = Named(key, facts).encode()
        volume = self._with_room(len(payload))
        volume.append(
            Kind.COMMIT,
            [payload],
            checksum(payload),
            sequence=sequence,
            generation=generation,
            offset=size_bytes,
        )
        record_bytes = HEADER_BYTES + len(payload)
        stored = Stored(sequence, generation, size_bytes, facts, volume.number, record_bytes)
        self._unsynced.append((generation, partial(self._complete, key, stored)))

    def _complete(self, key: str, stored: Stored) -> None:
        self.ledger.commit(key, stored)
        if stored.generation in self._writing:
            self._writing.remove(stored.generation)
            self._volumes[OWN + stored.generation].close()

    def abandon(self, generation: int) -> None:
        """The upload won't become complete: what it stored is garbage."""
        self._unsynced.append((generation, partial(self.ledger.abandon, generation)))

    def delete(self, key: str) -> None:
        """All that was committed under `key` goes, at the next `flush`.

        Raises:
            OSError: it doesn't.
        """
        self._bury(key, self._next_sequence())

    def _bury(self, key: str, sequence: int) -> None:
        payload = Named(key, b"").encode()
        volume = self._with_room(len(payload))
        volume.append(Kind.TOMBSTONE, [payload], checksum(payload), sequence=sequence)
        tombstone = Tombstone(sequence, volume.number, HEADER_BYTES + len(payload))
        self._unsynced.append((0, partial(self.ledger.tombstone, key, tombstone)))

    def flush(self) -> None:
        """Make all of it durable; then the ledger and the index know it.

        Raises:
            OSError: nothing since the last one is to be acknowledged, whichever call it was whose
                sync failed; uploads that lost a run by it can't become complete.
        """
        try:
            self._flush()
            if self._failure is not None:
                raise self._failure
        finally:
            self._failure = None

    def _flush(self) -> None:
        self._sync()
        self._drop_dead_files()
        self._save()

    # --- reading -------------------------------------------------------------------------------

    def locate(self, key: str, generation: int) -> Located | None:
        """As `located.locate`. Any thread may ask."""
        return locate(self.ledger, self._volumes, key, generation)

    def verify(self, key: str, extent: Extent, volume: Volume) -> bytes:
        """As `located.verify`. Any thread may ask that holds the volume."""
        return verify(key, extent, volume)

    def read(self, key: str, extent: Extent) -> bytes:
        """The same, where nothing is held. Any thread may ask.

        Raises:
            DamagedError, OSError: as `verify`; or it was moved.
        """
        located = hold(self._volumes, [extent])
        if located is None:
            raise DamagedError(key, f"{volume_name(extent.volume)} is gone")
        try:
            return verify(key, extent, located.volumes[extent.volume])
        finally:
            located.close()

    def scrub(self, period_s: float, clock: Callable[[], float]) -> Scrub:
        """Passes over all objects, each within a period; to be made steps of by this thread."""
        place = self._data.scrub
        return Scrub(self.ledger, self._volumes, place, period_s=period_s, clock=clock)

    # --- space ---------------------------------------------------------------------------------

    def garbage_bytes(self) -> dict[int, int]:
        """What no object needs, by volume; the active one isn't among them."""
        return {
            number: volume.end - self.ledger.live_bytes[number]
            for number, volume in self._volumes.items()
            if volume is not self._active and number < OWN
        }

    def compact(self, number: int) -> None:
        """Write what is needed of a volume again, and unlink it.

        Source: the cleaning of a log-structured store (Rosenblum and Ousterhout, 1992).

        Raises:
            DamagedError: it has a run that isn't right; the volume stays as it is.
            OSError: the volume stays as it is.
        """
        volume = self._volumes[number]
        assert volume is not self._active
        self._flush()
        for key, stored in list(self.ledger.needed_in(number)):
            for extent in stored.extents:
                if extent.volume == number:
                    self._append_again(stored.generation, extent, self.read(key, extent))
            if stored.commit_volume == number:
                again = (stored.sequence, stored.generation, key, stored.size_bytes, stored.facts)
                self._commit(*again)
        for generation, extents in self.ledger.open_in(number):
            for extent in extents:
                data = self.read(f"upload {generation}", extent)
                self._append_again(generation, extent, data)
        for key, tombstone in list(self.ledger.tombstones.items()):
            if tombstone.volume == number and self.ledger.dead.get(key, set()) - {number}:
                self._bury(key, tombstone.sequence)
        self._sync()
        self._unlink(volume)
        # Only now: as long as the volume may come back, its dead need their tombstones.
        self.ledger.forget(number)
        self._save()

    def _append_again(self, generation: int, extent: Extent, data: bytes) -> None:
        volume = self._with_room(len(data))
        position = volume.append(
            Kind.RUN,
            [data],
            extent.crc,
            sequence=generation,
            generation=generation,
            offset=extent.offset,
        )
        moved = extent._replace(volume=volume.number, position=position)
        self._unsynced.append((0, partial(self.ledger.run, generation, moved)))

    def close(self) -> None:
        """Flush, leave a mark that says how far all is durable, and give the files back.

        Raises:
            OSError: as `flush`; the files are given back all the same.
        """
        try:
            self.flush()
            if not self._active.is_frozen:
                with suppress(OSError):  # a hint, for which a full disk has no room
                    self._mark()
            self._sync()
            self._save()
        finally:
            self._index.close()
            for number, volume in self._volumes.items():
                if number < OWN or number - OWN in self._writing:
                    volume.close()

    # --- inside --------------------------------------------------------------------------------

    def _next_sequence(self) -> int:
        with self._counting:
            self._sequence += 1
            return self._sequence

    def _create_next(self) -> Volume:
        self._number += 1  # whatever comes of it: a name may be left, and hinder another attempt
        return self._create(self._number)

    def _create(self, number: int) -> Volume:
        volume = Volume.create(self._files, self._data.volumes, self._data.dir_id, number)
        self._volumes[number] = volume
        return volume

    def _with_room(self, payload_bytes: int) -> Volume:
        """The volume that the next record goes to."""
        needed = self._active.end + HEADER_BYTES + payload_bytes
        if self._active.is_frozen or needed > self._volume_bytes:
            self._sync()  # what is in the next one may rely on all that is in this one
            self._active.cut(self._active.synced_bytes)  # and on its size: no half record is left
            self._active = self._create_next()
        if self._active.end == HEAD_BYTES:
            before = max((one for one in self._volumes if one < self._active.number), default=0)
            self._mark(before, self._volumes[before].synced_bytes if before else 0)
        return self._active

    def _mark(self, number: int = 0, durable_bytes: int = 0) -> None:
        """Say how much of a volume was durable; or, of none, let the record's header speak."""
        facts = {"sequence": self._sequence, "generation": number, "offset": durable_bytes}
        self._active.append(Kind.MARK, [], checksum(b""), **facts)

    def _own(self, generation: int) -> Volume:
        own = self._volumes.get(OWN + generation)
        if own is None:
            own = self._create(OWN + generation)
            self._writing.add(generation)
        return own

    def _check(self, generation: int) -> None:
        own = self._volumes.get(OWN + generation)
        if generation in self._broken or (own is not None and own.is_frozen):
            raise OSError(errno.EIO, "a sync failed, and bytes of the upload may be lost")

    def _sync(self) -> None:
        told, self._unsynced = self._unsynced, []
        try:
            if self._active.is_frozen:  # or what was taken back might count at the next start
                self._active.cut(self._active.synced_bytes)
            for volume in self._volumes.values():
                if volume is not self._active and not volume.is_frozen:
                    volume.sync()
            if not self._active.is_frozen:
                self._active.sync()  # last, since it has the commits: all counts, or nothing
        except OSError as error:
            self._active.is_frozen, self._failure = True, error
            with suppress(OSError):  # if not now, then before anything else is done
                self._active.cut(self._active.synced_bytes)
            for generation in {one for one, _ in told if one}:
                self._broken.add(generation)
                self.ledger.abandon(generation)
            raise
        for _, tell in told:
            tell()

    def _drop_dead_files(self) -> None:
        """Files of their own whose object is gone, or whose upload is; what can't go now, later."""
        for number in [one for one in self._volumes if one >= OWN]:
            if not self.ledger.has_generation(number - OWN):
                with suppress(OSError):
                    self._unlink(self._volumes[number])
                    self.ledger.forget(number)

    def _unlink(self, volume: Volume) -> None:
        with suppress(FileNotFoundError):  # it went, and the folder's sync failed
            self._files.unlink(volume.path)
        self._files.sync_folder(self._data.volumes)
        del self._volumes[volume.number]
        volume.give_up()
        if volume.number < OWN or volume.number - OWN in self._writing:
            volume.close()
        self._writing.discard(volume.number - OWN)

    def _save(self) -> None:
        ends = {number: volume.synced_bytes for number, volume in self._volumes.items()}
        try:
            self._index.save(self.ledger, ends, self._sequence)
            self.index_error = ""
        except sqlite3.Error as error:  # a start finds it in the volumes; the next save tries again
            self.index_error = str(error)
