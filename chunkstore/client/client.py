"""The connection: made when needed, kept as long as it lasts, closed when in doubt."""

from __future__ import annotations

import math
import select
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import suppress
from typing import TypeAlias

import h11
import trio

from chunkstore.client.answer import DETAIL_CHARS, Answer, Piece, joined
from chunkstore.client.dial import Connect, dial, reason_of
from chunkstore.client.flow import Buffer, Flow
from chunkstore.client.timeouts import Timeouts
from chunkstore.client.url import Url
from chunkstore.errors import ConnectError, CutError, FetchError, StalledError

__all__ = ["Client"]

RECEIVE_BYTES = 64 * 1024
WAKE_BYTES = 512 * 1024
"""More isn't waited for before the system tells of it: it would be held back in its buffers."""
HEAD_BYTES = 64 * 1024
INTERIM_COUNT = 1000
"""Heads of 1xx before an answer: each that comes is waited behind anew."""
_SAFE = frozenset(("GET", "HEAD", "LIST", "OPTIONS"))

Fields: TypeAlias = Sequence[tuple[str, str]]


class Client(trio.abc.AsyncResource):
    """A request at a time to one server; for requests side by side, have several.

    Args:
        url: of the server; its path is ignored, its credentials are used.
        token: a bearer token, where the URL has no credentials.
        timeouts: how long to wait for something to move.
        connect: makes a connection.
    """

    def __init__(
        self,
        url: Url,
        *,
        token: str | None = None,
        timeouts: Timeouts | None = None,
        connect: Connect = dial,
    ) -> None:
        self._url = url
        self._timeouts = timeouts or Timeouts()
        self._connect = connect
        self._flow: Flow | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._is_framed = self._is_kept = True
        self._length: int | None = None
        self._ahead: bytes | None = None  # of a body that is read past the parser
        self._fields = [("Host", url.authority), ("User-Agent", "chunkstore")]
        authorization = url.authorization or (f"Bearer {token}" if token else "")
        if authorization:
            self._fields.append(("Authorization", authorization))

    async def request(
        self,
        method: str,
        target: str,
        fields: Fields = (),
        *,
        body: AsyncIterable[bytes] | bytes | None = None,
        length: int | None = None,
        hold_s: float = 0.0,
    ) -> Answer:
        """Send a request and wait for the head of its answer.

        The answer is listened for while the body is sent: one that refuses ends the sending,
        whatever is left, and the connection carries no other request. One of success doesn't end
        it: a body of which a part was sent isn't stored. A request without a body that changes
        nothing is sent once more if the connection it went out on had been kept and was gone.

        Args:
            target: path and query, percent-encoded.
            fields: beyond Host, User-Agent, Authorization and framing.
            body: what to send; each item becomes an HTTP chunk of its own, empty ones none. `bytes`
                go out with the head, and the answer is listened for behind them: for what is small.
            length: of the body in bytes, sent as Content-Length; None: chunked, but for `bytes`.
            hold_s: how much longer than usual the answer may take, because it was asked to wait.
        Raises:
            ConnectError: there is no connection to the server.
            CutError: it ended before the answer's head, or before the body that it says it took.
            StalledError: nothing moved.
            FetchError: what came is not HTTP, or the body had not the length promised.
            Exception: whatever `body` raised.
        Cancellation: the connection is closed.
        """
        asked = f"{method} {target}"
        if isinstance(body, bytes):
            length = len(body)
        try:
            request = self._head(method, target, fields, body is not None, length)
            was_kept = await self._ready()
            try:
                response = await self._exchange(asked, request, body, hold_s)
            except CutError:
                if not was_kept or body is not None or method not in _SAFE:
                    raise
                await self.aclose()
                await self._ready()
                response = await self._exchange(asked, request, body, hold_s)
        except BaseException:  # cancelled too: what is on its way has no reader any more
            await self.aclose()
            raise
        return self._answer(asked, method, response)

    def _answer(self, asked: str, method: str, response: h11.Response) -> Answer:
        """What has its head; how its body ends, and whether anything may follow, is in that."""
        names = joined(response.headers)
        if "transfer-encoding" in names:
            names.pop("content-length", None)  # it says nothing then (RFC 9112 section 6.3)
        trailers: dict[str, str] = {}
        # Else its end is the connection's, which a cut has as well.
        self._is_framed = (
            method == "HEAD"
            or response.status_code in (204, 304)
            or not names.keys().isdisjoint(("content-length", "transfer-encoding"))
        )
        self._is_kept = response.http_version == b"1.1" and "close" not in names.get(
            "connection", ""
        )
        has_length = self._is_framed and "content-length" in names and method != "HEAD"
        self._length = int(names["content-length"]) if has_length else None
        self._ahead = None
        return Answer(
            asked,
            response.status_code,
            names,
            lambda: self._piece(asked, trailers),
            lambda *sizes: self._some(asked, *sizes),
            trailers,
        )

    @property
    def is_ready(self) -> bool:
        """It has a connection that can carry another request, and its server didn't close that.

        Cost: a system call.
        """
        if self._flow is None or not self._is_between:
            return False
        if not isinstance(self._flow.stream, trio.SocketStream):
            return True
        poll = select.poll()
        poll.register(self._flow.stream.socket.fileno(), select.POLLIN)
        return not poll.poll(0)  # nothing is due: what comes now is its end

    async def aclose(self) -> None:
        """Close the connection at once, if there is one; the next request makes another."""
        flow, self._flow = self._flow, None
        if flow is not None:
            await trio.aclose_forcefully(flow.stream)

    # --- a request -----------------------------------------------------------------------------

    def _head(
        self, method: str, target: str, fields: Fields, has_body: bool, length: int | None
    ) -> h11.Request:
        framing: list[tuple[str, str]] = []
        if has_body and length is None:
            framing = [("Transfer-Encoding", "chunked")]
        elif has_body:
            framing = [("Content-Length", str(length))]
        try:
            # As they came: an ETag is given back byte for byte.
            headers = [
                (name.encode("ascii"), value.encode("latin-1"))
                for name, value in (*self._fields, *fields, *framing)
            ]
            return h11.Request(method=method, target=target, headers=headers)
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise FetchError(f"{method} {target}: no request can say this: {error}") from error

    @property
    def _is_between(self) -> bool:
        """What was asked is answered, to its end, and nothing came behind that."""
        ours, theirs = self._http.our_state, self._http.their_state
        is_answered = ours is theirs and ours in (h11.IDLE, h11.DONE)
        return is_answered and not self._http.trailing_data[0]

    async def _ready(self) -> bool:
        """Have a connection that can carry a request; whether it carried one before."""
        if not self._is_between:
            await self.aclose()
        elif self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        if self._flow is not None:
            return True
        authority = self._url.authority
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        try:
            with trio.fail_after(self._timeouts.connect_s):
                self._flow = Flow(await self._connect(self._url))
        except trio.TooSlowError as error:
            detail = f"no connection to {authority} within {self._timeouts.connect_s:g} s"
            raise ConnectError(detail) from error
        except (OSError, trio.BrokenResourceError) as error:
            if isinstance(cause := error.__cause__, ssl.SSLCertVerificationError):
                # No other try would end differently.
                raise FetchError(f"no trust in {authority}: {cause.verify_message}") from error
            raise ConnectError(f"no connection to {authority}: {reason_of(error)}") from error
        return False

    async def _exchange(
        self,
        asked: str,
        request: h11.Request,
        body: AsyncIterable[bytes] | bytes | None,
        hold_s: float,
    ) -> h11.Response:
        head = self._http.send(request) or b""
        if body is None or isinstance(body, bytes):
            pieces = [head]
            if body:
                pieces += self._http.send_with_data_passthrough(h11.Data(body)) or []
            self._http.send(h11.EndOfMessage())  # which has no bytes of its own here
            with suppress(trio.BrokenResourceError):  # the answer, or its absence, says more
                await self._send(asked, *pieces)
            return await self._response(asked, self._timeouts.stall_s + hold_s)
        return await self._exchange_body(asked, head, body, hold_s)

    async def _exchange_body(
        self, asked: str, head: bytes, body: AsyncIterable[bytes], hold_s: float
    ) -> h11.Response:
        """Send and listen side by side; whichever fails first is the error, and no group is."""
        response: h11.Response | None = None
        failure: Exception | None = None
        is_sent = False
        # Nothing is due before the body is sent, however slowly its source gives it.
        patience = trio.CancelScope()

        async def send() -> None:
            nonlocal failure, is_sent
            try:
                await self._send_body(asked, head, body)
                is_sent = True
                patience.deadline = trio.current_time() + self._timeouts.stall_s + hold_s
            except trio.BrokenResourceError:
                # A server that refuses may close before it has read all: its answer says why.
                patience.deadline = trio.current_time() + self._timeouts.stall_s
            except Exception as error:  # of the body's source: the caller's own
                failure = error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            try:
                with patience:
                    response = await self._response(asked)
                if patience.cancelled_caught:
                    failure = self._stalled(asked, "no answer came")
            except FetchError as error:
                failure = failure or error
            is_taken = response is not None and response.status_code < 300
            if not is_taken:
                nursery.cancel_scope.cancel()
        if response is not None and not (is_taken and not is_sent):
            return response
        raise failure or CutError(f"{asked}: it was answered before all of the body was sent")

    async def _send_body(self, asked: str, head: bytes, body: AsyncIterable[bytes]) -> None:
        """Send head and body; a body of known length is there, and its first piece goes along."""
        if b"\r\ntransfer-encoding:" in head.lower():
            await self._send(asked, head)
            head = b""
        pieces = aiter(body)
        try:
            async for data in pieces:
                if data:
                    framed = self._http.send_with_data_passthrough(h11.Data(data)) or []
                    await self._send(asked, head, *framed)
                    head = b""
            if last := head + (self._http.send(h11.EndOfMessage()) or b""):
                await self._send(asked, last)
        except h11.LocalProtocolError as error:
            raise FetchError(f"{asked}: the body has not the length promised: {error}") from error
        finally:
            if isinstance(pieces, AsyncGenerator):  # perhaps in its midst
                with trio.CancelScope(shield=True):
                    await pieces.aclose()

    async def _send(self, asked: str, *pieces: Buffer) -> None:
        assert self._flow is not None
        if not await self._flow.send(pieces, self._timeouts.stall_s):
            raise self._stalled(asked, "the server took no bytes")

    # --- its answer ----------------------------------------------------------------------------

    async def _response(self, asked: str, patience_s: float | None = None) -> h11.Response:
        for _ in range(INTERIM_COUNT):
            event = await self._next_event(asked, patience_s)
            if isinstance(event, h11.Response):
                return event
        raise FetchError(f"{asked}: {INTERIM_COUNT} interim answers came, and none behind them")

    async def _piece(self, asked: str, trailers: dict[str, str]) -> Piece | None:
        try:
            event = await self._next_event(asked, self._timeouts.stall_s)
        except BaseException:  # cancelled too: what is on its way has no reader any more
            await self.aclose()
            raise
        if isinstance(event, h11.Data):
            return Piece(bytes(event.data), event.chunk_end)
        assert isinstance(event, h11.EndOfMessage)
        if not self._is_framed:
            await self.aclose()
            raise CutError(f"{asked}: nothing tells this answer's end from a cut")
        trailers.update(joined(event.headers))
        return None

    async def _some(self, asked: str, limit_bytes: int, least_bytes: int) -> bytes:
        """Some of a body past the parser, which would copy it three times over."""
        if self._length is None:
            raise FetchError(f"{asked}: the answer does not say its length")
        try:
            if self._ahead is None:
                came = self._http.trailing_data[0]
                self._ahead = came[: self._length]
                self._is_kept &= len(came) <= self._length  # more answers nothing that was asked
            data, self._ahead = self._ahead[:limit_bytes], self._ahead[limit_bytes:]
            if self._length and not data:
                data = await self._receive(
                    asked,
                    min(limit_bytes, self._length),
                    self._timeouts.stall_s,
                    least_bytes=min(least_bytes, self._length, WAKE_BYTES),
                )
                if not data:
                    raise CutError(f"{asked}: the answer was cut: {self._length} bytes are missing")
            self._length -= len(data)
            if not self._length:
                await self._finish()
        except BaseException:  # cancelled too: what is on its way has no reader any more
            await self.aclose()
            raise
        return data

    async def _finish(self) -> None:
        """The parser hasn't seen the end of the body: another one takes the next answer."""
        self._ahead = None
        if self._flow is not None:
            self._flow.wake_for(1)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        if not self._is_kept:
            await self.aclose()

    async def _receive(
        self, asked: str, limit_bytes: int, patience_s: float | None, *, least_bytes: int = 1
    ) -> bytes:
        if self._flow is None:
            raise CutError(f"{asked}: the connection is closed")
        patience_s = math.inf if patience_s is None else patience_s
        try:
            data = await self._flow.receive(limit_bytes, patience_s, least_bytes=least_bytes)
        except trio.BrokenResourceError as error:
            raise CutError(f"{asked}: the connection broke: {reason_of(error)}") from error
        if data is None:
            raise self._stalled(asked, "nothing came")
        return data

    async def _next_event(self, asked: str, patience_s: float | None) -> h11.Event:
        """The next event of the answer; `patience_s` None leaves the timing to the caller."""
        has_ended = False
        had_head = self._http.their_state is not h11.SEND_RESPONSE
        try:
            while True:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    assert isinstance(event, h11.Event)
                    return event
                data = await self._receive(asked, RECEIVE_BYTES, patience_s)
                has_ended = not data
                self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            if has_ended and not had_head:
                detail = "the server closed the connection without an answer"
                raise CutError(f"{asked}: {detail}") from error
            if has_ended:
                raise CutError(f"{asked}: the answer was cut: {error}") from error
            reason = str(error)[:DETAIL_CHARS]  # it quotes a line that is wrong, however long
            raise FetchError(f"{asked}: the answer is not HTTP: {reason}") from error

    def _stalled(self, asked: str, what: str) -> StalledError:
        return StalledError(f"{asked}: {what} for {self._timeouts.stall_s:g} s")
