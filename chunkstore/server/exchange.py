"""One request and its answer, as handlers see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import trio

from chunkstore.live import Piece
from chunkstore.metrics import Ending
from chunkstore.objects import FileRange
from chunkstore.wire import (
    NEED_DATA,
    NO_LENGTH,
    Closed,
    Data,
    EndOfBody,
    Need,
    NoLength,
    Refusal,
    Request,
    field_block,
    problem,
)

if TYPE_CHECKING:
    from chunkstore.server.connection import Connection

__all__ = ["CHALLENGE", "BodyEvent", "Exchange", "Handler"]

CHALLENGE = field_block(
    [
        ("WWW-Authenticate", 'Basic realm="chunkstore", charset="UTF-8"'),
        ("WWW-Authenticate", 'Bearer realm="chunkstore"'),
    ]
)
"""What a 401 carries (RFC 9110 section 11.6.1); a line each, since encoders read no lists."""


class Exchange:
    """One request on one connection.

    Attributes:
        request: the typed head.
        connection: where it came from; an `Outlet` for readers of open generations.
        status: of the answer, 0 before its head.
        first_byte_at_s: when its first bytes were handed over, by Trio's clock; None before.
        generation: the id of the generation it reads or writes; 0: none.
        ending: how the answer ended; COMPLETE unless something else is noted.
        sent_bytes: handed over, head included; of an answer that followed an open object, the
            payload alone.
    """

    __slots__ = (
        "connection",
        "ending",
        "first_byte_at_s",
        "generation",
        "request",
        "sent_bytes",
        "started_s",
        "status",
    )

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.status = 0
        self.first_byte_at_s: float | None = None
        self.generation = 0
        self.ending = Ending.COMPLETE
        self.sent_bytes = 0
        self.started_s = trio.current_time()

    # --- answering -----------------------------------------------------------------------------

    def head(self, status: int, fields: bytes, length: int | None | NoLength) -> bytes:
        """The answer's head; from here on the answer must be finished or the connection is reset.

        Args:
            fields: a block made by `field_block`, without Date and framing.
            length: of the body in bytes; None: chunked; NO_LENGTH: no framing field (HEAD only).
        """
        head = self.connection.write_head(status, fields, length)
        self.status = status
        return head

    def finish(self) -> None:
        """The promised body was handed over whole."""
        self.connection.protocol.message_sent()

    async def send(self, pieces: Sequence[Piece]) -> None:
        """Send all of `pieces`.

        Raises:
            trio.BrokenResourceError: the client is gone.
        Cancellation: an unknown amount was sent; the connection is reset.
        """
        left = list(pieces)
        while left:
            sent = await self.connection.send_some(left)
            self.sent_bytes += sent
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if sent:
                left[0] = memoryview(left[0])[sent:]

    async def send_file(self, head: bytes, part: FileRange) -> None:
        """Send `head`, and all of the file's bytes behind it.

        Raises, Cancellation: as `send`.
        """
        left, (fd, position, size) = memoryview(head), part
        while left or size:
            sent = await self.connection.send_file(left, FileRange(fd, position, size))
            self.sent_bytes += sent
            of_file = max(0, sent - len(left))
            left = left[sent:]
            position += of_file
            size -= of_file

    async def respond(self, status: int, fields: bytes, body: bytes = b"") -> None:
        """A whole answer; to HEAD, its head alone.

        A client that is gone is no error here: encoders close without reading their answers, and
        behind this request may be others that came whole before.
        Cancellation: as `send`.
        """
        length = NO_LENGTH if status in _BODYLESS else len(body)
        head = self.head(status, fields, length)
        try:
            await self.send([head if self.request.method == "HEAD" else head + body])
        except trio.BrokenResourceError:
            if self.ending is Ending.COMPLETE:
                self.ending = Ending.CLIENT_GONE
        self.finish()

    async def refuse(self, status: int, detail: str, fields: bytes = b"") -> None:
        """A problem document (RFC 9457): a status and a sentence that a person can act on."""
        block, body = problem(status, detail)
        await self.respond(status, block + fields + self.connection.server.common_fields, body)

    # --- the request's body --------------------------------------------------------------------

    async def receive(self) -> Sequence[BodyEvent]:
        """The next events of the request's body: one, or all that came at once.

        Their data are views that hold until the next await.

        Raises:
            trio.BrokenResourceError: the client is gone.
        Cancellation: nothing is lost.
        """
        connection = self.connection
        events = [await connection.next_event()]
        while events[0] is NEED_DATA:
            # Only now: what came has been passed on first.
            connection.transport.acknowledge_soon()
            events = connection.protocol.take(await connection.transport.receive())
        assert not isinstance(events[-1], (Need, Request))  # which would stand alone
        return cast(list[BodyEvent], events)

    async def continue_if_asked(self) -> None:
        """Send 100 Continue if the client waits for it (RFC 9110 section 10.1.1)."""
        protocol = self.connection.protocol
        if protocol.must_continue:
            await self.send([protocol.continue_100()])


BodyEvent: TypeAlias = Data | EndOfBody | Refusal | Closed
Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]
_BODYLESS = frozenset((204, 304))
