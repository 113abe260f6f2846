"""What the store's thread does while nobody waits for it: old garbage goes, old bytes are read.

It comes in steps that are bounded, so that a commit waits for one of them at most.
"""

from __future__ import annotations

from collections.abc import Callable

from chunkstore.store.disk.compaction import Compaction
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.scrub import Scrub

__all__ = ["Upkeep"]

LOOK_S = 1.0
"""So often it is asked whether a volume has too much garbage."""
STEP_S = 0.1
"""Between two steps of a compaction: 40 MiB/s at most are written again."""
RETRY_S = 30.0
"""After a compaction that failed: the disk is full, or fails."""


class Upkeep:
    """Compaction and scrub; for the engine's thread.

    Args:
        engine: whose data dir it is.
        scrub: reads what is stored once a period.
        room: how much may be written, in bytes.
        note: told in words what a person should know.
        clock: seconds, never backwards.
    """

    def __init__(
        self,
        engine: Engine,
        scrub: Scrub,
        room: Callable[[], int],
        note: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._scrub = scrub
        self._room = room
        self._note = note
        self._clock = clock
        self._compaction: Compaction | None = None
        self._compact_at_s = clock() + LOOK_S
        self._told: set[str] = set()

    def due_in_s(self) -> float:
        """How long until `step` has something to do."""
        return max(0.0, min(self._compact_at_s - self._clock(), self._scrub.due_in_s()))

    def step(self) -> None:
        """Do what is due, a bounded piece of it."""
        if self._clock() >= self._compact_at_s:
            self._compact()
            self._tell_trouble()
        try:
            flaw = self._scrub.step()
        except OSError as error:
            self._note(f"scrub: {error}")
        else:
            if flaw is not None:
                self._note(f"scrub: {flaw}")

    def close(self) -> None:
        """The end: the scrub remembers its place."""
        self._scrub.remember()

    def _compact(self) -> None:
        try:
            wait_s = self._compact_a_step()
        except OSError as error:
            self._compaction, wait_s = None, RETRY_S
            self._note(f"compaction gave up, to try again: {error.strerror or error}")
        self._compact_at_s = self._clock() + wait_s

    def _compact_a_step(self) -> float:
        """A piece of it; how long to wait now: what is only looked at costs the disk nothing.

        Raises:
            OSError: it is over.
        """
        compaction = self._compaction
        if compaction is None:
            number = self._engine.most_garbage(self._room())
            if number is None:
                return LOOK_S
            self._compaction = self._engine.compaction(number)
            return 0.0
        before = compaction.copied_bytes
        if compaction.step():
            self._engine.flush()
        else:
            self._compaction = None
        return STEP_S if compaction.copied_bytes > before else 0.0

    def _tell_trouble(self) -> None:
        trouble = set(self._engine.trouble())
        for one in sorted(trouble - self._told):
            self._note(one)
        self._told = trouble
