"""A table that is drawn anew while a drill runs, and stays at its end."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from chunkstore.drill.figures import Display, Figures, Row

__all__ = ["TableDisplay"]


class TableDisplay(Display):
    """For people.

    Args:
        console: the terminal; by default that of stdout.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._live = Live(console=console or Console(), auto_refresh=False)
        self._live.start()

    def show(self, figures: Figures) -> None:
        """As `Display.show`."""
        table = Table()
        table.add_column("worker")
        for name in Row._fields:
            table.add_column(name.removesuffix("_bytes"), justify="right", min_width=8)
        for number, row in enumerate(figures.workers, 1):
            *counts, fetched_bytes = row
            table.add_row(str(number), *map(str, counts), f"{fetched_bytes / 1e6:.1f} MB")
        self._live.update(Group(table, figures.line), refresh=True)

    def close(self) -> None:
        """As `Display.close`."""
        self._live.stop()
