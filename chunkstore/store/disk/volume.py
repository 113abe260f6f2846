"""One append-only file of records.

Who works with a volume *holds* it: its file is open as long as somebody does, and can be read to
the last byte even after it was unlinked. That of a shared volume is held by the engine all the
time; one object's own only while it is written, so that thousands of them need no descriptors.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Lock

from chunkstore.store.disk.files import Buffer, Files
from chunkstore.store.disk.record import HEAD_BYTES, HEADER_BYTES, Header, Kind, VolumeHead
from chunkstore.store.disk.scan import Scan

__all__ = ["OWN", "SET_ASIDE", "Volume", "number_of", "volume_name"]

OWN = 1 << 48
"""Numbers from here on: a file of one object's own; below it is the object's generation."""
SET_ASIDE = ".lost"
"""What a file of its own is called by whose commit damage may have taken."""


def volume_name(number: int) -> str:
    """The name of a volume's file."""
    return f"own-{number - OWN}.vol" if number >= OWN else f"{number:08}.vol"


def number_of(name: str) -> int | None:
    """The number of the volume with such a file name; None: no volume is called so."""
    digits = name.removesuffix(".vol").removeprefix("own-")
    if not (digits.isascii() and digits.isdigit()):
        return None
    number = int(digits) + (OWN if name.startswith("own-") else 0)
    return number if volume_name(number) == name else None


class Volume:
    """A volume's file; one thread appends, any may hold it and read what it appended.

    Nothing of it is known: `scan` it before appending.

    Args:
        files: the file system.
        folder: where the file lies.
        dir_id: of the data dir.
        number: of the volume.

    Attributes:
        end: where the next record goes.
        synced_bytes: so much is durable.
        verified: positions of payloads that were read in this process, and were right.
        is_frozen: a sync failed: what was written since the last one may never be durable, so
            nothing more is written.
    """

    def __init__(self, files: Files, folder: Path, dir_id: bytes, number: int) -> None:
        self._files = files
        self.path = folder / volume_name(number)
        self._head = VolumeHead(dir_id, number)
        self.end = HEAD_BYTES
        self.synced_bytes = 0
        self.verified: set[int] = set()
        self.is_frozen = False
        self._lock = Lock()
        self._fd = -1
        self._holders = 0
        self._is_given_up = False

    @classmethod
    def create(cls, files: Files, folder: Path, dir_id: bytes, number: int) -> Volume:
        """A new volume, durable with its name before anything is appended; held by who asks.

        Raises:
            OSError: as the file system says; what was made of it is taken back if that can be.
        """
        volume = cls(files, folder, dir_id, number)
        fd = files.create(volume.path)
        try:
            files.write(fd, [volume._head.encode()], 0)
            files.sync(fd)
            files.sync_folder(folder)
        except OSError:
            files.close(fd)
            with suppress(OSError):
                files.unlink(volume.path)
            raise
        volume._fd, volume._holders, volume.synced_bytes = fd, 1, HEAD_BYTES
        return volume

    @property
    def number(self) -> int:
        """Its own, never used again."""
        return self._head.number

    @property
    def fd(self) -> int:
        """Its file, for who holds it; to be read from, by position."""
        assert self._holders
        return self._fd

    @property
    def size_bytes(self) -> int:
        """Of its file; for who holds it."""
        return self._files.size(self.fd)

    def hold(self) -> bool:
        """Keep the file open, until as many `close`. Any thread may ask.

        Returns:
            False: it was given up, and nobody holds it any more.
        Raises:
            OSError: it was not open, and can't be opened.
        """
        with self._lock:
            if not self._holders:
                if self._is_given_up:
                    return False
                self._fd = self._files.open(self.path)
            self._holders += 1
            return True

    def close(self) -> None:
        """Hold it no more. Any thread may ask."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
            fd, self._fd = self._fd, -1
        self._files.close(fd)

    def give_up(self) -> None:
        """It is unlinked, and goes with the last who holds it: those may go on reading."""
        with self._lock:
            self._is_given_up = True

    def read(self, size: int, position: int) -> bytes:
        """At most `size` bytes from `position` on; fewer only where the file ends; for holders."""
        return self._files.read(self.fd, size, position)

    def forget(self, size: int, position: int) -> None:
        """What was read there isn't read again soon; for holders."""
        self._files.forget(self.fd, size, position)

    def scan(self, start: int, durable_bytes: int | None) -> Scan:
        """Look for records from `start` on; those behind what is durable don't count.

        Args:
            durable_bytes: None: it isn't known, but up to `start`; what is whole behind it counts.
        """
        start, size = max(start, HEAD_BYTES), self.size_bytes
        if durable_bytes is None:
            return Scan(self._head, self.read, size, start=start, durable_bytes=start)
        size = min(size, durable_bytes)
        return Scan(self._head, self.read, size, start=start, durable_bytes=durable_bytes)

    def bytes_of(self, predecessor: int) -> int | None:
        """How much of the volume before this one was durable when this was begun.

        The first record is a MARK that says so; None: it can't be read, or speaks of another one.
        """
        try:
            data = self.read(HEADER_BYTES, HEAD_BYTES)
        except OSError:  # the scan says so
            return None
        header = Header.decode(data, self._head.place(HEAD_BYTES))
        if header is None or header.kind is not Kind.MARK or header.generation != predecessor:
            return None
        return header.offset

    def cut(self, end: int) -> None:
        """Nothing behind `end` was ever acknowledged: cut it off, durably."""
        if self.size_bytes > end:
            self._files.truncate(self._fd, end)
        self._files.sync(self._fd)
        self.end = self.synced_bytes = end

    def append(
        self,
        kind: Kind,
        payload: Buffer,
        crc: int,
        *,
        sequence: int,
        generation: int = 0,
        offset: int = 0,
    ) -> int:
        """Write a record behind the last one.

        Returns:
            the position of its payload.
        Raises:
            OSError: nothing was appended: what was written is written over by the next record.
        """
        assert not self.is_frozen
        header = Header(kind, len(payload), crc, sequence, generation, offset, self.synced_bytes)
        place = self._head.place(self.end)
        self._files.write(self._fd, [header.encode(place), payload], self.end)
        position = self.end + HEADER_BYTES
        self.end = position + len(payload)
        return position

    def sync(self) -> None:
        """Wait until all that was appended is durable.

        Raises:
            OSError: it may never be; the volume is frozen.
        """
        if self.synced_bytes == self.end:
            return
        try:
            self._files.sync(self._fd)
        except OSError:
            self.is_frozen = True
            raise
        self.synced_bytes = self.end
