"""Changes of a name take effect in the order they were asked for, however long each needs. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["Turn", "Turns"]


class Turn:
    """A change's place among those of its name.

    Attributes:
        key: the name.
        act: makes the change; None: it isn't ready yet.
    """

    __slots__ = ("act", "key")

    def __init__(self, key: str) -> None:
        self.key = key
        self.act: Callable[[], None] | None = None


class Turns:
    """The changes under way, by name."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Turn]] = {}

    def take(self, key: str) -> Turn:
        """A change was asked for, and will be ready some time."""
        turn = Turn(key)
        self._lines.setdefault(key, deque()).append(turn)
        return turn

    def ready(self, turn: Turn, act: Callable[[], None]) -> None:
        """It is: `act` is called as soon as all before it were, perhaps now. Each turn once."""
        assert turn.act is None
        turn.act = act
        line = self._lines[turn.key]
        while line and (due := line[0].act) is not None:
            line.popleft()
            due()
        if not line:
            self._lines.pop(turn.key, None)
