"""What repair has done and has to do, in numbers. Pure: time comes in as an argument."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

__all__ = ["Progress", "Rate"]

RATE_S = 60.0
"""So far back goes what "now" is in bytes a second."""


class Progress(NamedTuple):
    """How far repair is.

    Attributes:
        waiting: objects that lack parts which can be made, by how many more parts of them can be
            lost.
        left_out_count: such objects beyond those: too many to keep, or to be tried again later.
        bytes: to be written for all of them, about.
        unreadable_count: objects of which fewer parts can be had than it takes to read them.
        is_paused: too many nodes vanished together: they are waited for.
        bytes_s: written a second in the last minute.
    """

    waiting: dict[int, int]
    left_out_count: int
    bytes: int
    unreadable_count: int
    is_paused: bool
    bytes_s: float

    @property
    def eta_s(self) -> float | None:
        """How long it will take at this pace; None: nobody knows."""
        if not self.bytes:
            return 0.0
        return self.bytes / self.bytes_s if self.bytes_s and not self.is_paused else None


class Rate:
    """Bytes a second in the last minute, or since there are any."""

    __slots__ = ("_began_s", "_bytes", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()  # second, bytes in it
        self._bytes = 0
        self._began_s = 0.0

    def note(self, size_bytes: int, now_s: float) -> None:
        """So many more."""
        self._expire(now_s)
        if not self._seconds:
            self._began_s = now_s
        second = int(now_s)
        last = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == second else 0
        self._seconds.append((second, last + size_bytes))
        self._bytes += size_bytes

    def bytes_s(self, now_s: float) -> float:
        """As of now."""
        self._expire(now_s)
        return self._bytes / min(RATE_S, max(1.0, now_s - self._began_s))

    def _expire(self, now_s: float) -> None:
        while self._seconds and self._seconds[0][0] < now_s - RATE_S:
            self._bytes -= self._seconds.popleft()[1]
