"""The head of a request: found and its request line judged by us, its fields parsed by h11.

Every refusal belongs to one byte, the first that makes the head wrong, and is raised as soon as
that byte is
there: bytes that arrive one by one are refused for the same reason as the whole. The order is:
empty lines before the request, the request line byte by byte, the request line as a whole at its
CRLF, the fields byte by byte, the fields as a whole at the empty line.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import h11

from chunkstore.errors import RemoteProtocolError
from chunkstore.wire.fields import Fields
from chunkstore.wire.limits import METHOD_BYTES, WireLimits

__all__ = ["HeadScan", "RequestLine", "parse_fields", "parse_request_line"]

_MAX_EMPTY_LINES: Final = 2
_CR: Final = 0x0D
_LF: Final = 0x0A
_SP: Final = 0x20

_METHOD_RUN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]*")
_NOT_IN_LINE: Final = re.compile(rb"[^\x20-\x7e]")
_NOT_IN_FIELDS: Final = re.compile(rb"\x00|(?<!\r)\n|\r(?!\n)")
_FOLDED: Final = re.compile(rb"\r\n[ \t]")  # RFC 9112 section 5.2: refuse it, or smuggling is easy
_REQUEST_LINE: Final = re.compile(
    r"([-!#$%&'*+.^_`|~0-9a-zA-Z]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])"
)
_ABSOLUTE: Final = re.compile(r"[hH][tT][tT][pP][sS]?://([^/?]*)(/[^?]*)?(?:\?(.*))?")
# A comma is legal in a reg-name, but in a Host it is two fields that somebody joined on the way.
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9\-._~!$&'()*+;=%]+|\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z\-._~]+)?\])"
    r"(?::([0-9]{0,5}))?"
)
_LARGEST_PORT: Final = 65535
_LONG_LENGTH: Final = re.compile(rb"\ncontent-length:[ \t]*[0-9]{20,}[ \t]*\r", re.IGNORECASE)
_LENGTH_DIGITS: Final = 19
_QUOTED_CHARACTERS: Final = 120


class RequestLine(NamedTuple):
    """A request line, split; `authority` is that of an absolute-form target."""

    method: str
    target: str
    path: str
    query: str
    http_1_0: bool
    authority: str | None


class HeadScan:
    """How far the head now arriving has been judged; none of its bytes is looked at twice.

    Positions are counted from the head's first byte, so that the buffer may drop what is before it.

    Args:
        limits: the bounds to hold.
    Attributes:
        line: the request line, once its CRLF is there.
    """

    __slots__ = ("_checked", "_empty_lines", "_limits", "_line_bytes", "_lines", "line")

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._checked = 0
        self._empty_lines = 0
        self._line_bytes = 0
        self._lines = 0
        self.line: RequestLine | None = None

    def skip_empty_lines(self, buffer: bytes | bytearray, start: int) -> int:
        """Return where the request line starts, behind at most two empty lines.

        Args:
            buffer: the input.
            start: what was consumed of it.
        Source: RFC 9112 section 2.2.
        """
        if self._checked:
            return start
        while self._empty_lines < _MAX_EMPTY_LINES and buffer.startswith(b"\r\n", start):
            self._empty_lines += 1
            start += 2
        return start

    def find_block(self, buffer: bytes | bytearray, start: int) -> tuple[int, int] | None:
        """Judge what came since the last call.

        Args:
            buffer: the input.
            start: position of the head's first byte in it.
        Returns:
            where in the buffer the header fields start and where their empty line ends, None if
            more is needed.
        Raises:
            RemoteProtocolError: the head is wrong, whatever may follow.
        Cost: O(new bytes).
        """
        if self.line is None and not self._find_line(buffer, start):
            return None
        limit = start + self._limits.head_bytes
        block = start + self._line_bytes + 2
        # The search may start on the request line's own CRLF: a block without fields is only an
        # empty line.
        found = buffer.find(b"\r\n\r\n", max(block - 2, start + self._checked - 3))
        stop = len(buffer) if found < 0 else found + 2
        self._judge_fields(buffer, start, min(stop, limit))
        if (len(buffer) if found < 0 else found + 4) > limit:
            raise RemoteProtocolError(
                f"The request's head is longer than {self._limits.head_bytes} bytes.", 431
            )
        return None if found < 0 else (block, found + 4)

    def _find_line(self, buffer: bytes | bytearray, start: int) -> bool:
        """Judge the request line; true once it is whole."""
        if start == len(buffer) or (self._may_be_empty_line(buffer, start)):
            return False
        run = _METHOD_RUN.match(buffer, start, start + METHOD_BYTES + 1)
        stop = start if run is None else run.end()
        if stop - start > METHOD_BYTES:
            raise RemoteProtocolError(f"No method is longer than {METHOD_BYTES} bytes.", 501)
        if stop == len(buffer):
            return False
        if stop == start or buffer[stop] != _SP:
            raise RemoteProtocolError(
                "This isn't HTTP: a request starts with a method and a space."
            )
        return self._find_target(buffer, start, max(stop, start + self._checked))

    def _may_be_empty_line(self, buffer: bytes | bytearray, start: int) -> bool:
        return (
            self._empty_lines < _MAX_EMPTY_LINES
            and buffer[start] == _CR
            and start + 1 == len(buffer)
        )

    def _find_target(self, buffer: bytes | bytearray, start: int, position: int) -> bool:
        """Judge the request line from behind its method."""
        limit = start + self._limits.target_bytes
        found = buffer.find(b"\r\n", position)
        stop = found if found >= 0 else len(buffer)
        if found < 0 and buffer[stop - 1] == _CR:
            stop -= 1
        if _NOT_IN_LINE.search(buffer, position, min(stop, limit)):
            raise RemoteProtocolError(
                "The request line has a character that HTTP doesn't allow there."
            )
        if stop > limit:
            raise RemoteProtocolError(
                f"The request line is longer than {self._limits.target_bytes} bytes.", 414
            )
        self._checked = stop - start
        if found < 0:
            return False
        self.line = parse_request_line(buffer[start:stop].decode("ascii"))
        self._line_bytes = self._checked
        self._checked += 2
        return True

    def _judge_fields(self, buffer: bytes | bytearray, start: int, stop: int) -> None:
        """Judge the bytes and count the lines of the fields up to `stop`."""
        position = start + self._checked
        if stop <= position:
            return
        # What follows a CR at the end isn't known yet (or is over the limit).
        if buffer[stop - 1] == _CR:
            stop -= 1
        wrong = _NOT_IN_FIELDS.search(buffer, position, stop)
        self._lines += buffer.count(b"\r\n", position, wrong.start() if wrong else stop)
        if self._lines > self._limits.fields:
            raise RemoteProtocolError(
                f"The request has more than {self._limits.fields} header fields.", 431
            )
        if wrong:
            raise RemoteProtocolError(
                "The request's head has a NUL, or a CR or LF that isn't part of a CRLF."
            )
        self._checked = stop - start


def parse_request_line(line: str) -> RequestLine:
    """Judge and split a request line.

    Args:
        line: without its CRLF, printable ASCII.
    Raises:
        RemoteProtocolError: with the status it deserves.
    Source: RFC 9112 section 3.
    """
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError("The request line isn't: method, target, HTTP version.")
    method, target, major, minor = match.groups()
    if major != "1" or minor not in "01":
        raise RemoteProtocolError(f"HTTP/{major}.{minor} isn't spoken here; use HTTP/1.1.", 505)
    if method == "CONNECT":
        raise RemoteProtocolError("This server is no proxy: there is no CONNECT.", 501)
    if "#" in target:
        raise RemoteProtocolError(
            "The request target has a fragment; clients keep that to themselves."
        )
    if target[0] == "/":
        path, _, query = target.partition("?")
        return RequestLine(method, target, path, query, minor == "0", None)
    if target == "*":
        if method != "OPTIONS":
            raise RemoteProtocolError("The request target * goes with OPTIONS only.")
        return RequestLine(method, target, target, "", minor == "0", None)
    if (absolute := _ABSOLUTE.fullmatch(target)) is None:
        raise RemoteProtocolError(
            "The request target must start with a slash, http:// or https://."
        )
    authority, slash_path, query_part = absolute.groups()
    if not _is_host(authority):
        raise RemoteProtocolError("The request target has no valid host.")
    # RFC 9112 section 3.2.4: without a path, OPTIONS asks about the server.
    root = "*" if method == "OPTIONS" and query_part is None else "/"
    return RequestLine(
        method, target, slash_path or root, query_part or "", minor == "0", authority
    )


def _is_host(text: str) -> bool:
    """Say whether this is a host with an optional port, and nothing else (RFC 9110 section 7.2)."""
    match = _HOST.fullmatch(text)
    return match is not None and int(match[1] or "0") <= _LARGEST_PORT


def parse_fields(head: bytes, limits: WireLimits, *, http_1_0: bool) -> Fields:
    """Let h11 parse a head, and judge what it leaves open: Host, and how the body is framed.

    Args:
        head: the whole head with its empty line; its bytes and its request line were judged.
        limits: the bounds to hold.
        http_1_0: what the request line said.
    Returns:
        the fields.
    Raises:
        RemoteProtocolError: with the status it deserves.
    Source: RFC 9112 sections 3.2, 5 and 6.
    """
    if _FOLDED.search(head):
        raise RemoteProtocolError("A header field is folded over two lines, which HTTP gave up.")
    connection = h11.Connection(h11.SERVER)  # fed a whole head, it has nothing to wait for
    connection.receive_data(head)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        if _LONG_LENGTH.search(head):
            raise RemoteProtocolError("Content-Length is absurdly large.", 413) from error
        # h11 quotes the line that is wrong, however long.
        detail = f"The request's head is wrong: {str(error)[:_QUOTED_CHARACTERS]}."
        raise RemoteProtocolError(detail, error.error_status_hint) from error
    assert isinstance(request, h11.Request)
    values: dict[str, str] = {}
    for raw_name, raw_value in request.headers.raw_items():
        name = raw_name.decode("ascii").lower()
        value = raw_value.decode("latin-1")
        values[name] = f"{values[name]}, {value}" if name in values else value
    _judge(values, limits, http_1_0=http_1_0)
    return Fields(values, http_1_0=http_1_0)


def _judge(values: dict[str, str], limits: WireLimits, *, http_1_0: bool) -> None:
    host = values.get("host")
    if host is not None and not _is_host(host):
        raise RemoteProtocolError("The Host field isn't one host with an optional port.")
    length = values.get("content-length")
    if "transfer-encoding" in values:
        if length is not None:
            raise RemoteProtocolError("Content-Length and Transfer-Encoding exclude each other.")
        if http_1_0:
            raise RemoteProtocolError("There is no Transfer-Encoding in HTTP/1.0.")
    if length is not None and (len(length) > _LENGTH_DIGITS or int(length) > limits.body_bytes):
        raise RemoteProtocolError(
            f"Content-Length is over the limit of {limits.body_bytes} bytes.", 413
        )
