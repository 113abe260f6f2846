"""Admission, dispatch and drain for any table of handlers."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import trio

from chunkstore.auth import redacted
from chunkstore.config import Settings
from chunkstore.metrics import Ending, Metrics
from chunkstore.server.clock import Clock
from chunkstore.server.connection import Connection
from chunkstore.server.exchange import Exchange, Handler
from chunkstore.server.listeners import Listener, accept_forever
from chunkstore.server.log import Log
from chunkstore.server.tls import TlsTransport
from chunkstore.server.transport import SocketTransport, Transport
from chunkstore.wire import FieldMemo, WireLimits, field_block, problem

__all__ = ["Server"]

KNOWN_METHODS = frozenset(("PATCH", "TRACE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE"))
"""Methods that exist (RFC 9110, RFC 5789, RFC 4918) but are nobody's here: 405 and not 501."""
TURN_AWAY_S = 1.0
"""How long what a connection beyond the limit sends is read, so that it gets its answer."""
RETRY_AFTER = field_block([("Retry-After", "1")])


class Server:
    """Runs handlers for the requests of any number of connections.

    Args:
        settings: limits and deadlines.
        handlers: method -> handler.
        metrics: counts answers, endings and connections here.
        log: gets a line a request.
        common_fields: goes into every answer that the server itself makes.
        on_drain: called once when the server begins to drain, to release what waits.
    """

    def __init__(
        self,
        settings: Settings,
        handlers: Mapping[str, Handler],
        metrics: Metrics,
        log: Log,
        *,
        common_fields: bytes = b"",
        on_drain: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.log = log
        self.common_fields = common_fields
        self.limits = WireLimits(
            head_bytes=settings.head_bytes,
            target_bytes=settings.target_bytes,
            fields=settings.max_fields,
            chunk_bytes=settings.largest_object_bytes,
        )
        self.memo = FieldMemo()
        self.connections: set[Connection] = set()
        self.handshakes: dict[Connection, None] = {}  # under way, oldest first
        self.clock = Clock(self.connections, metrics.loop_lag)
        self.is_draining = False
        self._handlers = handlers
        self._allow = field_block([("Allow", ", ".join(handlers))])
        self._on_drain = on_drain
        self._stopping = trio.Event()
        self._empty = trio.Event()
        self._tasks: trio.Nursery | None = None
        self._admitted: deque[Connection] = deque()

    # --- dispatch ------------------------------------------------------------------------------

    def handler(self, method: str) -> Handler:
        """What answers requests of `method`."""
        return self._handlers.get(method, self._refuse_method)

    async def _refuse_method(self, exchange: Exchange) -> None:
        method = exchange.request.method
        if method in KNOWN_METHODS:
            detail = (
                f"{method} is not served here; the methods that are: {', '.join(self._handlers)}"
            )
            await exchange.refuse(405, detail, self._allow)
        else:
            await exchange.refuse(501, f"{method} is not a method that this server knows")

    def ended(self, exchange: Exchange) -> None:
        """An answer ended: count it and log it."""
        if exchange.status:  # else the client left before its answer began
            self.metrics.responses[exchange.status] += 1
        self.metrics.endings[exchange.ending.metric] += 1
        first_byte_s = 0.0
        if exchange.first_byte_at_s is not None:
            first_byte_s = exchange.first_byte_at_s - exchange.started_s
            self.metrics.first_byte.add(first_byte_s)
        if self.log.is_on:
            self.log.request(
                client=exchange.connection.transport.peer,
                method=exchange.request.method,
                target=redacted(exchange.request.target),
                status=exchange.status,
                bytes=exchange.sent_bytes,
                first_byte_ms=round(first_byte_s * 1000, 3),
                total_ms=round((trio.current_time() - exchange.started_s) * 1000, 3),
                generation=exchange.generation or "-",
                ending=exchange.ending.metric,
                **({"why": exchange.ending.text} if exchange.ending.is_error else {}),
            )

    def refused(self, connection: Connection, status: int, detail: str) -> None:
        """Input that is no request was refused: count it and log it."""
        ending = Ending.TIMEOUT if status == 408 else Ending.REFUSED
        self.metrics.responses[status] += 1
        self.metrics.endings[ending.metric] += 1
        if self.log.is_on:
            self.log.request(
                client=connection.transport.peer,
                status=status,
                ending=ending.metric,
                why=redacted(detail),
            )

    def problem_bytes(self, connection: Connection, status: int, detail: str) -> bytes:
        """The whole answer to input that is no request."""
        block, body = problem(status, detail)
        return connection.write_head(status, block + self.common_fields, len(body)) + body

    # --- admission -----------------------------------------------------------------------------

    def admit(self, transport: SocketTransport | TlsTransport) -> None:
        """Take a connection over, or turn it away at the limit; doesn't wait."""
        assert self._tasks is not None, "the server is not running"
        self.metrics.connections += 1
        if len(self.connections) >= self.settings.max_connections:
            self.metrics.connections_refused += 1
            self._tasks.start_soon(self._turn_away, transport)
        else:
            # Counted before its task runs: a burst of accepts must not pass the limit. And Trio
            # starts tasks in any order, so each takes the oldest connection, not one of its own:
            # two PUTs of a path, sent one after the other, must not be served the other way round.
            self._admitted.append(self._track(transport))
            self._tasks.start_soon(self._serve)

    async def serve(self, transport: Transport) -> None:
        """Serve one connection to its end."""
        await self._serve(self._track(transport))

    def _track(self, transport: Transport) -> Connection:
        connection = Connection(self, transport)
        self.connections.add(connection)
        return connection

    async def _serve(self, connection: Connection | None = None) -> None:
        connection = connection or self._admitted.popleft()
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._empty.set()

    async def _turn_away(self, transport: SocketTransport | TlsTransport) -> None:
        if isinstance(transport, TlsTransport):  # a handshake costs more than the answer is worth
            await transport.close(reset=True)
            return
        block, body = problem(503, "too many connections; try again in a moment")
        fields = block + RETRY_AFTER + self.common_fields + field_block([("Connection", "close")])
        length = field_block(
            [("Date", self.clock.date.decode()), ("Content-Length", str(len(body)))]
        )
        answer = b"HTTP/1.1 503 Service Unavailable\r\n" + length + fields + b"\r\n" + body
        try:
            # A fresh connection's buffer is empty: it fits or it is gone.
            transport.raw.send(answer)
            transport.raw.shutdown(socket.SHUT_WR)
            with trio.move_on_after(TURN_AWAY_S):  # else what it sent makes the close a reset
                while await transport.receive():
                    pass
        except (OSError, trio.BrokenResourceError):
            pass  # it left
        finally:
            await transport.close(reset=False)

    # --- life ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to drain: no new connections, running requests have `drain_s` to finish."""
        self._stopping.set()

    def abort(self) -> None:
        """End everything at once."""
        self._stopping.set()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def run(
        self,
        listeners: Sequence[Listener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop` (or `abort`), then drain. The listeners are closed at the end.

        Cancellation: all connections are closed; bodies under way are cut.
        """
        async with trio.open_nursery() as helpers:
            helpers.start_soon(self.clock.run)
            helpers.start_soon(self.log.run)
            try:
                async with trio.open_nursery() as self._tasks:
                    task_status.started()
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            accepting.start_soon(accept_forever, listener, self.admit)
                        await self._stopping.wait()
                        accepting.cancel_scope.cancel()
                    for listener in listeners:
                        listener.close()
                    await self._drain()
            finally:
                for listener in listeners:
                    listener.close()
            helpers.cancel_scope.cancel()

    async def _drain(self) -> None:
        self.is_draining = True
        self._on_drain()
        for connection in tuple(self.connections):
            connection.end_when_idle()
        with trio.move_on_after(self.settings.drain_s):
            while self.connections:
                self._empty = trio.Event()
                await self._empty.wait()
        for connection in tuple(self.connections):
            connection.cut(Ending.DRAIN)
