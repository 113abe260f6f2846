"""A GET at a time over HTTP/1.1, and its body chunk by chunk as it comes."""

from __future__ import annotations

from typing import NamedTuple

import h11
import trio

from chunkstore.errors import ChunkstoreError

__all__ = ["Answer", "Client", "CutError", "Piece"]

RECEIVE_BYTES = 64 * 1024


class CutError(ChunkstoreError):
    """The connection ended before the answer did: what came of the body is not all of it."""


class Answer(NamedTuple):
    """The head of an answer."""

    status: int
    etag: str


class Piece(NamedTuple):
    """Some of a body: at most one HTTP chunk, and whether it is the end of that chunk."""

    data: bytes
    is_chunk_end: bool


class Client(trio.abc.AsyncResource):
    """One connection at a time to one server; made when needed, kept as long as it lasts."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._stream: trio.abc.Stream | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def get(self, target: str, *, wait_s: int | None = None) -> Answer:
        """Send a GET and wait for the answer's head; the body before it must have been read.

        Args:
            target: path and query.
            wait_s: ask the server to hold the request so long (RFC 7240 section 4.3).
        Raises:
            CutError: there is no server, or it closed without an answer.
        Cancellation: the connection must be closed.
        """
        if self._http.our_state is self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            await self.aclose()
        fields = [("Host", f"{self._host}:{self._port}")]
        if wait_s is not None:
            fields.append(("Prefer", f"wait={wait_s}"))
        request = h11.Request(method="GET", target=target, headers=fields)
        try:
            if self._stream is None:
                self._http = h11.Connection(h11.CLIENT)
                self._stream = await trio.open_tcp_stream(self._host, self._port)
            data = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
            await self._stream.send_all(data)
        except (OSError, trio.BrokenResourceError) as error:
            await self.aclose()
            raise CutError(f"no connection to {self._host}:{self._port}: {error}") from error
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                fields_by_name = dict(event.headers)
                return Answer(event.status_code, fields_by_name.get(b"etag", b"").decode("latin-1"))

    async def piece(self) -> Piece | None:
        """The next piece of the body; None at its end, if it is whole.

        Raises:
            CutError: the connection ended first.
        Cancellation: the connection must be closed.
        """
        event = await self._next_event()
        if isinstance(event, h11.Data):
            return Piece(bytes(event.data), event.chunk_end)
        assert isinstance(event, h11.EndOfMessage)
        return None

    async def body(self) -> bytes:
        """The rest of the body, to its end. As `piece`."""
        pieces = []
        while (piece := await self.piece()) is not None:
            pieces.append(piece.data)
        return b"".join(pieces)

    async def aclose(self) -> None:
        """Close the connection at once, if there is one."""
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)
            self._stream = None

    async def _next_event(self) -> h11.Event:
        assert self._stream is not None
        try:
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))
                elif isinstance(event, h11.ConnectionClosed):
                    raise CutError("the server closed the connection without an answer")
                else:
                    assert isinstance(event, h11.Event)
                    return event
        except (CutError, h11.RemoteProtocolError, trio.BrokenResourceError) as error:
            await self.aclose()
            raise CutError(f"the answer was cut: {error}") from error
