"""Cuts a fragmented MP4, as it comes out of a pipe, into its init segment and its fragments.

Of each fragment it reads what a playlist needs to know: when it is shown, for how long, and whether
a player can begin with it. One track, since that is what an encoder of one picture writes.

Source: ISO/IEC 14496-12, sections 8.4.2 (mdhd), 8.8.3 (trex), 8.8.7 (tfhd), 8.8.8 (trun), 8.8.12
(tfdt) and 8.8.3.1 (sample flags).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.build import BenchError

__all__ = ["BOX_BYTES", "Cutter", "Fragment", "Init", "Mp4Error"]

BOX_BYTES: Final = 16 * 2**20
"""No box may be larger: a fragment is a frame or a group of pictures."""
_FRONT_BOXES: Final = 16
"""What may stand in front of a `moov` or an `mdat`; ffmpeg writes one box, or `styp` and two."""

_IS_NOT_SYNC: Final = 0x0001_0000
_INDEX: Final = b"mfra"  # an index behind the last fragment, of no use to a live stream


class Mp4Error(BenchError):
    """What came is no fragmented MP4 with one track."""


@dataclass(frozen=True, slots=True)
class Init:
    """The init segment.

    Attributes:
        data: `ftyp` and `moov`.
        timescale: units of time in a second.
    """

    data: bytes
    timescale: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """A `moof` and its `mdat`, and what stood in front of them.

    Attributes:
        data: the boxes as they came.
        decode_time: of its first sample, in the track's units.
        duration: of all its samples, in the track's units.
        is_independent: its first sample is a sync sample.
    """

    data: bytes
    decode_time: int
    duration: int
    is_independent: bool


class Cutter:
    """Takes a stream in any pieces, gives its init segment and then its fragments, each once."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._front: list[bytes] = []
        self._moof: bytes | None = None
        self._track: _Track | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> list[Init | Fragment]:
        """Take some bytes; what became whole by them, without waiting for the next box.

        Raises:
            Mp4Error: it isn't what it should be; the cutter is of no use any more.
        Cost: O(n) copies, at most one box is held.
        """
        self._held += data
        found: list[Init | Fragment] = []
        at = 0
        while (end := self._box_end(at)) is not None:
            kind, box = bytes(self._held[at + 4 : at + 8]), bytes(self._held[at:end])
            if (whole := self._take(kind, box)) is not None:
                found.append(whole)
            at = end
        del self._held[:at]
        return found

    def _box_end(self, at: int) -> int | None:
        if len(self._held) < at + 8:
            return None
        (size,) = struct.unpack_from(">I", self._held, at)
        if not 8 <= size <= BOX_BYTES:
            raise Mp4Error(f"a box of {size} bytes; expected 8 to {BOX_BYTES}")
        return at + size if at + size <= len(self._held) else None

    def _take(self, kind: bytes, box: bytes) -> Init | Fragment | None:
        if kind == _INDEX:
            return None
        self._front.append(box)
        if len(self._front) > _FRONT_BOXES:
            raise Mp4Error(f"{_FRONT_BOXES} boxes in a row and no media")
        if kind == b"moov":
            if self._track is not None:
                raise Mp4Error("a second moov")
            self._track = _Track.of(box)
            return Init(self._flush(), self._track.timescale)
        if kind == b"moof":
            if self._track is None or self._moof is not None:
                raise Mp4Error("a moof where a moov or an mdat was expected")
            self._moof = box
        if kind == b"mdat":
            if self._track is None or self._moof is None:
                raise Mp4Error("an mdat without a moof")
            times = self._track.read(self._moof)
            self._moof = None
            return Fragment(self._flush(), *times)
        return None

    def _flush(self) -> bytes:
        data = b"".join(self._front)
        self._front.clear()
        return data


@dataclass(frozen=True, slots=True)
class _Track:
    """What the `moov` says of its one track."""

    timescale: int
    duration: int  # of a sample whose fragment doesn't say
    flags: int

    @staticmethod
    def of(moov: bytes) -> _Track:
        inside = _Box(moov, 8, len(moov))
        mdhd = inside.the(b"trak").the(b"mdia").the(b"mdhd")
        (timescale,) = mdhd.read(">I", 20 if mdhd.version else 12)
        if not timescale:
            raise Mp4Error("a timescale of 0")
        duration, _, flags = inside.the(b"mvex").the(b"trex").read(">III", 12)
        return _Track(timescale, duration, flags)

    def read(self, moof: bytes) -> tuple[int, int, bool]:
        """Decode time, duration and independence of a fragment."""
        traf = _Box(moof, 8, len(moof)).the(b"traf")
        tfhd, tfdt = traf.the(b"tfhd"), traf.the(b"tfdt")
        duration, flags = self.duration, self.flags
        at = 8
        for bit, width in ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4), (0x20, 4)):
            if tfhd.flags & bit:
                if bit == 0x8:
                    (duration,) = tfhd.read(">I", at)
                elif bit == 0x20:
                    (flags,) = tfhd.read(">I", at)
                at += width
        (decode_time,) = tfdt.read(">Q" if tfdt.version else ">I", 4)
        total, first_flags = 0, None
        for trun in traf.all(b"trun"):
            run_duration, run_flags = _read_run(trun, duration, flags)
            total += run_duration
            first_flags = run_flags if first_flags is None else first_flags
        if not total or first_flags is None:
            raise Mp4Error("a fragment that lasts no time")
        return decode_time, total, not first_flags & _IS_NOT_SYNC


def _read_run(trun: _Box, duration: int, flags: int) -> tuple[int, int | None]:
    """The duration of a run's samples, and the flags of the first; None if it has no sample."""
    (count,) = trun.read(">I", 4)
    at = 12 if trun.flags & 0x1 else 8
    first_flags: int | None = None
    if trun.flags & 0x4:
        (first_flags,) = trun.read(">I", at)
        at += 4
    columns = [bit for bit in (0x100, 0x200, 0x400, 0x800) if trun.flags & bit]
    if first_flags is None:
        first_flags = flags
        if count and 0x400 in columns:
            (first_flags,) = trun.read(">I", at + 4 * columns.index(0x400))
    if 0x100 in columns:
        rows = trun.read(f">{count * len(columns)}I", at)
        return sum(rows[:: len(columns)]), first_flags if count else None
    return count * duration, first_flags if count else None


class _Box:
    """The inside of a box, from `at` to `end`."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self._at = at
        self._end = end

    @property
    def version(self) -> int:
        """Of a full box."""
        return int(self.read(">B", 0)[0])

    @property
    def flags(self) -> int:
        """Of a full box."""
        return int(self.read(">I", 0)[0]) & 0xFF_FFFF

    def read(self, layout: str, at: int) -> tuple[int, ...]:
        """Numbers that lie `at` bytes inside."""
        if self._at + at + struct.calcsize(layout) > self._end:
            raise Mp4Error("a box is too short for what it has to say")
        return struct.unpack_from(layout, self._data, self._at + at)

    def all(self, kind: bytes) -> Iterator[_Box]:
        """The boxes of a kind in it."""
        at = self._at
        while at < self._end:
            (size,) = _Box(self._data, at, self._end).read(">II", 0)[:1]
            if size < 8 or at + size > self._end:
                raise Mp4Error(f"a box of {size} bytes in one that has {self._end - at} left")
            if self._data[at + 4 : at + 8] == kind:
                yield _Box(self._data, at + 8, at + size)
            at += size

    def the(self, kind: bytes) -> _Box:
        """The one box of a kind in it."""
        boxes = list(self.all(kind))
        if len(boxes) != 1:
            raise Mp4Error(f"expected one {kind.decode()} box, found {len(boxes)}")
        return boxes[0]
