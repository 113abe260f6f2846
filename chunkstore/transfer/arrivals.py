"""When chunks came, and the gaps between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio

from chunkstore.client import Answer

__all__ = ["Arrival", "Arrivals", "follow"]

GAP_COUNT = 100_000
"""Gaps kept for the percentiles; past it every other one is dropped, again and again."""


class Arrival(NamedTuple):
    """A chunk that has come whole.

    Attributes:
        number: 1-based.
        since_s: from the moment of joining, when its last byte came.
        size_bytes: of the chunk.
        end: offset of its end in the object.
        gap_s: since the chunk before; None for the first.
        is_live: it came after all that was there at the moment of joining: only such gaps are the
            writer's.
    """

    number: int
    since_s: float
    size_bytes: int
    end: int
    gap_s: float | None
    is_live: bool


class Arrivals:
    """Counts chunks in and keeps what a summary needs.

    Args:
        there_bytes: how much of the object was there at the moment of joining.
        offset: of the first byte that comes.
    Attributes:
        count: of chunks.
        end: offset of the last byte that came.
        live_count: of chunks that count as live.
    """

    def __init__(self, there_bytes: int, offset: int = 0) -> None:
        self.count = self.live_count = 0
        self.end = offset
        self._there_bytes = there_bytes
        self._last: Arrival | None = None
        self._gaps: list[float] = []
        self._every, self._seen = 1, 0

    def add(self, since_s: float, size_bytes: int) -> Arrival:
        """Count a chunk in."""
        self.end += size_bytes
        last = self._last
        gap_s = None if last is None else since_s - last.since_s
        is_live = self.end > self._there_bytes
        self.count += 1
        arrival = Arrival(self.count, since_s, size_bytes, self.end, gap_s, is_live)
        if gap_s is not None and last is not None and last.is_live:
            self._keep(gap_s)
        self.live_count += is_live
        self._last = arrival
        return arrival

    def gap_s(self, share: float) -> float | None:
        """The gap between live chunks that this share of them don't exceed; None without any."""
        gaps = sorted(self._gaps)
        return gaps[min(len(gaps) - 1, int(share * len(gaps)))] if gaps else None

    def _keep(self, gap_s: float) -> None:
        self._seen += 1
        if self._seen % self._every == 0:
            self._gaps.append(gap_s)
        if len(self._gaps) >= GAP_COUNT:
            self._gaps = self._gaps[1::2]
            self._every *= 2


async def follow(answer: Answer, arrivals: Arrivals, on_chunk: Callable[[Arrival], None]) -> None:
    """Read an answer to its end, chunk by chunk; of one without chunks, nothing is told apart.

    Raises:
        FetchError: it was cut.
    Cancellation: the connection is closed.
    """
    began_s = trio.current_time()
    size_bytes = 0
    while (piece := await answer.piece()) is not None:
        size_bytes += len(piece.data)
        if piece.is_chunk_end:
            on_chunk(arrivals.add(trio.current_time() - began_s, size_bytes))
            size_bytes = 0
    if size_bytes:  # a body with a Content-Length: one piece
        on_chunk(arrivals.add(trio.current_time() - began_s, size_bytes))
