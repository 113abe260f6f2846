"""How long to wait for a node before others are asked as well. Pure: the time comes in.

A node is late when a unit takes three times as long as units usually do, slow ones counted: three
times the 95th percentile. What is usual is the median of what the nodes have, so that a slow one
is late for as long as it is slow, instead of being waited for because it always was.
"""

from __future__ import annotations

from collections import deque
from statistics import median

__all__ = ["FIRST_S", "LAG_S", "LEAST_S", "SHUNNED_S", "SPARED_S", "Patience"]

LEAST_S = 0.05
"""Nobody is late before that: a pause of the garbage collector is no reason to ask twice."""
TIMES = 3.0
SHUNNED_S = 5.0
"""A node that was late or broke off is asked last for so long; then it may show that it is back."""
LAG_S = 0.01
"""Who looks for late ones so much later than was due was held up itself: no node did that."""
SPARED_S = 0.1
"""So much of that is made up for in one fetch."""
_SAMPLES = 64
"""Kept of each node; some 2 KiB."""
FIRST_S = 0.15
"""Late is what takes longer, as long as nothing is known."""
_RENEWED = 64
"""The percentiles are computed anew after so many samples."""


class Patience:
    """What is known of how fast nodes answer; they never go, so it grows with their number alone.

    Attributes:
        late_s: a unit that takes longer, since it was asked for or the one before came, is late.
    """

    def __init__(self) -> None:
        self.late_s = FIRST_S
        self._samples: dict[int, deque[float]] = {}
        self._shunned_until_s: dict[int, float] = {}
        self._fresh = 0

    def took(self, node: int, seconds: float) -> None:
        """A unit came from a node after so long. Cost: 50 us now and then."""
        self._samples.setdefault(node, deque(maxlen=_SAMPLES)).append(seconds)
        self._fresh += 1
        if self._fresh >= _RENEWED:
            self._fresh = 0
            usual_s = median(_percentile(samples) for samples in self._samples.values())
            self.late_s = max(LEAST_S, TIMES * usual_s)

    def shun(self, node: int, now_s: float) -> None:
        """A node was late or broke off: ask others first for a while."""
        self._shunned_until_s[node] = now_s + SHUNNED_S

    def is_shunned(self, node: int, now_s: float) -> bool:
        """Whether others are asked first."""
        return self._shunned_until_s.get(node, now_s) > now_s


def _percentile(samples: deque[float]) -> float:
    """The 95th, rounded up to a sample."""
    return sorted(samples)[int(len(samples) * 0.95)]
