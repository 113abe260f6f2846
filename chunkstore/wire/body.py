"""The body of a request: its framing walked, its data given out as views of the input.

h11 could give the bytes out, and is the oracle of the tests; but it copies them three times, and
that is half of what a 32 KiB chunk costs on its way in.
"""

from __future__ import annotations

from chunkstore.wire.chunks import ChunkScanner
from chunkstore.wire.events import Data, EndOfBody, Refusal
from chunkstore.wire.fields import Fields
from chunkstore.wire.limits import WireLimits

__all__ = ["Body"]


class Body:
    """One body, from behind its head to its last byte.

    Args:
        fields: what the head said of the framing.
        limits: the bounds to hold.
    """

    __slots__ = ("_left_bytes", "_scanner")

    def __init__(self, fields: Fields, limits: WireLimits) -> None:
        self._scanner = (
            ChunkScanner(limits.chunk_bytes, limits.body_bytes) if fields.chunked else None
        )
        self._left_bytes = fields.content_length or 0

    @property
    def lacks_only_last_chunk(self) -> bool:
        """It is chunked, and nothing but the last-chunk and its trailers is known to be missing."""
        return self._scanner is not None and self._scanner.is_between_chunks

    def next(self, data: memoryview, start: int) -> tuple[Data | EndOfBody | Refusal | None, int]:
        """Give the next event of the body.

        Args:
            data: the input; data events are views of it.
            start: position of the first byte not taken yet.
        Returns:
            the event, None if more input is needed, and the position behind what was taken for it.
        """
        scanner = self._scanner
        if scanner is None:
            if not self._left_bytes:
                return EndOfBody(), start
            stop = min(len(data), start + self._left_bytes)
            if start == stop:
                return None, stop
            self._left_bytes -= stop - start
            return Data(data[start:stop], False), stop
        position = scanner.scan(data, start)
        if scanner.data_stop:
            span = data[scanner.data_start : scanner.data_stop]
            return Data(span, scanner.is_chunk_end), position
        if scanner.refusal is not None:
            return scanner.refusal, len(data)
        return EndOfBody() if scanner.is_whole else None, position
