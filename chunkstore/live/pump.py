"""The pump: the one task that pushes to all readers at all live edges.

One task for all open objects, not one for each: what is published first is pushed to all its
readers first, instead of everything being late together; and while the machine is behind, frames
that wait for their turn gather more chunks, so that it catches up.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import trio

from chunkstore.metrics import Histogram

if TYPE_CHECKING:
    from chunkstore.live.broadcast import Broadcast

__all__ = ["Pump"]

SENDS_PER_TURN = 256
"""After so many sends another object's readers get their turn: two milliseconds of work."""
SHARE_MIN_S = 0.0005
SHARE_MAX_S = 0.02


class Pump:
    """Takes broadcasts in the order in which they have something new.

    Args:
        ages: counts how old bytes are when they are handed over.
    """

    def __init__(self, ages: Histogram) -> None:
        self._ages = ages
        self._due: deque[Broadcast] = deque()
        self._woken = trio.Event()
        self._share_s = SHARE_MIN_S

    def add(self, broadcast: Broadcast) -> None:
        """Have `broadcast` pushed; it must not be waiting already."""
        self._due.append(broadcast)
        self._woken.set()

    def sent(self, arrived_s: float, count: int) -> None:
        """Bytes that came at `arrived_s` were just handed over to so many readers."""
        self._ages.add(trio.current_time() - arrived_s, count)

    async def run(self) -> None:
        """Push until cancelled.

        Live readers come before those who catch up: the pump works for as long as everybody else
        together worked while it was away, so a storm of joins takes half the time at most.
        """
        while True:
            self._woken = trio.Event()
            await self._push_all()
            await self._woken.wait()

    async def _push_all(self) -> None:
        resumed_s = time.perf_counter()
        while self._due:
            if self._due[0].push(SENDS_PER_TURN):
                self._due.popleft()  # held by nothing here: it may be large and gone by now
            else:
                self._due.rotate(-1)
            now_s = time.perf_counter()
            if now_s - resumed_s >= self._share_s:
                await trio.lowlevel.checkpoint()
                resumed_s = time.perf_counter()
                self._share_s = min(max(resumed_s - now_s, SHARE_MIN_S), SHARE_MAX_S)
