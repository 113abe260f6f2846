"""What the readers of an upload that broke off may expect of the next upload of its path.

An encoder that loses its connection sends the segment again. Whoever has read a part of the first
upload, the *superseded* one, may go on in the second, its *successor*, as soon as that has the same
bytes as far as they have read; where the two differ only those who have read beyond that are lost.
"""

from __future__ import annotations

import math

from chunkstore.objects.generation import Generation
from chunkstore.ring import Ring

__all__ = ["KEPT_COUNT", "Claim"]

KEPT_COUNT = 4
"""Superseded generations kept of one path; the oldest is given up first."""
COMPARE_BYTES = 64 * 1024
"""Compared at a time: so much is copied for it, and not kept."""


class Claim:
    """The claim of a superseded generation's readers to a successor.

    Args:
        generation: the superseded one.
        now_s: when that happened.

    Attributes:
        successor: the upload that it is compared with, once there is one.
        matched_bytes: the two begin with so many equal bytes, as far as both are published.
        differs_at: where they differ, or where the successor is complete and shorter; None so far.
        deadline_s: when the generation is given up; infinite while the successor matches.
    """

    __slots__ = (
        "_left_s",
        "deadline_s",
        "differs_at",
        "generation",
        "matched_bytes",
        "successor",
    )

    def __init__(self, generation: Generation, now_s: float) -> None:
        self.generation = generation
        self.successor: Generation | None = None
        self.matched_bytes = 0
        self.differs_at: int | None = None
        self._left_s = generation.policy.abort_grace_s
        self.deadline_s = now_s + self._left_s

    @property
    def is_decided(self) -> bool:
        """All of its readers can go on, or it is known which can't."""
        return self.differs_at is not None or (
            self.successor is not None and self.matched_bytes == self.generation.ring.end
        )

    def allows(self, offset: int) -> bool:
        """Whether a reader that was sent the bytes before `offset` can go on in the successor."""
        return self.successor is not None and offset <= self.matched_bytes

    def forbids(self, offset: int) -> bool:
        """Whether such a reader has read something that the successor doesn't have."""
        return self.differs_at is not None and offset > self.differs_at

    def begin(self, successor: Generation) -> None:
        """A new upload of the path has begun, and this claim had none."""
        self.successor = successor

    def compare(self, now_s: float) -> None:
        """Look at what the successor has now; to be called whenever it grew or ended.

        Cost: O(new bytes); a copy of 64 KiB at a time.
        """
        assert self.successor is not None
        if self.successor.abort is not None:  # it broke off, too: the next one is awaited
            self.successor, self.matched_bytes, self.differs_at = None, 0, None
        elif self.differs_at is None:
            old, new = self.generation.ring, self.successor.ring
            both = min(old.end, new.end)
            self.matched_bytes = _equal_until(old, new, self.matched_bytes, both)
            if self.matched_bytes < both or (new.is_sealed and both < old.end):
                self.differs_at = self.matched_bytes
        self._keep_time(now_s)

    def _keep_time(self, now_s: float) -> None:
        """The grace runs out only while no successor matches."""
        is_matching = self.matched_bytes > 0 and self.differs_at is None
        if is_matching and self.deadline_s != math.inf:
            self._left_s = max(0.0, self.deadline_s - now_s)
            self.deadline_s = math.inf
        elif not is_matching and self.deadline_s == math.inf:
            self.deadline_s = now_s + self._left_s


def _equal_until(one: Ring, other: Ring, start: int, stop: int) -> int:
    """Where two payloads first differ in [start, stop); `stop` if they don't."""
    while start < stop:
        upto = min(start + COMPARE_BYTES, stop)
        left, right = (b"".join(ring.views(start, upto)) for ring in (one, other))
        if left != right:
            return start + _first_difference(left, right)
        start = upto
    return stop


def _first_difference(left: bytes, right: bytes) -> int:
    """The index of the first byte that differs; both have the same length, and one does."""
    low, high = 0, len(left)  # equal before low, different before high
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low
