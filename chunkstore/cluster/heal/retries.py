"""What failed is tried again: later each time, never all at once, and never given up. Pure."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["FIRST_S", "LONGEST_S", "Retries"]

FIRST_S = 1.0
"""After the first failure; twice as long after each one more."""
LONGEST_S = 600.0
HOPELESS_COUNT = 6
"""Behind so many failures, half a minute to a minute, nothing else waits for an object any more."""
RETRIES_MAX = 10_000
"""Objects that are known to have failed; more are found by going through all manifests again."""


class Retries:
    """Objects that wait to be tried again.

    Args:
        draw: chance, in [0, 1): those that failed together don't all come back together.

    Attributes:
        left_out_count: failed, and aren't kept.
    """

    __slots__ = ("_draw", "_hopeful", "_left_out_due_s", "_waiting", "left_out_count")

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._waiting: dict[int, tuple[int, float]] = {}  # failures so far, when it is due
        self._hopeful: set[int] = set()
        self.left_out_count = 0
        self._left_out_due_s = 0.0

    @property
    def is_hopeful(self) -> bool:
        """Some of them may well be done soon."""
        return bool(self._hopeful)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, generation: int) -> bool:
        return generation in self._waiting

    def failed(self, generation: int, now_s: float) -> None:
        """It did, once more."""
        count, _ = self._waiting.get(generation, (0, 0.0))
        if not count and len(self._waiting) >= RETRIES_MAX:
            self.left_out_count += 1
            self._left_out_due_s = now_s + LONGEST_S
            return
        delay_s = min(FIRST_S * 2.0 ** min(count, 32), LONGEST_S) * (0.5 + self._draw() / 2)
        self._waiting[generation] = count + 1, now_s + delay_s
        if count + 1 < HOPELESS_COUNT:
            self._hopeful.add(generation)
        else:
            self._hopeful.discard(generation)

    def done(self, generation: int) -> None:
        """It has what it needs, or is gone."""
        self._waiting.pop(generation, None)
        self._hopeful.discard(generation)

    def is_left_out_due(self, now_s: float) -> bool:
        """Whether there are some of those, and they may be looked for again; true once."""
        is_due = bool(self.left_out_count) and now_s >= self._left_out_due_s
        if is_due:
            self.left_out_count = 0
        return is_due

    def due(self, now_s: float) -> list[int]:
        """Objects whose time has come; each once, until it failed again. Cost: O(all)."""
        due = [number for number, (_, due_s) in self._waiting.items() if due_s <= now_s]
        for generation in due:
            count, _ = self._waiting[generation]
            self._waiting[generation] = count, float("inf")
        return due
