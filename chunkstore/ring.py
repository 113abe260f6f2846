"""The ring: one writer appends, any number of readers look, nobody waits for anybody.

The payload is stored once, in blocks that never move and are never resized, so views of them stay
valid while the writer goes on: what came at once is one, small arrivals share some of up to 1 MiB.
Beside it stand the ends of the chunks as they were published, and with those the *framed stream*
(RFC 9112 section 7.1) is a pure function of the payload: a reader that was cut off in the middle of
a frame needs no copy of it, only its `Position`, and gets the rest rebuilt around views.

Bytes are *appended* (stored, and charged) and later *published* (visible to readers). The publish
rule: when a chunk's last data byte has come, or 64 KiB wait; the third case, 20 ms after the first
unpublished byte, needs a clock and is the caller's (`unpublished_bytes` says whether to arm it).
Source: the shared blocks and absolute offsets of replication backlogs; chunk boundaries are kept
because players estimate throughput from them.
"""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["CHUNK_COST_BYTES", "LAST_CHUNK", "OWN_BLOCK_BYTES", "Position", "Ring"]

BLOCK_BYTES = 1 << 20
"""Largest block: big enough for one `sendmsg`, small enough that growing never stalls the loop."""
OWN_BLOCK_BYTES = 4096
"""A run of so much becomes a block of its own, which needs no clearing before it is filled."""
PUBLISH_BYTES = 64 * 1024
"""Unpublished bytes at which a chunk is cut, so that a huge chunk still flows."""
EXACT_CHUNKS = 4096
"""Chunks whose boundaries are always kept; past them, boundaries under MERGE_BYTES merge."""
MERGE_BYTES = 1024
CHUNK_COST_BYTES = 128
"""What the budget charges for each chunk beside its payload."""
LAST_CHUNK = b"0\r\n\r\n"


class Position:
    """A reader's place in the framed stream: `skip` wire bytes into the frame of chunk `index`."""

    __slots__ = ("index", "skip")

    def __init__(self, index: int = 0, skip: int = 0) -> None:
        self.index = index
        self.skip = skip


class Ring:
    """Payload and chunk boundaries of one generation; single writer, many readers."""

    __slots__ = (
        "_block",
        "_blocks",
        "_filled",
        "_starts",
        "ends",
        "is_sealed",
        "size_bytes",
    )

    def __init__(self) -> None:
        self._blocks: list[bytes | bytearray | memoryview] = []
        self._starts: list[int] = []
        self._block = memoryview(b"")  # the block being filled
        self._filled = 0
        self.ends: list[int] = []
        self.size_bytes = 0
        self.is_sealed = False

    @property
    def end(self) -> int:
        """Absolute offset behind the last published byte: the live edge."""
        return self.ends[-1] if self.ends else 0

    @property
    def unpublished_bytes(self) -> int:
        """Bytes appended that no reader may see yet."""
        return self.size_bytes - self.end

    def append(
        self, data: bytes | bytearray | memoryview, *, chunk_end: bool, is_lasting: bool = False
    ) -> bool:
        """Store `data` behind what is there and apply the publish rule.

        Args:
            data: payload.
            chunk_end: its last byte is the last data byte of a chunk as the writer framed it.
            is_lasting: nobody will ever write to `data`: a large run may be kept as it is.
        Returns:
            whether new bytes became visible.
        Cost: one copy, O(n), or none of a large run that lasts; a block for each large run, and one
            at each doubling of small ones.
        """
        if len(data) >= OWN_BLOCK_BYTES:
            self._trim()
            self._starts.append(self.size_bytes)
            self._blocks.append(data if is_lasting else bytes(data))
            self.size_bytes += len(data)
        else:
            self._fill(memoryview(data))
        ends = self.ends
        waiting = self.size_bytes - (ends[-1] if ends else 0)
        is_exact = len(ends) < EXACT_CHUNKS or waiting >= MERGE_BYTES
        return (waiting >= PUBLISH_BYTES or (chunk_end and is_exact)) and self.publish()

    def _fill(self, left: memoryview) -> None:
        while left:
            room = len(self._block) - self._filled
            if not room:
                self._grow(len(left))
                continue
            piece, left = left[:room], left[room:]
            stop = self._filled + len(piece)
            self._block[self._filled : stop] = piece
            self._filled = stop
            self.size_bytes += len(piece)

    def _grow(self, wanted_bytes: int) -> None:
        # Each is twice the one before: few bytes waste little, many have few blocks. What the
        # client announced plays no part: it must not take memory that it doesn't fill.
        size = min(max(wanted_bytes, 2 * len(self._block)), BLOCK_BYTES)
        block = bytearray(size)
        self._block = memoryview(block)
        self._filled = 0
        self._starts.append(self.size_bytes)
        self._blocks.append(block)

    def publish(self) -> bool:
        """Make all appended bytes visible as one chunk; False if there was nothing to publish."""
        if self.size_bytes == self.end:
            return False
        self.ends.append(self.size_bytes)
        return True

    def seal(self) -> None:
        """Publish what is left and give back the unused end of the last block; no append after."""
        self.publish()
        self._trim()
        self.is_sealed = True

    def _trim(self) -> None:
        """No more into the block being filled: give back what is unused of it."""
        if self._filled < len(self._block):
            # Readers may hold views of the old block; they keep it alive until they are done.
            self._blocks[-1] = bytes(self._block[: self._filled])
        self._block = memoryview(b"")
        self._filled = 0

    @property
    def frame_count(self) -> int:
        """Frames there are to send: one a published chunk, and the last-chunk once sealed."""
        return len(self.ends) + self.is_sealed

    def charge_bytes(self) -> int:
        """What this ring costs of the memory budget, in bytes."""
        return self.size_bytes + CHUNK_COST_BYTES * len(self.ends)

    def views(self, start: int, stop: int) -> list[memoryview]:
        """The payload in [start, stop) without copying, in order.

        Args:
            start, stop: absolute offsets, 0 <= start <= stop <= size_bytes.
        Cost: O(log blocks + blocks touched), no copy.
        """
        assert 0 <= start <= stop <= self.size_bytes
        found: list[memoryview] = []
        at = bisect_right(self._starts, start) - 1
        while start < stop:
            base = self._starts[at]
            piece = memoryview(self._blocks[at])[start - base : stop - base]
            found.append(piece)
            start += len(piece)
            at += 1
        return found

    def locate(self, offset: int) -> int:
        """Index of the first chunk that ends behind the absolute `offset`."""
        return bisect_right(self.ends, offset)

    def frame(self, index: int) -> list[bytes | memoryview]:
        """Frame `index` around views: size line, data, line end; behind them, the last-chunk."""
        if index == len(self.ends):
            return [LAST_CHUNK]
        start = self.ends[index - 1] if index else 0
        stop = self.ends[index]
        return [b"%x\r\n" % (stop - start), *self.views(start, stop), b"\r\n"]

    def pieces(self, at: Position, last: int, limit_bytes: int) -> list[bytes | memoryview]:
        """The framed stream from `at` up to frame `last`, around views of the payload.

        Args:
            at: where the reader is, at.index < last; not moved (see `advance`).
            last: frame index to stop before, at most `frame_count`.
            limit_bytes: stop adding whole frames once so much is gathered.
        Returns:
            buffers fit for `sendmsg`, none of them empty; at least the rest of one frame.
        """
        found = _without(self.frame(at.index), at.skip)
        gathered = 0
        for index in range(at.index + 1, last):
            if gathered >= limit_bytes or len(found) >= PIECES_MAX:
                break
            frame = self.frame(index)
            gathered += sum(map(len, frame))
            found += frame
        return found

    def advance(self, at: Position, sent_bytes: int) -> None:
        """Move `at` over `sent_bytes` of the framed stream (a partial send included)."""
        left = at.skip + sent_bytes
        while left:
            size = self.frame_bytes(at.index)
            if left < size:
                break
            left -= size
            at.index += 1
        at.skip = left

    def frame_bytes(self, index: int) -> int:
        """Wire size of frame `index`."""
        return sum(map(len, self.frame(index)))


PIECES_MAX = 384
"""Buffers in one gathered send: below every system's IOV_MAX (1024 on Linux)."""


def _without(pieces: list[bytes | memoryview], skip: int) -> list[bytes | memoryview]:
    """`pieces` without their first `skip` bytes."""
    for index, piece in enumerate(pieces):
        if skip < len(piece):
            return [piece[skip:], *pieces[index + 1 :]]
        skip -= len(piece)
    return []
