"""What is counted in a drill, and how it is shown: a live table, or a line now and then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from chunkstore.worker import State, WorkerStatus

__all__ = ["Display", "Figures", "LinesDisplay", "Row", "make_display"]

Echo = Callable[[str], None]


class Row(NamedTuple):
    """One worker at one moment."""

    assigned: int
    ready: int
    coming: int
    going: int
    held: int
    fetched_bytes: int

    @classmethod
    def of(cls, assigned: int, status: WorkerStatus) -> Row:
        """As a manager says it stands."""
        counts = dict(status.counts)
        ready = counts.pop(State.READY, 0)
        going = sum(counts.pop(state, 0) for state in (State.DOOMED, State.REMOVING))
        coming = sum(counts.values())
        return cls(assigned, ready, coming, going, status.hold_count, status.fetched_bytes)


@dataclass(slots=True)
class Figures:
    """All of it.

    Attributes:
        seconds: since the start.
        answers: chunks that were found and read.
        misses: questions for what no worker had; no fault.
        wrong: what was wrong with answers, a sentence each; and with the end.
        faults: answers of the storage that failed on purpose.
        workers: a row each.
    """

    seconds: float = 0.0
    answers: int = 0
    misses: int = 0
    wrong: list[str] = field(default_factory=list)
    faults: int = 0
    workers: Sequence[Row] = ()

    @property
    def line(self) -> str:
        """On one line."""
        ready = " ".join(f"{row.ready}/{row.assigned}" for row in self.workers)
        fetched_bytes = sum(row.fetched_bytes for row in self.workers)
        return (
            f"{self.seconds:.0f} s: ready {ready}, {fetched_bytes / 1e6:.1f} MB fetched,"
            f" {self.answers} answers, {self.misses} not there, {self.faults} faults of the"
            f" storage, {len(self.wrong)} wrong"
        )


class Display(ABC):
    """Where figures are shown."""

    @abstractmethod
    def show(self, figures: Figures) -> None:
        """As they are now; twice a second."""

    @abstractmethod
    def close(self) -> None:
        """No more."""


class LinesDisplay(Display):
    """A line every two seconds.

    Args:
        echo: prints one.
    """

    def __init__(self, echo: Echo) -> None:
        self._echo = echo
        self._next_s = 0.0

    def show(self, figures: Figures) -> None:
        if figures.seconds >= self._next_s:
            self._next_s = figures.seconds + 2
            self._echo(figures.line)

    def close(self) -> None:
        pass  # all is said


def make_display(echo: Echo, *, is_live: bool) -> Display:
    """A live table on a terminal, if rich is installed; else lines."""
    if is_live:
        with suppress(ModuleNotFoundError):
            from chunkstore.drill.table import TableDisplay

            return TableDisplay()
    return LinesDisplay(echo)
