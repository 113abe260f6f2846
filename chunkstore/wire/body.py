"""The body of a request: its framing walked by us, its bytes given out by h11."""

from __future__ import annotations

from typing import cast

import h11

from chunkstore.wire.chunks import Buffer, ChunkScanner
from chunkstore.wire.events import Data, EndOfBody, Refusal
from chunkstore.wire.fields import Fields
from chunkstore.wire.limits import WireLimits

__all__ = ["Body"]


class Body:
    """One body, from behind its head to its last byte.

    Args:
        connection: the h11 connection that parsed the head.
        fields: what it said of the framing.
        limits: the bounds to hold.
    """

    __slots__ = ("_connection", "_held_bytes", "_left_bytes", "_scanner")

    def __init__(self, connection: h11.Connection, fields: Fields, limits: WireLimits) -> None:
        self._connection = connection
        self._scanner = ChunkScanner(limits.body_bytes) if fields.chunked else None
        self._left_bytes = fields.content_length or 0
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes fed and not yet given out as data."""
        return self._held_bytes

    def feed(self, data: Buffer, start: int) -> int:
        """Take what belongs to the body; after a refusal, that is everything.

        Args:
            data: the input; what is kept of it is copied.
            start: position of the first byte not fed yet.
        Returns:
            the position behind what was taken. It may stop short of the body's end: call `next`
            until it gives None, then feed the rest.
        """
        scanner = self._scanner
        if scanner is None:
            stop = min(len(data), start + self._left_bytes)
            self._left_bytes -= stop - start
            self._pass_on(data, start, stop)
            return stop
        position = start
        if not scanner.in_trailers:
            position = scanner.scan(data, start)
            self._pass_on(data, start, position)
        if scanner.in_trailers:
            # h11 would judge the trailers by the rules of a head; they are dropped, so it needn't.
            trailers = position
            position = scanner.scan(data, trailers)
            if scanner.is_whole and position > trailers:
                self._connection.receive_data(b"\r\n")
        return len(data) if scanner.refusal else position

    def next(self) -> Data | EndOfBody | Refusal | None:
        """Give the next event; None if more must be fed."""
        try:
            event = self._connection.next_event()
        except h11.RemoteProtocolError:
            return Refusal(400, "The body's framing is wrong.")
        if isinstance(event, h11.Data):
            self._held_bytes -= len(event.data)
            return Data(event.data, event.chunk_end)
        if isinstance(event, h11.EndOfMessage):
            return EndOfBody()
        self._held_bytes = 0
        return self._scanner.refusal if self._scanner else None

    def _pass_on(self, data: Buffer, start: int, stop: int) -> None:
        # h11 takes an empty piece for the EOF.
        if start == stop:
            return
        self._held_bytes += stop - start
        # h11 is typed for bytes and documented for any bytes-like object.
        if start == 0 and stop == len(data):
            self._connection.receive_data(cast("bytes", data))
        else:
            with memoryview(data) as view, view[start:stop] as piece:
                self._connection.receive_data(cast("bytes", piece))
