"""The picture: something that moves, and above it the time as a row of black and white blocks.

The row is 40 blocks of 16 by 16 pixels: the wall time in milliseconds modulo 2^32, the highest bit
first, and a checksum of 8 bits. Blocks of that size survive any encoder, and the checksum says so:
whoever reads a frame gets the time that was painted or nothing. `pages/watch.js` reads the same
row in the browser. `painting` has ffmpeg paint it into a picture of its own.
"""

from __future__ import annotations

import random
from functools import cache

__all__ = ["FRAME_BYTES", "HEIGHT", "WIDTH", "paint", "painting", "read"]

WIDTH, HEIGHT = 640, 360
BLOCK = 16  # pixels, of a macroblock's size and place: an encoder needs few bits for it
TIME_BITS, CHECK_BITS = 32, 8
BITS = TIME_BITS + CHECK_BITS
FRAME_BYTES = WIDTH * HEIGHT * 3 // 2  # yuv420p
assert BITS * BLOCK == WIDTH

_BLACK, _WHITE = 16, 235  # of video levels
_ROW_BYTES = WIDTH * BLOCK
_CHROMA = bytes([118]) * (WIDTH * HEIGHT // 4) + bytes([134]) * (WIDTH * HEIGHT // 4)
_STEP = 2 * WIDTH + 3  # the picture moves by so much a frame: two lines up, three pixels left
_NOISE = 24  # levels: with the smallest preset it is what makes up a megabit a second


def paint(time_ms: int, index: int) -> bytes:
    """One frame in yuv420p that shows `time_ms`.

    Args:
        time_ms: wall time; its lower 32 bits are painted.
        index: of the frame, what the picture's motion depends on.
    Cost: two slices and a join; a copy of the frame.
    """
    value = time_ms % (1 << TIME_BITS)
    bits = value << CHECK_BITS | _checksum(value)
    row = b"".join([_BLOCKS[bits >> at & 1] for at in range(BITS - 1, -1, -1)])
    start = index * _STEP % (WIDTH * HEIGHT)
    picture = _texture()[start : start + WIDTH * HEIGHT - _ROW_BYTES]
    return b"".join((row * BLOCK, picture, _CHROMA))


def read(frame: bytes) -> int | None:
    """The time that a frame shows, modulo 2^32 ms; None if none is to be read."""
    middle = WIDTH * BLOCK // 2 + BLOCK // 2
    bits = 0
    for at in range(BITS):
        bits = bits << 1 | (frame[middle + at * BLOCK] >= 128)
    value, check = bits >> CHECK_BITS, bits & 0xFF
    return value if _checksum(value) == check else None


def painting() -> str:
    """A chain of ffmpeg's filters that paints the time at which a frame passes it; 640 pixels wide.

    Each block is a pixel of a line that `geq` computes from left to right, and that is blown up.
    The first one takes the time, for all of them. Such a checksum is a sum, bit by bit: of that of
    0, and of what each set bit of the time adds to it.
    """
    value = f"mod(floor(time(0)*1000),{1 << TIME_BITS})"
    bits = [f"mod(floor(ld(0)/{1 << at}),2)" for at in range(TIME_BITS)]
    level = f"lt(X,{TIME_BITS})*mod(floor(ld(0)/pow(2,{TIME_BITS - 1}-X)),2)"
    for place in range(CHECK_BITS):
        at, zero = CHECK_BITS - 1 - place, _checksum(0)
        added = [bits[n] for n in range(TIME_BITS) if (_checksum(1 << n) ^ zero) >> at & 1]
        sum_of = "+".join([*added, str(zero >> at & 1)])
        level += f"+eq(X,{TIME_BITS + place})*mod({sum_of},2)"
    luma = f"if(eq(X,0),st(0,{value}))*0+{_BLACK}+{_WHITE - _BLACK}*({level})"
    line = f"format=gray,crop={BITS}:1:0:0,geq=lum='{luma}',scale={WIDTH}:{BLOCK}:flags=neighbor"
    row = f"{line},format=yuv420p"
    return f"format=yuv420p,split[picture][line];[line]{row}[row];[picture][row]overlay=eval=init"


def _checksum(value: int) -> int:
    """CRC-8 of a 32-bit number (x^8 + x^2 + x + 1, from 0xFF, so that all black is no time)."""
    crc = 0xFF
    for octet in value.to_bytes(TIME_BITS // 8, "big"):
        crc ^= octet
        for _ in range(8):
            crc = (crc << 1) ^ (0x107 if crc & 0x80 else 0)
    return crc


@cache
def _texture() -> bytes:
    """A picture of soft stripes and noise, twice over: any part of it is one that has moved."""
    chance = random.Random(1)
    lines = []
    for y in range(HEIGHT):
        tilt = [96 + abs((x + 2 * y) % 128 - 64) for x in range(WIDTH)]
        lines.append(bytes(level + chance.randrange(_NOISE) for level in tilt))
    return b"".join(lines) * 2


_BLOCKS = (bytes([_BLACK]) * BLOCK, bytes([_WHITE]) * BLOCK)
