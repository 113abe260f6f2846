"""What an upload keeps as it came, and what it copies: right bytes, and bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.config import Settings
from chunkstore.origin import Origin
from chunkstore.server import Log
from chunkstore.wire import Data
from tests.live.rig import CUTS, MAX_BYTES, payload


class Receive:
    """What came at once: payload in runs, and framing before each of them.

    Args:
        start: of the payload, in the object.
        sizes: of the runs, in bytes.
        gaps: bytes of framing before each, as many as `sizes`.
        is_own: it lies in bytes that nobody else uses, not in a shared buffer.
    """

    def __init__(self, start: int, sizes: list[int], gaps: list[int], *, is_own: bool) -> None:
        self.payload = payload(start, sum(sizes))
        framed, at = b"", 0
        spans = []
        for size, gap in zip(sizes, gaps, strict=True):
            framed += b"-" * gap + self.payload[at : at + size]
            spans.append((len(framed) - size, len(framed)))
            at += size
        self._shared = bytearray(framed)
        whole = memoryview(framed if is_own else self._shared)
        self.runs = [Data(whole[start:stop], True) for start, stop in spans]

    def reuse(self) -> None:
        """The next receive overwrites the shared buffer."""
        self._shared[:] = bytes(len(self._shared))


@st.composite
def receives(draw: st.DrawFn) -> Iterator[Receive]:
    """Receives that follow each other, of any make."""
    start = 0
    found = []
    for _ in range(draw(st.integers(1, 6))):
        sizes = draw(st.lists(st.integers(1, 9000), min_size=1, max_size=5))
        gaps = [draw(st.integers(0, 4) | st.integers(0, 20_000)) for _ in sizes]
        found.append(Receive(start, sizes, gaps, is_own=draw(st.booleans())))
        start += sum(sizes)
    return iter(found)


@given(receives())
async def test_bytes_are_right_and_memory_is_bounded(coming: Iterator[Receive]) -> None:
    origin = Origin(Settings(log="off"), Log("off"))
    upload = origin.catalog.begin("/live", CUTS)
    expected = b""
    for one in coming:
        assert upload.append(one.runs, max_bytes=MAX_BYTES) is None
        one.reuse()
        expected += one.payload
    ring = upload.generation.ring
    ring.seal()
    assert b"".join(ring.views(0, len(expected))) == expected
    held = {id(whole): len(whole) for whole in map(_whole, ring._blocks)}
    assert sum(held.values()) <= len(expected) * 9 / 8


async def test_a_large_receive_of_its_own_is_kept_without_a_copy() -> None:
    origin = Origin(Settings(log="off"), Log("off"))
    upload = origin.catalog.begin("/live", CUTS)
    one = Receive(0, [65536, 65536], [7, 9], is_own=True)
    upload.append(one.runs, max_bytes=MAX_BYTES)
    first, second = (_whole(block) for block in upload.generation.ring._blocks)
    assert first is second is _whole(one.runs[0].data)


def _whole(block: bytes | bytearray | memoryview) -> bytes | bytearray:
    whole = block.obj if isinstance(block, memoryview) else block
    assert isinstance(whole, bytes | bytearray)
    return whole
