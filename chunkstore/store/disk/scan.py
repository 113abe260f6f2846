"""Finds the records of a volume, whatever became of it. Pure: it reads through a function.

What a crash leaves and what damage leaves look the same: bytes that are no record. Which it was is
told by what was durable: before that it is damage, and what follows it is searched for; behind it
nothing was acknowledged, and the volume ends there. What the disk can't read is damage wherever it
lies: a crash leaves bytes that can be read.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chunkstore.store.disk.record import HEADER_BYTES, MAGIC, Header, Kind, VolumeHead, checksum

__all__ = ["Damage", "Found", "Scan"]

_WINDOW_BYTES = 64 * 1024
_SECTOR_BYTES = 4096
"""What a disk reads or doesn't."""
_WITH_PAYLOAD = (Kind.COMMIT, Kind.TOMBSTONE)


@dataclass(frozen=True, slots=True)
class Found:
    """A record.

    Attributes:
        position: of its header.
        payload: of a COMMIT or TOMBSTONE, checked; else empty.
    """

    position: int
    header: Header
    payload: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that were durable and are no record any more.

    Attributes:
        position, size: where, in bytes.
    """

    position: int
    size: int


class Scan:
    """One look at a volume, from a position on.

    Args:
        head: of the volume.
        read: (size, position) -> at most so many bytes of it.
        size_bytes: of its file.
        start: position of a record; what lies before is known.
        durable_bytes: of the volume, as far as one knows; the records may know better.

    Attributes:
        end: behind the last record; all that follows was never acknowledged. Known at the end.
        durable_bytes: as above, with what the records say.
    """

    def __init__(
        self,
        head: VolumeHead,
        read: Callable[[int, int], bytes],
        size_bytes: int,
        *,
        start: int,
        durable_bytes: int,
    ) -> None:
        self._head = head
        self._read = read
        self._size_bytes = size_bytes
        self._window = b""
        self._window_start = 0
        self.end = start
        self.durable_bytes = durable_bytes

    def __iter__(self) -> Iterator[Found | Damage]:
        """Every record from `start` on, in order, and what is damaged between them."""
        waiting: deque[Found | Damage] = deque()  # not known to be durable so far
        for one in self._look():
            if isinstance(one, Found):
                self.durable_bytes = max(self.durable_bytes, one.header.synced_bytes)
            waiting.append(one)
            while waiting and waiting[0].position < self.durable_bytes:
                yield self._settle(waiting.popleft())
        for one in waiting:  # was it written whole before the crash?
            if not self._is_whole(one) and one.position >= self.durable_bytes:
                return
            yield self._settle(one)
        if self.end < self.durable_bytes:  # the file was cut
            yield Damage(self.end, self.durable_bytes - self.end)

    def _settle(self, one: Found | Damage) -> Found | Damage:
        size = one.size if isinstance(one, Damage) else one.header.record_bytes
        self.end = one.position + size
        return one

    def _look(self) -> Iterator[Found | Damage]:
        """All that has a right header, and the gaps between; those may be damage, or a torn end."""
        position = self.end
        while position < self._size_bytes:
            found = self._at(position)
            if found is not None:
                yield found
                position += found.header.record_bytes
                continue
            following = self._next_header(position + 1)
            yield Damage(position, following - position)
            position = following

    def _at(self, position: int) -> Found | None:
        data = self._bytes(position, HEADER_BYTES)
        header = Header.decode(data, self._head.place(position))
        if header is None or position + header.record_bytes > self._size_bytes:
            return None
        payload = b""
        if header.kind in _WITH_PAYLOAD:
            payload = self._bytes(position + HEADER_BYTES, header.payload_bytes)
            if checksum(payload) != header.payload_crc:
                return None
        return Found(position, header, payload)

    def _next_header(self, position: int) -> int:
        """Where the next record begins, from `position` on; the file's end if none does."""
        while position < self._size_bytes:
            data = self._bytes(position, _WINDOW_BYTES)
            at = data.find(MAGIC)
            while at >= 0:
                if self._at(position + at) is not None:
                    return position + at
                at = data.find(MAGIC, at + 1)
            position += max(1, len(data) - len(MAGIC) + 1)
        return self._size_bytes

    def _is_whole(self, one: Found | Damage) -> bool:
        if isinstance(one, Damage):
            return False
        header, position = one.header, one.position + HEADER_BYTES
        payload = one.payload or self._read_around(header.payload_bytes, position)
        return checksum(payload) == header.payload_crc

    def _bytes(self, position: int, size: int) -> bytes:
        """At most `size` bytes from `position` on, read ahead."""
        start = position - self._window_start
        if not 0 <= start <= start + size <= len(self._window):
            self._window = self._read_around(max(size, _WINDOW_BYTES), position)
            self._window_start, start = position, 0
        return self._window[start : start + size]

    def _read_around(self, size: int, position: int) -> bytes:
        """As `read`, with zeros for sectors that can't be read: those are no record."""
        try:
            return self._read(size, position)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        stop = min(position + size, self._size_bytes)
        first, last = position // _SECTOR_BYTES, (stop - 1) // _SECTOR_BYTES
        if first == last:
            self.durable_bytes = max(self.durable_bytes, stop)
            return bytes(stop - position)
        middle = (first + last + 1) // 2 * _SECTOR_BYTES
        before = self._read_around(middle - position, position)
        return before + self._read_around(stop - middle, middle)
