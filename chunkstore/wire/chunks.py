"""Chunked framing, walked in jumps.

The walk never looks at data, only over it: a chunk costs the same at one byte and at a gigabyte.
It holds what h11's reader leaves open: an absurd size is refused with its first excessive digit,
the total of extensions, padding and trailers is bounded, and the position behind the body is known
exactly.

The grammar is one table, a state for each `Part`; every refusal belongs to the first byte that no
state allows, so that it is the same however the bytes arrive. It admits nothing that h11 refuses.

Source: RFC 9112 section 7.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeAlias

from chunkstore.wire.events import Refusal

__all__ = [
    "LINE_OVERHEAD_BYTES",
    "OVERHEAD_BYTES",
    "Buffer",
    "ChunkScanner",
    "Part",
]

Buffer: TypeAlias = "bytes | bytearray | memoryview"

LINE_OVERHEAD_BYTES: Final = 32
"""A size line up to here is free: 16 digits, a little padding, CRLF."""

OVERHEAD_BYTES: Final = 16384
"""What all of a body's size lines may have above that, and its trailers, together."""

_MAX_SIZE_DIGITS: Final = 16
_CR: Final = 0x0D
_LF: Final = 0x0A


class Part(IntEnum):
    """Where in the framing the next byte stands."""

    SIZE = 0  # the digits
    PADDING = 1  # blanks behind the digits: not in the grammar, but sent, and read by h11
    EXTENSION = 2
    SIZE_LF = 3
    DATA = 4
    DATA_CR = 5
    DATA_LF = 6
    TRAILER = 7  # a line's first byte
    TRAILER_NAME = 8
    TRAILER_VALUE = 9
    TRAILER_LF = 10
    LAST_LF = 11
    END = 12


_TOKEN: Final = b"-!#$%&'*+.^_`|~0123456789" + bytes(range(65, 91)) + bytes(range(97, 123))
_NOTHING: Final = re.compile(b"")
_BLANKS: Final = re.compile(rb"[ \t]*")
_TEXT: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_NAME: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]*")

# Part -> (the bytes that stay in it, byte -> the part that follows, what any other byte is told)
_GRAMMAR: Final[Mapping[Part, tuple[re.Pattern[bytes], Mapping[int, Part], str]]] = {
    Part.SIZE: (
        re.compile(rb"[0-9A-Fa-f]*"),
        {_CR: Part.SIZE_LF, 0x3B: Part.EXTENSION, 0x20: Part.PADDING, 0x09: Part.PADDING},
        "A chunk's size isn't a hexadecimal number.",
    ),
    Part.PADDING: (_BLANKS, {_CR: Part.SIZE_LF}, "A chunk's size line is malformed."),
    Part.EXTENSION: (_TEXT, {_CR: Part.SIZE_LF}, "A chunk's extension is malformed."),
    Part.SIZE_LF: (_NOTHING, {_LF: Part.DATA}, "A chunk's size line doesn't end with CRLF."),
    Part.DATA_CR: (_NOTHING, {_CR: Part.DATA_LF}, "A chunk's data is longer than its size."),
    Part.DATA_LF: (_NOTHING, {_LF: Part.SIZE}, "A chunk's data doesn't end with CRLF."),
    Part.TRAILER: (
        _NOTHING,
        {_CR: Part.LAST_LF, **dict.fromkeys(_TOKEN, Part.TRAILER_NAME)},
        "A trailer field has no name.",
    ),
    Part.TRAILER_NAME: (_NAME, {0x3A: Part.TRAILER_VALUE}, "A trailer field's name is malformed."),
    Part.TRAILER_VALUE: (_TEXT, {_CR: Part.TRAILER_LF}, "A trailer field is malformed."),
    Part.TRAILER_LF: (_NOTHING, {_LF: Part.TRAILER}, "A trailer field doesn't end with CRLF."),
    Part.LAST_LF: (_NOTHING, {_LF: Part.END}, "The body doesn't end with CRLF."),
}

# What the walk asks for at every step; a member of an enum is found only after a search.
_SIZE: Final = Part.SIZE
_DATA: Final = Part.DATA
_DATA_CR: Final = Part.DATA_CR
_END: Final = Part.END

_PLAIN_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_PLAIN_NEXT_CHUNK: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,16})\r\n")


class ChunkScanner:
    """Walks one chunked body.

    Args:
        chunk_bytes: the most data that a chunk may have.
        body_bytes: the most data that all chunks may have together.
    Attributes:
        part: where the next byte stands; `Part.END` once the body is whole.
        refusal: what is wrong with the next byte, if something is.
        data_stop: where the run of data ends that the last `scan` walked over, 0 if there was none.
        data_start: where it starts.
        is_chunk_end: a chunk's last byte is the last of that run.
    """

    __slots__ = (
        "_chunk_bytes",
        "_digits",
        "_left_bytes",
        "_line_bytes",
        "_overhead_left",
        "_size",
        "data_start",
        "data_stop",
        "is_chunk_end",
        "part",
        "refusal",
    )

    def __init__(self, chunk_bytes: int, body_bytes: int) -> None:
        self.part = Part.SIZE
        self.refusal: Refusal | None = None
        self.data_start = self.data_stop = 0
        self.is_chunk_end = False
        self._chunk_bytes = chunk_bytes
        self._left_bytes = body_bytes
        self._size = 0  # data of this chunk still to come
        self._digits = b""  # of a size line that came in pieces
        self._line_bytes = 0
        self._overhead_left = OVERHEAD_BYTES

    @property
    def is_whole(self) -> bool:
        """The body's last byte was walked."""
        return self.part is Part.END

    @property
    def is_between_chunks(self) -> bool:
        """All data of the chunks begun so far was walked, and no further one is begun."""
        is_at_size = self.part is Part.SIZE and not self._digits
        return is_at_size or self.part in (Part.DATA_CR, Part.DATA_LF)

    @property
    def in_trailers(self) -> bool:
        """The last chunk's size line is over."""
        return self.part >= Part.TRAILER

    def scan(self, data: Buffer, start: int) -> int:
        """Walk on over one run of data, or to the end of input or body, or to the first wrong byte.

        Args:
            data: the input.
            start: position of the first byte not walked yet.
        Returns:
            the position behind what was walked. Unless the body is whole or refused, at least one
            byte was.
        Cost: O(1) for the data, O(n) for framing.
        """
        position, stop = start, len(data)
        self.data_stop = 0
        while position < stop and self.part is not _END and self.refusal is None:
            if self.part is _DATA:
                taken = min(self._size, stop - position)
                self._size -= taken
                self.is_chunk_end = self._size == 0
                if self.is_chunk_end:
                    self.part = _DATA_CR
                self.data_start = position
                self.data_stop = position + taken
                return self.data_stop
            position = self._jump(data, position) or self._step(data, position, stop)
        return position

    def _jump(self, data: Buffer, position: int) -> int:
        """Pass a whole, ordinary size line, and the CRLF before it; 0 if there is none."""
        if self.part is _DATA_CR:
            match = _PLAIN_NEXT_CHUNK.match(data, position)
        elif self.part is _SIZE and not self._digits:
            match = _PLAIN_SIZE_LINE.match(data, position)
        else:
            return 0
        if match is None or (size := int(match[1], 16)) > self._largest_bytes:
            return 0
        self._begin_chunk(size)
        return match.end()

    def _begin_chunk(self, size: int) -> None:
        self._size = size
        self._left_bytes -= size
        self.part = _DATA if size else Part.TRAILER

    def _step(self, data: Buffer, position: int, stop: int) -> int:
        """Pass what belongs to this part, and one byte that ends it."""
        part = self.part
        run, edges, detail = _GRAMMAR[part]
        free = 0 if self.in_trailers else LINE_OVERHEAD_BYTES
        allowed = free + self._overhead_left - self._line_bytes
        match = run.match(data, position, min(stop, position + allowed))
        end = position if match is None else match.end()
        if part is Part.SIZE:
            self._digits += data[position:end]
            if self._is_absurd():
                return self._refuse(
                    413,
                    f"A chunk's size is over the limit of {self._largest_bytes} bytes.",
                    position,
                )
        self._line_bytes += end - position
        if end == stop:
            return end
        if end - position == allowed:
            if self.in_trailers:
                return self._refuse(431, "The body's trailer fields are too long.", end)
            return self._refuse(400, "The body has too much framing: chunk extensions.", end)
        following = edges.get(data[end])
        if following is None or (part is Part.SIZE and not self._digits):
            return self._refuse(400, detail, end)
        self._line_bytes += 1
        self._enter(following)
        return end + 1

    def _is_absurd(self) -> bool:
        if len(self._digits) > _MAX_SIZE_DIGITS:
            return True
        return int(self._digits or b"0", 16) > self._largest_bytes

    @property
    def _largest_bytes(self) -> int:
        return min(self._chunk_bytes, self._left_bytes)

    def _enter(self, part: Part) -> None:
        """Go on to `part`; where a line ends by that, settle what it cost."""
        self.part = part
        if part is Part.DATA:
            self._overhead_left -= max(0, self._line_bytes - LINE_OVERHEAD_BYTES)
            self._begin_chunk(int(self._digits, 16))
            self._digits = b""
        elif part is Part.TRAILER:
            self._overhead_left -= self._line_bytes
        elif part is not Part.SIZE:
            return
        self._line_bytes = 0

    def _refuse(self, status: int, detail: str, position: int) -> int:
        self.refusal = Refusal(status, detail)
        return position
