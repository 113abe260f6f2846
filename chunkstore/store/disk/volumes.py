"""All volumes of a data dir: where the next record goes, what must be synced, how large all is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from chunkstore.store.disk.files import Buffer, Files
from chunkstore.store.disk.record import HEAD_BYTES, HEADER_BYTES, Kind, checksum
from chunkstore.store.disk.volume import OWN, Volume

__all__ = ["Volumes"]


class Volumes:
    """The shared ones, held, of which the *active* one is appended to; and the own ones.

    Args:
        files: the file system.
        folder: where they lie.
        dir_id: of the data dir.
        found: those there are, by number; the shared ones held.
        active: of them; None: begin another one.
        full_bytes: at this size a volume is full.
    Raises:
        OSError: another one can't be begun.

    Attributes:
        shared, own: by number; any thread may look one up.
        active: where the next record goes, its own file's apart.
        used_bytes: of all of them together.
        frozen: file names of those whose sync failed.
        is_settled: what a sync failed for, and was cut off, can't come back: it is said in the
            active one what of the one before counts. Until then it may yet be on the disk.
    """

    def __init__(
        self,
        files: Files,
        folder: Path,
        dir_id: bytes,
        *,
        found: Mapping[int, Volume],
        active: Volume | None,
        full_bytes: int,
    ) -> None:
        self._files = files
        self._folder = folder
        self._dir_id = dir_id
        self._full_bytes = full_bytes
        self.shared = {number: one for number, one in found.items() if number < OWN}
        self.own = {number: one for number, one in found.items() if number >= OWN}
        self.used_bytes = sum(one.end for one in found.values())
        self.frozen: set[str] = set()
        self.is_settled = True
        self._writing: set[int] = set()  # own ones that are held
        self._unsynced: set[Volume] = set()
        # The highest is never unlinked, so no number comes twice.
        self._number = max(self.shared, default=0)
        self.active = active or self._create_next()
        self._counted_end = self.active.end  # behind it nothing was acknowledged

    def get(self, number: int) -> Volume | None:
        """The one of that number, if it is there. Any thread may ask."""
        return (self.own if number >= OWN else self.shared).get(number)

    # --- writing -------------------------------------------------------------------------------

    def has_room(self, payload_bytes: int) -> bool:
        """Whether the active one takes such a record."""
        size = self.active.end + HEADER_BYTES + payload_bytes
        return not self.active.is_frozen and size <= self._full_bytes

    def begin_next(self) -> None:
        """Another active one; the one before was synced, since the next may rely on it.

        Raises:
            OSError: it can't be made.
        """
        # No half record is left of the one before: its size tells how much of it there was.
        self._cut(self.active.synced_bytes)
        self.active = self._create_next()
        self._counted_end = self.active.end

    def mark(self, sequence: int, number: int = 0, durable_bytes: int = 0) -> None:
        """Say how much of a volume was durable; or, of none, let the record's header speak."""
        facts = {"sequence": sequence, "generation": number, "offset": durable_bytes}
        self.append(self.active, Kind.MARK, b"", checksum(b""), **facts)

    def mark_first(self, sequence: int) -> None:
        """Unless it has records already, the active one begins with a mark of the one before."""
        if self.active.end == HEAD_BYTES:
            before = max((one for one in self.shared if one < self.active.number), default=0)
            durable_bytes = self.shared[before].synced_bytes if before else 0
            self.mark(sequence, before, durable_bytes)
            self.is_settled = True

    def append(
        self,
        volume: Volume,
        kind: Kind,
        payload: Buffer,
        crc: int,
        *,
        sequence: int,
        generation: int = 0,
        offset: int = 0,
    ) -> int:
        """As `Volume.append`; it is synced by the next `sync`."""
        position = volume.append(
            kind, payload, crc, sequence=sequence, generation=generation, offset=offset
        )
        self._unsynced.add(volume)
        self.used_bytes += HEADER_BYTES + len(payload)
        return position

    def begin_own(self, generation: int) -> Volume:
        """The file of an upload's own, held until `end_own`.

        Raises:
            OSError: it can't be made.
        """
        number = OWN + generation
        return self.own.get(number) or self._create(number)

    def sync_own(self, generation: int) -> None:
        """Make an upload's own file durable, if it has one.

        Raises:
            OSError: it may never be; it is frozen.
        """
        volume = self.own.get(OWN + generation)
        if volume is not None:
            try:
                volume.sync()
            except OSError:
                self.frozen.add(volume.path.name)
                raise

    def end_own(self, generation: int) -> None:
        """The upload is complete, and its own file, if it has one, needn't be open any more."""
        if OWN + generation in self._writing:
            self._writing.remove(OWN + generation)
            self.own[OWN + generation].close()

    def sync(self) -> None:
        """Wait until all that was appended is durable.

        Raises:
            OSError: it may never be. The active one is frozen, and what was not yet counted in it
                is cut off: now, or else before anything more is synced.
        """
        try:
            if self.active.is_frozen:  # or what was taken back might count at the next start
                self._cut(self._counted_end)
            for volume in self._unsynced - {self.active}:
                if not volume.is_frozen:
                    volume.sync()
            if not self.active.is_frozen:
                self.active.sync()  # last, since it has the commits: all counts, or nothing
        except OSError:
            self.active.is_frozen, self.is_settled = True, False
            frozen = (one for one in {*self._unsynced, self.active} if one.is_frozen)
            self.frozen.update(one.path.name for one in frozen)
            with suppress(OSError):
                self._cut(self._counted_end)
            raise
        self._unsynced.clear()

    def count(self) -> None:
        """What was appended so far may be acknowledged: it isn't cut off any more."""
        self._counted_end = self.active.end

    # --- the end of one, and of all ------------------------------------------------------------

    def unlink(self, volume: Volume) -> None:
        """Take its file away; who holds it may go on reading. Durable once the folder is synced.

        Raises:
            OSError: it is still there.
        """
        with suppress(FileNotFoundError):  # it went, and what followed failed
            self._files.unlink(volume.path)
        if volume.number < OWN:
            self._files.sync_folder(self._folder)  # what it had must not come back
        volume.give_up()
        (self.own if volume.number >= OWN else self.shared).pop(volume.number)
        self._unsynced.discard(volume)
        self.frozen.discard(volume.path.name)
        self.used_bytes -= volume.end
        if volume.number < OWN or volume.number in self._writing:
            self._writing.discard(volume.number)
            volume.close()

    def close(self) -> None:
        """Hold none of them any more."""
        for volume in (*self.shared.values(), *(self.own[one] for one in self._writing)):
            volume.close()

    # --- inside --------------------------------------------------------------------------------

    def _create_next(self) -> Volume:
        self._number += 1  # whatever comes of it: a name may be left, and hinder another attempt
        return self._create(self._number)

    def _create(self, number: int) -> Volume:
        volume = Volume.create(self._files, self._folder, self._dir_id, number)
        self.used_bytes += volume.end
        if number >= OWN:
            self.own[number] = volume
            self._writing.add(number)
        else:
            self.shared[number] = volume
        return volume

    def _cut(self, end: int) -> None:
        self.used_bytes -= self.active.end - end
        self.active.end = end
        self.active.cut(end)
