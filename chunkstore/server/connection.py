"""One connection: one task, one request after the other, one recorded reason for each ending."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import trio

from chunkstore.live import Piece
from chunkstore.metrics import Ending
from chunkstore.objects import FileRange
from chunkstore.server.exchange import Exchange
from chunkstore.server.tls import TlsTransport
from chunkstore.server.transport import Transport
from chunkstore.wire import (
    NEED_DATA,
    Closed,
    Data,
    Event,
    NoLength,
    Refusal,
    Request,
    ServerProtocol,
)

if TYPE_CHECKING:
    import socket

    from chunkstore.server.server import Server

__all__ = ["Connection"]

PIPELINED_BYTES = 64 * 1024
"""What a client may send ahead while it follows an open object; then it isn't read any more."""
EVENTS_PER_YIELD = 32
"""Others run after so many events: one receive may bring thousands of tiny chunks or requests."""
LINGER_S = 2.0
LINGER_BYTES = 1 << 20
"""After the last answer the peer's bytes are read for so long, so that no reset destroys it."""
HANDSHAKES_MAX = 1024
"""TLS handshakes under way; past it the oldest is given up for the newest."""
LAST_WORD_S = 1.0
"""How long a last answer to a client that was too slow may take."""


class Connection:
    """A client's connection, from its first byte to its close. Is `Timed` and an `Outlet`."""

    __slots__ = (
        "_deadline_scope",
        "_event_count",
        "_exchange",
        "_expiry",
        "_is_head_timed",
        "_scope",
        "_unsent_bytes",
        "deadline_s",
        "protocol",
        "server",
        "transport",
    )

    def __init__(self, server: Server, transport: Transport) -> None:
        self.server = server
        self.transport = transport
        self.protocol = ServerProtocol(server.limits, server.memo)
        self.deadline_s = math.inf
        self._scope = trio.CancelScope()
        self._deadline_scope = self._scope
        self._expiry = Ending.TIMEOUT
        self._is_head_timed = False
        self._unsent_bytes = 0
        self._event_count = 0
        self._exchange: Exchange | None = None

    @property
    def exchange(self) -> Exchange | None:
        """The request that is being answered."""
        return self._exchange

    # --- deadlines -----------------------------------------------------------------------------

    def arm(self, after_s: float, expiry: Ending, scope: trio.CancelScope | None = None) -> None:
        """Set the one deadline this connection has; `disarm` or another `arm` takes it back.

        Args:
            expiry: how the answer under way is recorded as ended if the deadline passes.
            scope: what is cancelled then; by default the connection.
        """
        self.deadline_s = self.server.clock.now_s + after_s
        self._expiry = expiry
        self._deadline_scope = scope or self._scope

    def disarm(self) -> None:
        """Nothing is due."""
        self.deadline_s = math.inf

    def expire(self) -> None:
        """The deadline has passed: end what it was for."""
        if self._expiry is Ending.STALLED:
            # A socket is writable only once a large part of its buffer is free: ask how much is.
            before = self._unsent_bytes
            self._arm_stall()
            if self._unsent_bytes < before:
                return
            self.disarm()
        if self._exchange is not None:
            self._exchange.ending = self._expiry
        self._deadline_scope.cancel()

    @property
    def waits_for_client(self) -> bool:
        """Its client must take bytes before it gets more."""
        return self._expiry is Ending.STALLED and self.deadline_s < math.inf

    def end_when_idle(self) -> None:
        """The server drains: close now if no request has begun, else after its answer."""
        if self._exchange is None and not self.protocol.head_started:
            self._scope.cancel()

    def cut(self, ending: Ending) -> None:
        """End the connection now, whatever it does; the first reason is the one recorded."""
        if self._exchange is not None and self._exchange.ending is Ending.COMPLETE:
            self._exchange.ending = ending
        self._scope.cancel()

    # --- Outlet --------------------------------------------------------------------------------

    @property
    def raw(self) -> socket.socket | None:
        """The socket for the pump to push to, if it is one."""
        return self.transport.raw

    async def send_some(self, pieces: Sequence[Piece]) -> int:
        """As `Transport.send_some`, within the stall limit."""
        return self._handed_over(await self.transport.send_some(pieces, self._arm_stall))

    async def send_file(self, head: Piece, part: FileRange) -> int:
        """As `Transport.send_file`, within the stall limit."""
        return self._handed_over(await self.transport.send_file(head, part, self._arm_stall))

    def _handed_over(self, sent_bytes: int) -> int:
        self.deadline_s = math.inf
        exchange = self._exchange
        if exchange is not None and exchange.first_byte_at_s is None and exchange.status:
            exchange.first_byte_at_s = trio.current_time()
        return sent_bytes

    def _arm_stall(self) -> None:
        self._unsent_bytes = self.transport.unsent_bytes()
        self.arm(self.server.settings.reader_stall_s, Ending.STALLED)

    async def watch(self) -> NoReturn:
        """Wait until the client leaves; what it sends is kept for its next request, bounded."""
        while (room := PIPELINED_BYTES - self.protocol.buffered_bytes) > 0:
            data = await self.transport.receive(room)
            if not data:
                raise trio.BrokenResourceError("the client closed its end")
            self.protocol.receive(data)
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def next_event(self) -> Event:
        """What `ServerProtocol.next_event` gives, letting others run now and then.

        Cancellation: nothing is lost.
        """
        self._event_count += 1
        if not self._event_count % EVENTS_PER_YIELD:
            await trio.lowlevel.checkpoint()
        return self.protocol.next_event()

    # --- the life of a connection --------------------------------------------------------------

    async def serve(self) -> None:
        """Answer requests until one side ends it. Never raises but `trio.Cancelled`."""
        is_cut = True
        try:
            with self._scope:
                if type(self.transport) is TlsTransport:
                    await self._shake_hands(self.transport)
                await self._serve_requests()
                is_cut = False
            if self._scope.cancelled_caught and self._is_head_timed:
                await self._time_out()
                is_cut = False
        except trio.BrokenResourceError:
            pass  # the client left: there is nobody to tell
        finally:
            await self.transport.close(reset=is_cut and self.protocol.is_sending)

    async def _shake_hands(self, transport: TlsTransport) -> None:
        """The handshake, within the time that a head may take; many must not wait at once."""
        handshakes = self.server.handshakes
        if len(handshakes) >= HANDSHAKES_MAX:  # one that is honest took less time than the oldest
            next(iter(handshakes)).cut(Ending.TIMEOUT)
        handshakes[self] = None
        try:
            self.arm(self.server.settings.header_timeout_s, Ending.TIMEOUT)
            await transport.handshake()
            self.disarm()
        finally:
            handshakes.pop(self, None)

    async def _serve_requests(self) -> None:
        protocol, settings = self.protocol, self.server.settings
        while True:
            event = await self.next_event()
            if event is NEED_DATA:
                if not protocol.head_started:
                    if self.server.is_draining:
                        return
                    self._is_head_timed = False  # what had come was an empty line
                    self.arm(settings.idle_timeout_s, Ending.TIMEOUT)
                elif not self._is_head_timed:  # counted from the first byte, not from the last
                    self._is_head_timed = True
                    self.arm(settings.header_timeout_s, Ending.TIMEOUT)
                protocol.receive(await self.transport.receive(PIPELINED_BYTES))
            elif type(event) is Request:
                self._is_head_timed = False
                self.deadline_s = math.inf
                await self._exchange_one(event)
                if not await self._settle():
                    await self._linger()
                    return
            elif type(event) is Refusal:
                self._is_head_timed = False
                await self._refuse(event)
                return
            else:
                assert type(event) is Closed
                if not event.clean:
                    protocol.give_up()
                    await self._refuse(Refusal(400, "the request's head ended before its end"))
                return

    async def _exchange_one(self, request: Request) -> None:
        exchange = self._exchange = Exchange(self, request)
        try:
            await self.server.handler(request.method)(exchange)
        except trio.BrokenResourceError:
            exchange.ending = Ending.CLIENT_GONE
            raise
        except trio.Cancelled:
            if exchange.ending is Ending.COMPLETE:
                exchange.ending = Ending.DRAIN
            raise
        except Exception:  # a handler's fault must not take the other connections with it
            exchange.ending = Ending.FAILED
            self.server.log.note(traceback.format_exc())
            self.protocol.close_after()
            if not exchange.status:
                await exchange.refuse(500, "a fault in the server; its log says which")
        finally:
            self._exchange = None
            self.server.ended(exchange)

    async def _settle(self) -> bool:
        """Bring the exchange to its end: discard what is left of the request's body.

        Returns:
            whether the connection may carry another request.
        """
        protocol, settings = self.protocol, self.server.settings
        if protocol.is_sending:  # the answer was cut
            raise trio.BrokenResourceError("the answer could not be finished")
        if protocol.has_body and protocol.may_persist:
            # Encoders exit when their connection is closed, so an early answer doesn't close it.
            self.arm(settings.discard_s, Ending.TIMEOUT)
            left = settings.object_limit_bytes
            while left >= 0 and protocol.has_body:
                events = [await self.next_event()]
                if events[0] is NEED_DATA:
                    events = protocol.take(await self.transport.receive())
                left -= sum(len(event.data) for event in events if type(event) is Data)
                if type(events[-1]) in (Refusal, Closed):
                    break
            self.disarm()
        return protocol.start_next_cycle()

    async def _refuse(self, refusal: Refusal) -> None:
        await self._send_last(refusal.status, refusal.detail)
        await self._linger()

    async def _time_out(self) -> None:
        """A head came too slowly: say so if the client listens at all."""
        detail = "the request's head did not come within the header timeout"
        self.protocol.give_up()
        with trio.move_on_after(LAST_WORD_S):
            await self._send_last(408, detail)

    async def _send_last(self, status: int, detail: str) -> None:
        self.server.refused(self, status, detail)  # first: the client may be gone
        left = memoryview(self.server.problem_bytes(self, status, detail))
        while left:
            left = left[await self.send_some([left]) :]
        self.protocol.message_sent()

    async def _linger(self) -> None:
        await self.transport.finish()
        self.arm(LINGER_S, Ending.TIMEOUT)
        left = LINGER_BYTES
        while left > 0 and (data := await self.transport.receive()):
            left -= len(data)

    def write_head(self, status: int, fields: bytes, length: int | None | NoLength) -> bytes:
        """The head of an answer, with Date and what the connection's state asks for."""
        if self.server.is_draining:
            self.protocol.close_after()
        return self.protocol.head(status, fields, length, self.server.clock.date)
