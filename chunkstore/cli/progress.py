"""Progress bars, where somebody looks: on a terminal, if rich is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from chunkstore.cli.columns import one_line, printable
from chunkstore.cli.remote import is_terminal, note, say

__all__ = ["Progress", "show_progress"]

Advance = Callable[[int, int | None], None]


class Progress(Protocol):
    """Where transfers are shown while they run."""

    def bar(self, name: str) -> tuple[Advance, Callable[[], None]]:
        """A bar: what to call with the bytes done and the total if known, and what at its end."""

    def out(self, line: str) -> None:
        """A line of the command's output."""

    def note(self, line: str) -> None:
        """A line beside it, on stderr."""


class _Lines:
    """No bars."""

    def bar(self, name: str) -> tuple[Advance, Callable[[], None]]:
        return (lambda done, total: None), (lambda: None)

    def out(self, line: str) -> None:
        say(line)

    def note(self, line: str) -> None:
        note(line)


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Bars on stderr while this is entered; without a terminal, without rich or if quiet, none."""
    if quiet or not is_terminal(sys.stderr):
        yield _Lines()
        return
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bars
    except ModuleNotFoundError:
        yield _Lines()
        return

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    bars = Bars(*columns, console=Console(stderr=True), transient=True)

    class _Bars:
        def bar(self, name: str) -> tuple[Advance, Callable[[], None]]:
            task = bars.add_task(escape(printable(name)), total=None)

            def advance(done: int, total: int | None) -> None:
                bars.update(task, completed=done, total=total)

            return advance, lambda: bars.remove_task(task)

        def out(self, line: str) -> None:
            if is_terminal(sys.stdout):  # the same terminal: above the bars, not through them
                self._print(line)
            else:
                say(line)

        def note(self, line: str) -> None:
            self._print(f"chunkstore: {one_line(line)}")

        def _print(self, line: str) -> None:
            bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    with bars:
        yield _Bars()
