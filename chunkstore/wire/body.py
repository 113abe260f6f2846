"""The body of a request: its framing walked, its data copied once, out of the input.

h11 could give the bytes out, and is the oracle of the tests; but it copies them three times more,
and that is half of what a 32 KiB chunk costs on its way in.
"""

from __future__ import annotations

from collections import deque

from chunkstore.wire.chunks import Buffer, ChunkScanner
from chunkstore.wire.events import Data, EndOfBody, Refusal
from chunkstore.wire.fields import Fields
from chunkstore.wire.limits import WireLimits

__all__ = ["Body"]


class Body:
    """One body, from behind its head to its last byte.

    Args:
        fields: what the head said of the framing.
        limits: the bounds to hold.

    Attributes:
        held_bytes: data fed and not yet given out.
    """

    __slots__ = ("_events", "_left_bytes", "_scanner", "held_bytes")

    def __init__(self, fields: Fields, limits: WireLimits) -> None:
        self._scanner = (
            ChunkScanner(limits.chunk_bytes, limits.body_bytes) if fields.chunked else None
        )
        self._left_bytes = fields.content_length or 0
        self._events: deque[Data | EndOfBody | Refusal] = deque()
        self.held_bytes = 0

    @property
    def lacks_only_last_chunk(self) -> bool:
        """It is chunked, and nothing but the last-chunk and its trailers is known to be missing."""
        return self._scanner is not None and self._scanner.is_between_chunks

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
            self._keep(data, start, stop, is_chunk_end=False)
            if not self._left_bytes:
                self._events.append(EndOfBody())
            return stop
        position = scanner.scan(data, start)
        for first, last, is_chunk_end in scanner.spans:
            self._keep(data, first, last, is_chunk_end=is_chunk_end)
        if scanner.refusal is not None:
            self._events.append(scanner.refusal)
            return len(data)
        if scanner.is_whole:
            self._events.append(EndOfBody())
        return position

    def _keep(self, data: Buffer, start: int, stop: int, *, is_chunk_end: bool) -> None:
        self._events.append(Data(bytes(data[start:stop]), is_chunk_end))
        self.held_bytes += stop - start

    def next(self) -> Data | EndOfBody | Refusal | None:
        """Give the next event; None if more must be fed."""
        if not self._events:
            return None
        event = self._events.popleft()
        if type(event) is Data:
            self.held_bytes -= len(event.data)
        return event
