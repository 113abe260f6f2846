"""What the demo counts, and how long chunks took."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

from chunkstore.metrics import Metrics

__all__ = ["Figures", "Latencies", "Report"]

_RATIO = 1.01
_LOG_RATIO = math.log(_RATIO)
_BUCKETS = 2100
"""Buckets that grow by 1 %, from 1 us to 1000 s: the error of a quantile, and the memory of any
number of samples."""
_REMEMBERED_SEGMENTS = 1024


class Latencies:
    """A histogram of durations whose size doesn't grow with their number."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets = [0] * _BUCKETS

    def add(self, duration_s: float) -> None:
        """Count a duration; below 1 us counts as that, above 1000 s as that."""
        index = int(math.log(max(duration_s * 1e6, 1.0)) / _LOG_RATIO)
        self._buckets[min(index, _BUCKETS - 1)] += 1
        self.count += 1

    def quantile_ms(self, share: float) -> float | None:
        """The duration that `share` of all are not longer than, in ms, within 1 %.

        Args:
            share: 0 < share <= 1.
        Returns:
            None as long as there is none.
        """
        left = math.ceil(share * self.count)
        for index, count in enumerate(self._buckets):
            left -= count
            if count and left <= 0:
                return float(f"{_RATIO ** (index + 0.5) / 1000:.3g}")
        return None


@dataclass(frozen=True, slots=True)
class Report:
    """The figures at one moment.

    Attributes:
        seconds: since the first chunk reached a reader.
        segments: media segments that a reader received to their end.
        chunks: HTTP chunks that readers received.
        bytes: of media that readers received.
        readers: connections that follow a representation, each.
        p50_ms, p99_ms: from the chunk's last byte arriving at the origin to a reader having it, of
            the chunks that arrived while the reader was there; None as long as there were none.
        timed: how many those were.
        cut: segments whose body ended before its end.
        missed: segments that a reader asked for and that did not come.
        refused: uploads that the origin refused.
        aborted: uploads that did not become complete.
        mpd_url: of the stream.
    """

    seconds: float
    segments: int
    chunks: int
    bytes: int
    readers: int
    p50_ms: float | None
    p99_ms: float | None
    timed: int
    cut: int
    missed: int
    refused: int
    aborted: int
    mpd_url: str


class Figures:
    """What players count while they run.

    Args:
        metrics: of the origin.
        mpd_url: of the stream.
    """

    def __init__(self, metrics: Metrics, mpd_url: str) -> None:
        self.began_s: float | None = None
        self.last_s = 0.0
        """When a reader had a chunk: the first and the last, by `time.perf_counter`."""
        self.latencies = Latencies()
        self.chunks = 0
        self.bytes = 0
        self.readers = 0
        self.cut = 0
        self.missed = 0
        self._segments = 0
        self._recent: deque[str] = deque(maxlen=_REMEMBERED_SEGMENTS)
        self._metrics = metrics
        self.mpd_url = mpd_url

    def received(self, size_bytes: int, *, is_chunk_end: bool) -> float:
        """A reader has so many more bytes; returns when, by `time.perf_counter`."""
        self.last_s = time.perf_counter()
        if self.began_s is None:
            self.began_s = self.last_s
        self.bytes += size_bytes
        self.chunks += is_chunk_end
        return self.last_s

    def whole(self, path: str) -> None:
        """A reader has a segment to its end; the same one counts once, however many have it."""
        if path not in self._recent:
            self._recent.append(path)
            self._segments += 1

    def report(self) -> Report:
        """The figures now."""
        began_s = self.began_s
        return Report(
            seconds=0.0 if began_s is None else round(time.perf_counter() - began_s, 1),
            segments=self._segments,
            chunks=self.chunks,
            bytes=self.bytes,
            readers=self.readers,
            p50_ms=self.latencies.quantile_ms(0.5),
            p99_ms=self.latencies.quantile_ms(0.99),
            timed=self.latencies.count,
            cut=self.cut,
            missed=self.missed,
            refused=sum(self._metrics.uploads_refused.values()),
            aborted=sum(self._metrics.aborts.values()),
            mpd_url=self.mpd_url,
        )
