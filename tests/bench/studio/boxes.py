"""Fragmented MP4 made by hand, with as many ways to say the same as the format has."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["NOT_SYNC", "SYNC", "Made", "box", "fragment", "init", "stream"]

SYNC, NOT_SYNC = 0x0200_0000, 0x0101_0000


def box(kind: str, *inside: bytes) -> bytes:
    """A box."""
    data = b"".join(inside)
    return struct.pack(">I4s", 8 + len(data), kind.encode()) + data


def full(kind: str, version: int, flags: int, *inside: bytes) -> bytes:
    """A box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *inside)


def numbers(*values: int) -> bytes:
    """32 bits each."""
    return struct.pack(f">{len(values)}I", *values)


def init(timescale: int = 1000, *, duration: int = 0, flags: int = 0, version: int = 0) -> bytes:
    """`ftyp` and `moov`; duration and flags are the track's defaults."""
    times = bytes(16 if version else 8)
    mdhd = full("mdhd", version, 0, times, numbers(timescale), bytes(16 if version else 8))
    trex = full("trex", 0, 0, numbers(1, 1, duration, 0, flags))
    trak = box("trak", full("tkhd", 0, 3, bytes(80)), box("mdia", mdhd))
    return box("ftyp", b"iso5") + box("moov", trak, box("mvex", trex))


@dataclass(frozen=True)
class Made:
    """A fragment, and what must be read of it.

    Attributes:
        says: where duration and flags stand: "trex", "tfhd", "trun" or "first" (the flags of the
            first sample alone stand apart).
    """

    decode_time: int
    durations: tuple[int, ...]
    is_independent: bool
    payload: bytes = b"picture"
    says: str = "tfhd"
    has_front: bool = False

    @property
    def duration(self) -> int:
        """Of all samples."""
        return sum(self.durations)

    @property
    def data(self) -> bytes:
        """The boxes."""
        return fragment(self)


def fragment(made: Made) -> bytes:
    """The boxes of a fragment."""
    flags = SYNC if made.is_independent else NOT_SYNC
    count = len(made.durations)
    tfhd = full("tfhd", 0, 0x20000, numbers(1))
    if made.says == "tfhd":
        values = numbers(1) + bytes(8) + numbers(1, made.durations[0], 7, flags)
        tfhd = full("tfhd", 0, 0x2003B, values)
    trun = full("trun", 0, 0x1, numbers(count, 99))
    if made.says == "trun":
        rows = (
            numbers(one, 7, flags if at == 0 else NOT_SYNC, 0)
            for at, one in enumerate(made.durations)
        )
        trun = full("trun", 1, 0xF01, numbers(count, 99), *rows)
    elif made.says == "first":
        trun = full("trun", 0, 0x105, numbers(count, 99, flags, *made.durations))
    wide = struct.pack(">Q", made.decode_time)
    traf = box("traf", tfhd, full("tfdt", 1, 0, wide), trun)
    front = box("styp", b"msdh") + box("prft", bytes(16)) if made.has_front else b""
    return front + box("moof", full("mfhd", 0, 0, numbers(1)), traf) + box("mdat", made.payload)


def stream(count: int, *, gop: int, duration: int = 40, start: int = 0) -> list[Made]:
    """Fragments of one frame each, with a keyframe every `gop`, each of its own size and bytes."""
    return [
        Made(
            decode_time=start + n * duration,
            durations=(duration,),
            is_independent=n % gop == 0,
            payload=b"%d:" % n * (1 + n * 37 % 50),
        )
        for n in range(count)
    ]
