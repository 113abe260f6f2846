"""Who reads a generation here, and what is due once nobody does. Pure: the time comes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

__all__ = ["GRACE_S", "Readers"]

GRACE_S = 600.0
"""Readers of what was replaced, or given up, may go on for so long; then what they read may go."""


class Readers:
    """The holds of all generations, and what waits for their end."""

    def __init__(self) -> None:
        self._holds: Counter[int] = Counter()
        self._waiting: dict[int, list[tuple[float, Callable[[], None]]]] = {}

    @property
    def generations(self) -> Collection[int]:
        """Those that somebody reads, as they come and go."""
        return self._holds.keys()

    def enter(self, generation: int) -> None:
        """One more."""
        self._holds[generation] += 1

    def leave(self, generation: int) -> None:
        """One fewer; behind the last, what waited for that is called."""
        self._holds[generation] -= 1
        if not self._holds[generation]:
            del self._holds[generation]
            for _, act in self._waiting.pop(generation, ()):
                act()

    def when_idle(self, generation: int, act: Callable[[], None], now_s: float) -> None:
        """Have `act` called as soon as nobody reads a generation, perhaps now; each once.

        Several may wait for one: parts of it were moved, and then it was replaced.
        """
        if self._holds[generation]:
            self._waiting.setdefault(generation, []).append((now_s + GRACE_S, act))
        else:
            act()

    def expire(self, now_s: float) -> None:
        """Call what has waited for as long as it may. Cost: O(what waits)."""
        for generation, waiting in list(self._waiting.items()):
            due = [act for deadline_s, act in waiting if deadline_s <= now_s]
            del waiting[: len(due)]
            if not waiting:
                del self._waiting[generation]
            for act in due:
                act()
