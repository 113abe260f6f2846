"""The ring: one writer appends, any number of readers look, nobody waits for anybody.

The payload is stored once, in blocks that never move and are never resized, so views of them stay
valid while the writer goes on: what came at once is one, small arrivals share some of up to 1 MiB.
Beside it stand the ends of the chunks as they were published, and with those the *framed stream*
(RFC 9112 section 7.1) is a pure function of the payload: a reader that was cut off in the middle of
a frame needs no copy of it, only its `Position`, and gets the rest rebuilt around views.

Bytes are *appended* (stored, and charged) and later *published* (visible to readers). The publish
rule: when a chunk's last data byte has come, or 64 KiB wait; the third case, 20 ms after the first
unpublished byte, needs a clock and is the caller's (`unpublished_bytes` says whether to arm it).

Where the payload is kept elsewhere, too, the ring is a *window*: what lies before `base` was let go
by `trim`, in whole chunks. Indices and offsets stay those of the whole object.
Source: the shared blocks and absolute offsets of replication backlogs; chunk boundaries are kept
because players estimate throughput from them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["CHUNK_COST_BYTES", "LAST_CHUNK", "OWN_BLOCK_BYTES", "Position", "Ring", "frame_bytes"]

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
_NOTHING = memoryview(b"")


class Position:
    """A reader's place in the framed stream: `skip` wire bytes into the frame of chunk `index`.

    Attributes:
        start: payload offset where that chunk begins; it holds where the window has left the reader
            behind, and `index` then means nothing.
        stop: where it ends; known only while `skip` isn't 0.
    """

    __slots__ = ("index", "skip", "start", "stop")

    def __init__(self, index: int = 0, start: int = 0) -> None:
        self.index = index
        self.start = start
        self.skip = 0
        self.stop = 0

    def advance(self, stops: Sequence[int], sent_bytes: int) -> None:
        """Move over `sent_bytes` of the framed stream (a partial send included).

        Args:
            stops: where chunk `index` and those behind it end, as far as was sent; behind the last
                of them only the last-chunk can have been.
        """
        left = self.skip + sent_bytes
        for stop in stops:
            size = frame_bytes(stop - self.start)
            if left < size:
                self.skip, self.stop = left, stop
                return
            left -= size
            self.index += 1
            self.start = stop
        if left == len(LAST_CHUNK):
            left = 0
            self.index += 1
        self.skip, self.stop = left, self.start


def frame_bytes(payload_bytes: int) -> int:
    """Wire size of a chunk's frame: size line, data, line end."""
    return (payload_bytes.bit_length() + 3) // 4 + 2 + payload_bytes + 2


class Ring:
    """Payload and chunk boundaries of one generation; single writer, many readers.

    Args:
        stored_bytes: None: one that is to be written; else one that is whole, whose payload of so
            many bytes is elsewhere.

    Attributes:
        base: payload before this absolute offset isn't here any more.
        first: index of the first chunk that is here.
        ends: where the chunks that are here end.
    """

    __slots__ = (
        "_block",
        "_blocks",
        "_filled",
        "_starts",
        "base",
        "ends",
        "first",
        "is_sealed",
        "size_bytes",
    )

    def __init__(self, stored_bytes: int | None = None) -> None:
        self._blocks: list[bytes | bytearray | memoryview] = []
        self._starts: list[int] = []
        self._block = _NOTHING  # the block being filled
        self._filled = 0
        self.ends: list[int] = []
        self.first = 0
        self.base = self.size_bytes = stored_bytes or 0
        self.is_sealed = stored_bytes is not None

    @property
    def end(self) -> int:
        """Absolute offset behind the last published byte: the live edge."""
        return self.ends[-1] if self.ends else self.base

    @property
    def chunk_count(self) -> int:
        """Chunks published so far."""
        return self.first + len(self.ends)

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
            self._close_block()
            self._starts.append(self.size_bytes)
            self._blocks.append(data if is_lasting else bytes(data))
            self.size_bytes += len(data)
        else:
            self._fill(memoryview(data))
        ends = self.ends
        waiting = self.size_bytes - (ends[-1] if ends else self.base)
        is_exact = self.first + len(ends) < EXACT_CHUNKS or waiting >= MERGE_BYTES
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
        self._close_block()
        self.is_sealed = True

    def _close_block(self) -> None:
        """No more into the block being filled: give back what is unused of it."""
        if self._filled < len(self._block):
            # Readers may hold views of the old block; they keep it alive until they are done.
            self._blocks[-1] = bytes(self._block[: self._filled])
        self._block = _NOTHING
        self._filled = 0

    def trim(self, upto: int) -> None:
        """Let go of the chunks that end at the absolute offset `upto` or before.

        Cost: O(log chunks + what is let go). Views that somebody holds stay valid.
        """
        gone = bisect_right(self.ends, upto)
        if gone:
            self.base = self.ends[gone - 1]
            self.first += gone
            del self.ends[:gone]
        blocks = bisect_right(self._starts, self.base)
        # The last of them may reach beyond; but not if nothing lies beyond.
        blocks -= self.base < self.size_bytes or len(self._block) > 0
        del self._starts[:blocks], self._blocks[:blocks]

    def fill(self, payload: bytes) -> None:
        """Have the whole payload here again, as one chunk: it was elsewhere, all of it."""
        assert self.is_sealed
        assert self.base == self.size_bytes == len(payload)
        if payload:
            self.base = self.first = 0
            self._starts, self._blocks = [0], [payload]
            self.ends = [len(payload)]

    @property
    def frame_count(self) -> int:
        """Frames there are to send: one a published chunk, and the last-chunk once sealed."""
        return self.first + len(self.ends) + self.is_sealed

    def charge_bytes(self) -> int:
        """What this ring costs of the memory budget, in bytes."""
        return self.size_bytes - self.base + CHUNK_COST_BYTES * len(self.ends)

    def views(self, start: int, stop: int) -> list[memoryview]:
        """The payload in [start, stop) without copying, in order.

        Args:
            start, stop: absolute offsets, base <= start <= stop <= size_bytes.
        Cost: O(log blocks + blocks touched), no copy.
        """
        assert self.base <= start <= stop <= self.size_bytes
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
        """Index of the first chunk that ends behind the absolute `offset`, which is here."""
        return self.first + bisect_right(self.ends, offset)

    def start_of(self, index: int) -> int:
        """Absolute offset where chunk `index` begins, which is here; behind the last one, `end`."""
        chunk = min(index - self.first, len(self.ends))
        return self.ends[chunk - 1] if chunk else self.base

    def frame(self, index: int) -> list[bytes | memoryview]:
        """Frame `index` around views: size line, data, line end; behind them, the last-chunk."""
        at = index - self.first
        if at == len(self.ends):
            return [LAST_CHUNK]
        start = self.ends[at - 1] if at else self.base
        stop = self.ends[at]
        return [b"%x\r\n" % (stop - start), *self.views(start, stop), b"\r\n"]

    def pieces(self, at: Position, last: int, limit_bytes: int) -> list[bytes | memoryview]:
        """The framed stream from `at` up to frame `last`, around views of the payload.

        Args:
            at: where the reader is, first <= at.index < last; not moved (see `advance`).
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

    def stops(self, index: int) -> list[int]:
        """Where chunk `index`, which is here, and those behind it end: enough for any `pieces`."""
        at = index - self.first
        return self.ends[at : at + PIECES_MAX]

    def advance(self, at: Position, sent_bytes: int) -> None:
        """Move `at`, a place that is here, over what was sent of `pieces`."""
        at.advance(self.stops(at.index), sent_bytes)


PIECES_MAX = 384
"""Buffers in one gathered send: below every system's IOV_MAX (1024 on Linux)."""


def _without(pieces: list[bytes | memoryview], skip: int) -> list[bytes | memoryview]:
    """`pieces` without their first `skip` bytes."""
    for index, piece in enumerate(pieces):
        if skip < len(piece):
            return [piece[skip:], *pieces[index + 1 :]]
        skip -= len(piece)
    return []
