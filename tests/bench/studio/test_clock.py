"""The clock in the picture: what was painted is read, or nothing is."""

from __future__ import annotations

import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.studio.clock import FRAME_BYTES, HEIGHT, WIDTH, paint, painting, read

BLOCK = 16
TIMES = st.integers(0, 2**43)


@given(time_ms=TIMES, index=st.integers(0, 2**40))
def test_what_is_painted_is_read(time_ms: int, index: int) -> None:
    frame = paint(time_ms, index)
    assert len(frame) == FRAME_BYTES
    assert read(frame) == time_ms % 2**32


@given(time_ms=TIMES, blocks=st.sets(st.integers(0, 39), min_size=1, max_size=2))
def test_one_or_two_wrong_blocks_are_noticed(time_ms: int, blocks: set[int]) -> None:
    frame = bytearray(paint(time_ms, 0))
    for block in blocks:
        for line in range(BLOCK):
            at = line * WIDTH + block * BLOCK
            frame[at : at + BLOCK] = bytes(255 - level for level in frame[at : at + BLOCK])
    assert read(bytes(frame)) is None


@given(levels=st.binary(min_size=40, max_size=40))
def test_noise_of_a_third_of_the_range_does_no_harm(levels: bytes) -> None:
    frame = bytearray(paint(123456789, 7))
    for block, level in enumerate(levels):
        for at in range(block * BLOCK, WIDTH * BLOCK, WIDTH):
            soft = (frame[at + 8] * 2 + level) // 3
            frame[at : at + BLOCK] = bytes([soft]) * BLOCK
    assert read(bytes(frame)) == 123456789


@pytest.mark.real
def test_what_ffmpeg_paints_is_read() -> None:
    """The time is that of the painting: between start and end, and it goes on."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    source = f"testsrc2=size={WIDTH}x{HEIGHT}:rate=25,{painting()}"
    command = [program, "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "20"]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    began_ms = int(time.time() * 1000)
    out = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    took_ms = int(time.time() * 1000) - began_ms
    frames = [out[at : at + FRAME_BYTES] for at in range(0, len(out), FRAME_BYTES)]
    times = [read(frame) for frame in frames]
    since_ms = [(one - began_ms) % 2**32 for one in times if one is not None]
    assert len(since_ms) == 20
    assert since_ms == sorted(since_ms)
    assert since_ms[-1] <= took_ms


def test_a_blank_picture_has_no_time() -> None:
    for level in (0, 128, 255):
        assert read(bytes([level]) * FRAME_BYTES) is None


def test_the_picture_moves() -> None:
    first, second = paint(0, 1), paint(0, 2)
    assert first[: WIDTH * BLOCK] == second[: WIDTH * BLOCK]
    assert first[WIDTH * BLOCK : WIDTH * HEIGHT] != second[WIDTH * BLOCK : WIDTH * HEIGHT]
