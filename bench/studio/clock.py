"""The picture: something that moves, and above it the time as a row of black and white blocks.

The row is 40 blocks of 16 by 16 pixels: the wall time in milliseconds modulo 2^32, the highest bit
first, and a checksum of 8 bits. Blocks of that size survive any encoder, and the checksum says so:
whoever reads a frame gets the time that was painted or nothing. `pages/watch.js` reads the same
row in the browser.
"""

from __future__ import annotations

import random

__all__ = ["FRAME_BYTES", "HEIGHT", "WIDTH", "paint", "read"]

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
    picture = _TEXTURE[start : start + WIDTH * HEIGHT - _ROW_BYTES]
    return b"".join((row * BLOCK, picture, _CHROMA))


def read(frame: bytes) -> int | None:
    """The time that a frame shows, modulo 2^32 ms; None if none is to be read."""
    middle = WIDTH * BLOCK // 2 + BLOCK // 2
    bits = 0
    for at in range(BITS):
        bits = bits << 1 | (frame[middle + at * BLOCK] >= 128)
    value, check = bits >> CHECK_BITS, bits & 0xFF
    return value if _checksum(value) == check else None


def _checksum(value: int) -> int:
    """CRC-8 of a 32-bit number (x^8 + x^2 + x + 1, from 0xFF, so that all black is no time)."""
    crc = 0xFF
    for octet in value.to_bytes(TIME_BITS // 8, "big"):
        crc ^= octet
        for _ in range(8):
            crc = (crc << 1) ^ (0x107 if crc & 0x80 else 0)
    return crc


def _texture() -> bytes:
    """A picture of soft stripes and noise, twice over: any part of it is one that has moved."""
    chance = random.Random(1)
    lines = []
    for y in range(HEIGHT):
        tilt = [96 + abs((x + 2 * y) % 128 - 64) for x in range(WIDTH)]
        lines.append(bytes(level + chance.randrange(_NOISE) for level in tilt))
    return b"".join(lines) * 2


_BLOCKS = (bytes([_BLACK]) * BLOCK, bytes([_WHITE]) * BLOCK)
_TEXTURE = _texture()
