"""One connection's HTTP/1.1, server side: bytes in, events out, heads to send.

The input is a sequence of heads and bodies (`states.Reading`), the output a response to each
(`states.Reply`); the two halves move apart within one exchange only: an answer may precede the end
of the body it answers. h11 exists only while a head is parsed. A connection that waits owns a few
words.
"""

from __future__ import annotations

import re
from typing import Final

from chunkstore.errors import LocalProtocolError, RemoteProtocolError
from chunkstore.wire.body import Body
from chunkstore.wire.events import (
    NEED_DATA,
    PAUSED,
    Closed,
    Data,
    EndOfBody,
    Event,
    Refusal,
    Request,
)
from chunkstore.wire.fields import FieldMemo
from chunkstore.wire.head import HeadScan, RequestLine, parse_fields
from chunkstore.wire.limits import WireLimits
from chunkstore.wire.response import STATUS_LINES, NoLength
from chunkstore.wire.states import Reading, Reply, Step, advance

__all__ = ["ServerProtocol"]

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODYLESS: Final = frozenset({204, 304})
_EVENTS_PER_TAKE: Final = 32

# The request lines that nearly all requests have; any other takes the long way and may be as good.
_ORDINARY_LINE: Final = re.compile(
    r"(?!CONNECT )([-!#$%&'*+.^_`|~0-9a-zA-Z]{1,32}) "
    r"((/[!\x22\x24-\x3e\x40-\x7e]*)(?:\?([!\x22\x24-\x7e]*))?) HTTP/1\.1"
)


class ServerProtocol:
    """The protocol of one connection.

    Args:
        limits: the bounds of its input.
        memo: shared with the other connections of the same limits.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_close",
        "_eof",
        "_limits",
        "_memo",
        "_position",
        "_reading",
        "_reply",
        "_request",
        "_scan",
        "_waits",
    )

    def __init__(self, limits: WireLimits, memo: FieldMemo) -> None:
        self._limits = limits
        self._memo = memo
        self._buffer: bytes | bytearray | None = None  # None rather than empty: most are, for long
        self._position = 0  # what was consumed of it
        self._scan: HeadScan | None = None  # of a head that comes in pieces
        self._body: Body | None = None
        self._request: Request | None = None
        self._reading = Reading.HEAD
        self._reply = Reply.IDLE
        self._waits = False
        self._close = False
        self._eof = False

    @property
    def has_body(self) -> bool:
        """The current request has a body whose end wasn't given out."""
        return self._body is not None

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not yet given out: a head in part, a body, pipelined requests.

        The shell bounds it by receiving no more while it is large. Framing of a chunk's size line
        that came in part (at most 16 KiB) isn't counted.
        """
        return 0 if self._buffer is None else len(self._buffer) - self._position

    @property
    def head_started(self) -> bool:
        """A head has begun to arrive and isn't whole; empty lines before it don't count."""
        return self._reading is Reading.HEAD and self._buffer is not None

    @property
    def keep_alive(self) -> bool:
        """The connection may carry another request once this exchange's response is whole."""
        return self._reading in (Reading.HEAD, Reading.NEXT_EXCHANGE) and self.may_persist

    @property
    def may_persist(self) -> bool:
        """Neither side asked to close after this exchange, and no input was refused."""
        return not self._close and (self._request is None or self._request.fields.keep_alive)

    @property
    def lacks_only_last_chunk(self) -> bool:
        """The body is chunked and every chunk of it is whole: only its end may be missing."""
        return self._body is not None and self._body.lacks_only_last_chunk

    @property
    def is_sending(self) -> bool:
        """A response's head was written and the message isn't whole: ending now cuts it."""
        return self._reply is Reply.SEND_BODY

    @property
    def must_continue(self) -> bool:
        """The client waits for 100 (Continue): no answer went out, and no body came."""
        return self._waits

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Take what came from the peer; `b""` is its EOF.

        Args:
            data: copied where it is kept, so that its buffer may be reused at once.
        Raises:
            LocalProtocolError: data after the EOF.
        """
        if self._reading >= Reading.NOTHING:
            return
        if not data:
            self._eof = True
            return
        if self._eof:
            raise LocalProtocolError("no data is expected after the end of input")
        buffer = self._buffer
        if buffer is None:
            self._buffer = bytes(data)
            return
        if isinstance(buffer, bytes):
            self._buffer = buffer = bytearray(memoryview(buffer)[self._position :])
        elif self._position:
            del buffer[: self._position]
        self._position = 0
        buffer += data

    def take(self, data: memoryview) -> list[Event]:
        """Do as `receive` and then `next_event`, but without a copy of a body's data.

        Args:
            data: as for `receive`; the events' data may be views of it.
        Returns:
            what `next_event` would have given, up to the body's end, 32 events or `NEED_DATA`; no
            more than that is known of what follows.
        """
        body = self._body
        if body is None or self._buffer is not None or not data or self._eof:
            self.receive(data)
            return [self.next_event()]
        events: list[Event] = []
        position, stop = 0, len(data)
        while position < stop and self._body is body and len(events) < _EVENTS_PER_TAKE:
            event, position = body.next(data, position)
            if type(event) is Data:
                events.append(event)
            elif event is not None:
                events.append(self._judge_body(event))
        self._waits = False
        if position < stop and self._reading is not Reading.NOTHING:
            self._buffer = bytes(data[position:])
        return events or [NEED_DATA]

    def next_event(self) -> Event:
        """Give the next event, or why there is none.

        Returns:
            an event, `NEED_DATA`, or `PAUSED`: the request is whole, and the next one isn't looked
            at before `start_next_cycle`; after a `Refusal` it is all that ever comes.
        Cost: a head whose fields are in the memo isn't parsed.
        """
        if self._reading is Reading.HEAD:
            if self._buffer is not None:
                return (self._scan is None and self._recall(self._buffer)) or self._next_head()
            return self._at_end_of_input()
        if self._reading is Reading.BODY:
            return self._next_of_body()
        return self._at_end_of_input() if self._reading is Reading.CLOSED else PAUSED

    def _recall(self, buffer: bytes | bytearray) -> Request | None:
        """The short way: a whole head with an ordinary request line and a remembered block."""
        start = self._position
        stop = buffer.find(b"\r\n\r\n", start) + 4
        if stop == 3:
            return None
        line_stop = buffer.find(b"\r\n", start)
        limits = self._limits
        if line_stop - start > limits.target_bytes or stop - start > limits.head_bytes:
            return None
        if stop - line_stop - 2 > self._memo.max_block_bytes:
            return None
        fields = self._memo.find(bytes(buffer[line_stop + 2 : stop]))
        if fields is None:
            return None
        match = _ORDINARY_LINE.fullmatch(buffer[start:line_stop].decode("latin-1"))
        if match is None:
            return None
        method, target, path, query = match.groups("")
        self._consume(stop)
        request = Request(method, target, path, query, fields, False)
        self._begin(request)
        return request

    def _next_head(self) -> Event:
        """The long way: judge what came of the head, and once it is whole, parse it."""
        assert self._buffer is not None
        scan = self._scan = self._scan or HeadScan(self._limits)
        buffer = self._buffer
        start = scan.skip_empty_lines(buffer, self._position)
        self._consume(start)
        if start == len(buffer):
            return self._at_end_of_input()
        try:
            span = scan.find_block(buffer, start)
            if span is None:
                return self._at_end_of_input()
            assert scan.line is not None
            request = self._parse(scan.line, bytes(buffer[start : span[1]]), span[0] - start)
        except RemoteProtocolError as error:
            return self._refuse(Refusal(error.status, error.detail))
        self._scan = None
        self._consume(span[1])
        self._begin(request)
        return request

    def _parse(self, line: RequestLine, head: bytes, block_start: int) -> Request:
        """Make the request of a whole head."""
        block = head[block_start:]
        fields = None if line.http_1_0 else self._memo.find(block)
        if fields is None:
            fields = parse_fields(head, self._limits, http_1_0=line.http_1_0)
            if not line.http_1_0:
                self._memo.remember(block, fields)
        if line.authority is not None:
            fields = fields.with_host(line.authority)
        return Request(line.method, line.target, line.path, line.query, fields, line.http_1_0)

    def _begin(self, request: Request) -> None:
        self._reply = advance(self._reply, Step.REQUEST)
        self._request = request
        fields = request.fields
        if fields.chunked or fields.content_length:
            self._body = Body(fields, self._limits)
            self._reading = Reading.BODY
            self._waits = fields.expects_continue
        else:
            self._reading = Reading.NEXT_EXCHANGE

    def _next_of_body(self) -> Event:
        assert self._body is not None
        if isinstance(self._buffer, bytearray):  # views of it would keep it from growing
            self._buffer = bytes(self._buffer)
        event, position = self._body.next(memoryview(self._buffer or b""), self._position)
        self._consume(position)
        return self._judge_body(event)

    def _judge_body(self, event: Data | EndOfBody | Refusal | None) -> Event:
        if event is None:
            assert self._buffer is None, "a body that isn't over takes what there is"
            return self._at_end_of_input()
        self._waits = False
        if isinstance(event, Refusal):
            return self._refuse(event)
        if isinstance(event, EndOfBody):
            self._body = None
            self._reading = Reading.NEXT_EXCHANGE
        return event

    def _at_end_of_input(self) -> Event:
        """All that came was used: say whether more may come."""
        if not self._eof:
            return NEED_DATA
        self._reading = Reading.CLOSED
        return Closed(clean=self._buffer is None and self._body is None)

    def _consume(self, position: int) -> None:
        if self._buffer is not None and position == len(self._buffer):
            self._buffer = None
            position = 0
        self._position = position

    def _refuse(self, refusal: Refusal) -> Refusal:
        self.give_up()
        return refusal

    def give_up(self) -> None:
        """Drop all further input and make this exchange the last: a deadline passed, or the like.

        If no head was written for the current request, or if there was no request yet, one may be
        written now (408, 503).
        """
        self._reply = advance(self._reply, Step.REFUSE)
        self._reading = Reading.NOTHING
        self._buffer = self._scan = self._body = None
        self._position = 0
        self._waits = False
        self._close = True

    def continue_100(self) -> bytes:
        """Return the interim response that the client waits for; `b""` if it doesn't.

        Raises:
            LocalProtocolError: there is no request, or its final head was written.
        Source: RFC 9110 section 10.1.1.
        """
        self._reply = advance(self._reply, Step.CONTINUE)
        if not self._waits:
            return b""
        self._waits = False
        return _CONTINUE

    def close_after(self) -> None:
        """Let the next head say `Connection: close`, and this exchange be the last."""
        self._close = True

    def head(self, status: int, fields: bytes, length: int | NoLength | None, date: bytes) -> bytes:
        """Return the final head of the response, framing and `Connection: close` included.

        Args:
            status: one of `response.REASONS`, 200 or above.
            fields: a block made by `response.field_block`, without Date, Connection, Content-Length
                and Transfer-Encoding.
            length: the body's size in bytes; None for a chunked one; `NO_LENGTH` to say neither, in
                the answer to a HEAD. Not used for 204 and 304, which have no body.
            date: the value of Date.
        Raises:
            LocalProtocolError: there is no request, or its head was written.
            ValueError: a status that isn't in the table; chunked for HTTP/1.0; no length but no
                HEAD.
        Source: RFC 9112 section 6.
        """
        reply = advance(self._reply, Step.HEAD)
        request = self._request
        line = STATUS_LINES.get(status)
        if line is None or status < 200:
            raise ValueError(f"status must be a final one of the table's, not {status}")
        if status in _BODYLESS:
            framing = b"\r\n"
        elif isinstance(length, int):
            framing = b"Content-Length: %d\r\n\r\n" % length
        elif length is None:
            if request is None or request.http_1_0:
                raise ValueError("a length is needed where the client isn't known to read chunks")
            framing = b"Transfer-Encoding: chunked\r\n\r\n"
        elif request is not None and request.method == "HEAD":
            framing = b"\r\n"
        else:
            raise ValueError("a length is needed but in the answer to a HEAD")
        self._reply = reply
        self._waits = False
        if self._close or request is None or not request.fields.keep_alive:
            return b"%bDate: %b\r\nConnection: close\r\n%b%b" % (line, date, fields, framing)
        return b"%bDate: %b\r\n%b%b" % (line, date, fields, framing)

    def message_sent(self) -> None:
        """Say that the response was handed over whole.

        Raises:
            LocalProtocolError: its head wasn't written, or it was whole before.
        """
        self._reply = advance(self._reply, Step.SENT)

    def start_next_cycle(self) -> bool:
        """Make ready for the next request.

        Returns:
            False if the connection must close instead: the response or the request's body isn't
            whole, the input was refused or ended, or one side asked for it.
        """
        if self._reply is not Reply.DONE or not self.keep_alive:
            return False
        self._reply = advance(self._reply, Step.NEXT)
        self._reading = Reading.HEAD
        self._request = None
        return True
