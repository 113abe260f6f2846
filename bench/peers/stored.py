"""An object as the peers on Python keep it: the parts that came, and one event for all its readers.

The event is replaced at each wake, so that one `set` wakes thousands and nobody is counted. A
reader keeps how many parts it has sent, and asks `parts` for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Event", "Stored"]

_BATCH = 16  # parts that a reader who is behind sends at once: few writes, and still back-pressure


class Event(Protocol):
    """What asyncio.Event and trio.Event have in common."""

    def set(self) -> object:
        """Wakes all who wait, for good."""

    async def wait(self) -> object:
        """Returns once it is set."""


class Stored:
    """An object that grows until it is complete or its writer is lost.

    Attributes:
        parts: the bytes that came, in pieces as they came.
        whole: all of it once it is complete, else None.
        is_open: its writer is still sending.
        changed: set at the next change; take it anew before each wait.
    """

    def __init__(self, make_event: Callable[[], Event]) -> None:
        self.parts: list[bytes] = []
        self.whole: bytes | None = None
        self.is_open = True
        self._make_event = make_event
        self.changed = make_event()

    def add(self, part: bytes) -> None:
        """Takes the next bytes and wakes the readers."""
        self.parts.append(part)
        self._wake()

    def finish(self) -> None:
        """The writer has sent all."""
        self.whole = b"".join(self.parts)
        self._end()

    def lose(self) -> None:
        """The writer is lost: readers that find `whole` None at the end must be cut."""
        self._end()

    def batch(self, sent_count: int) -> list[bytes]:
        """The next parts for a reader that has sent `sent_count` of them; [] at the live edge."""
        return self.parts[sent_count : sent_count + _BATCH]

    def _end(self) -> None:
        self.is_open = False
        self._wake()

    def _wake(self) -> None:
        event, self.changed = self.changed, self._make_event()
        event.set()
