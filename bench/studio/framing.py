"""Reads along on a connection: which request's body passes, how far it is, whether it has ended.

It changes nothing and never waits. What it can't read it lets pass and says no more about.

Source: RFC 9112 sections 2.1 (messages), 6 (bodies) and 7.1 (chunks).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

__all__ = ["Requests"]

_LINE_BYTES: Final = 64 * 1024
_LOOK_BYTES: Final = 128
_REQUEST_LINE: Final = re.compile(rb"([A-Z]+) ([^ ?]+)[^ ]* HTTP/1\.[01]")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")
_LENGTH: Final = re.compile(rb"content-length:[ \t]*([0-9]{1,18})[ \t]*", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"transfer-encoding:[ \t]*chunked[ \t]*", re.IGNORECASE)


class _State(Enum):
    """What the next byte belongs to; all but DATA and OPAQUE is read in lines."""

    START = auto()
    FIELDS = auto()
    SIZE = auto()
    DATA = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    OPAQUE = auto()


class Requests:
    """The requests of one connection, pipelined or not, as their bytes pass in any pieces.

    Args:
        is_wanted: whether an upload is of interest, by its path.

    Attributes:
        path: of the newest request, without its query.
        offset: how many bytes of its body have passed, framing apart.
        is_amid: it is an upload of interest, its head has passed and its end hasn't.
    """

    def __init__(self, is_wanted: Callable[[str], bool]) -> None:
        self.path = ""
        self.offset = 0
        self.is_amid = False
        self._is_wanted = is_wanted
        self._state = _State.START
        self._line = bytearray()
        self._is_upload = self._is_chunked = False
        self._left = 0  # bytes of the chunk, or of a body with a length

    def feed(self, data: bytes | bytearray | memoryview, stop_at: int | None = None) -> int:
        """Read along; an upload of interest only as far as an offset in its body.

        Args:
            data: what is about to pass.
            stop_at: a body that hasn't come so far is read no further than this.
        Returns:
            how many of the bytes were read: all, or those before the stop.
        Cost: O(n), no copy of a body.
        """
        at = 0
        while at < len(data):
            if self._state is _State.OPAQUE:
                return len(data)
            if self._state is not _State.DATA:
                at = self._read_line(data, at)
                continue
            size = min(self._left, len(data) - at)
            stops = self.is_amid and stop_at is not None and self.offset < stop_at
            if stops and stop_at is not None:
                size = min(size, stop_at - self.offset)
            at += size
            self.offset += size
            self._left -= size
            if not self._left:
                self._end_data()
            if stops and self.offset == stop_at:
                return at
        return at

    def _end_data(self) -> None:
        if self._is_chunked:
            self._state = _State.CHUNK_END
        else:
            self._state = _State.START
            self.is_amid = False

    def _read_line(self, data: bytes | bytearray | memoryview, at: int) -> int:
        """Take what belongs to the line; the offset behind it."""
        # Copied, since a memoryview can't be searched, and little, since lines are short.
        some = bytes(data[at : at + _LOOK_BYTES])
        end = some.find(b"\n")
        self._line += some if end < 0 else some[: end + 1]
        if len(self._line) > _LINE_BYTES:
            self._give_up()
        elif end >= 0:
            line = bytes(self._line).rstrip(b"\r\n")
            self._line.clear()
            self._take_line(line)
        return at + (len(some) if end < 0 else end + 1)

    def _take_line(self, line: bytes) -> None:
        if self._state is _State.START:
            if line:  # an empty line before a request is let pass (section 2.2)
                self._begin(line)
        elif self._state is _State.FIELDS:
            if not line:
                self._end_head()
            elif _CHUNKED.fullmatch(line):
                self._is_chunked = True
            elif length := _LENGTH.fullmatch(line):
                self._left = int(length[1])
        elif self._state is _State.SIZE:
            if size := _CHUNK_SIZE.fullmatch(line):
                self._left = int(size[1], 16)
                self._state = _State.DATA if self._left else _State.TRAILERS
                self.is_amid = self.is_amid and self._left > 0
            else:
                self._give_up()
        elif self._state is _State.CHUNK_END:
            self._state = _State.SIZE
        elif not line:  # the end of the trailers
            self._state = _State.START

    def _begin(self, line: bytes) -> None:
        if match := _REQUEST_LINE.fullmatch(line):
            self.path = match[2].decode("latin-1")
            self._is_upload = match[1] in (b"PUT", b"POST")
            self.offset = self._left = 0
            self._is_chunked = False
            self._state = _State.FIELDS
        else:
            self._give_up()

    def _end_head(self) -> None:
        if self._is_chunked or self._left:
            self._state = _State.SIZE if self._is_chunked else _State.DATA
            self.is_amid = self._is_upload and self._is_wanted(self.path)
        else:
            self._state = _State.START

    def _give_up(self) -> None:
        self._state = _State.OPAQUE
        self.is_amid = False
