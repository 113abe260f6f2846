"""What happened to objects, newest last: a bounded log that operators can follow and resume."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import NamedTuple

__all__ = ["KINDS", "Event", "Journal"]

KINDS = (
    "created",
    "complete",
    "aborted",
    "displaced",
    "taken_over",
    "deleted",
    "expired",
    "evicted",
)
"""What can happen to a generation; "created" is when its PUT was let in."""
KEPT_COUNT = 1_000
"""Events that are remembered."""


class Event(NamedTuple):
    """One thing that happened."""

    id: int
    """Counted from 1 since the start."""
    kind: str
    """Of KINDS."""
    path: str
    generation: int
    facts: Mapping[str, int | str]
    """What else there is to say: bytes, a cause, a number of readers."""


class Journal:
    """The last events.

    Attributes:
        last_id: of the newest event; 0 before the first.
        watchers: called after each event, synchronously.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT_COUNT)
        self.last_id = 0
        self.watchers: set[Callable[[], None]] = set()

    def note(self, kind: str, path: str, generation: int, **facts: int | str) -> None:
        """Something happened. Cost: O(watchers)."""
        assert kind in KINDS
        self.last_id += 1
        self._events.append(Event(self.last_id, kind, path, generation, facts))
        for call in self.watchers:
            call()

    def since(self, last_id: int) -> tuple[int, list[Event]]:
        """What happened after the event `last_id`.

        Returns:
            how many events in between are forgotten, and those that are not, oldest first.
        """
        if not 0 <= last_id <= self.last_id:
            last_id = 0  # an id of an earlier process: all that is known is new
        wanted = self.last_id - last_id
        known = min(wanted, len(self._events))
        return wanted - known, list(islice(self._events, len(self._events) - known, None))
