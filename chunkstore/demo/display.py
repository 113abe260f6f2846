"""How the figures are shown: a live table, a line now and then, or one line of JSON at the end."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict

from rich.console import Console
from rich.live import Live
from rich.table import Table

from chunkstore.demo.figures import Report
from chunkstore.demo.links import Links

__all__ = ["Display", "JsonDisplay", "LinesDisplay", "TableDisplay"]

Echo = Callable[[str], None]


class Display(ABC):
    """Where figures are shown.

    Attributes:
        every_s: how often `show` wants to be called.
    """

    every_s: float

    @abstractmethod
    def started(self, links: Links) -> None:
        """The origin listens and the encoder has been started."""

    @abstractmethod
    def show(self, report: Report) -> None:
        """The figures as they are now."""

    @abstractmethod
    def ended(self, report: Report) -> None:
        """The figures as they are at the end. Called once, also after a failure."""


class LinesDisplay(Display):
    """For pipes and logs: a line every two seconds.

    Args:
        echo: prints a line.
    """

    every_s = 2.0

    def __init__(self, echo: Echo) -> None:
        self._echo = echo

    def started(self, links: Links) -> None:
        for line in _how_to_see(links):
            self._echo(line)

    def show(self, report: Report) -> None:
        if report.bytes:
            self._echo(_line(report))

    def ended(self, report: Report) -> None:
        self._echo("in all: " + _line(report))


class JsonDisplay(Display):
    """For programs: one JSON object on one line at the end; all else goes to `note`.

    Args:
        echo: prints a line on stdout.
        note: prints a line on stderr.
    """

    every_s = 1.0

    def __init__(self, echo: Echo, note: Echo) -> None:
        self._echo = echo
        self._note = note

    def started(self, links: Links) -> None:
        for line in _how_to_see(links):
            self._note(line)

    def show(self, report: Report) -> None:
        pass  # one line is promised, and that is the last one

    def ended(self, report: Report) -> None:
        self._echo(json.dumps(asdict(report)))


class TableDisplay(Display):
    """For people: a table that is drawn anew twice a second, and stays at the end.

    It is drawn on the event loop, a few milliseconds each time, which chunks on their way then wait
    for: more often would show in the p99.

    Args:
        console: the terminal; by default that of stdout.
    """

    every_s = 0.5

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False)

    def started(self, links: Links) -> None:
        for line in _how_to_see(links):
            self._console.print(line, highlight=False, soft_wrap=True)
        self._live.start()

    def show(self, report: Report) -> None:
        self._live.update(_table(report), refresh=True)

    def ended(self, report: Report) -> None:
        if self._live.is_started:
            self.show(report)
            self._live.stop()


def _how_to_see(links: Links) -> list[str]:
    return [
        f"MPD: {links.mpd_url}",
        f"console: {links.console_url}",
        f"watch it: {links.watch_url}",
        "while this runs; or in any DASH player (dash.js, Shaka Player, VLC), or with",
        f"  ffplay -fflags nobuffer {links.mpd_url}",
    ]


def _rows(report: Report) -> list[tuple[str, str]]:
    return [
        ("seconds", f"{report.seconds:.1f}"),
        ("segments", str(report.segments)),
        ("chunks", str(report.chunks)),
        ("bytes", str(report.bytes)),
        ("readers", str(report.readers)),
        ("p50", _ms(report.p50_ms)),
        ("p99", _ms(report.p99_ms)),
        ("refused", str(report.refused)),
        ("aborted", str(report.aborted)),
        ("cut", str(report.cut)),
        ("missed", str(report.missed)),
    ]


def _line(report: Report) -> str:
    return ", ".join(f"{name} {value}" for name, value in _rows(report))


_MEANINGS = {
    "seconds": "since the first chunk",
    "segments": "received to their end",
    "chunks": "received, all readers together",
    "bytes": "",
    "readers": "each follows a representation at the live edge",
    "p50": "from the encoder's bytes arriving",
    "p99": "to the reader having them",
    "refused": "uploads that the origin did not take",
    "aborted": "uploads that did not become complete",
    "cut": "segments that ended early, and were seen to",
    "missed": "segments that did not come",
}


def _table(report: Report) -> Table:
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True, min_width=12)
    table.add_column(style="dim")
    for name, value in _rows(report):
        is_bad = name in ("refused", "aborted", "cut", "missed") and value != "0"
        meaning = _MEANINGS[name] or f"{report.bytes / 1e6:.1f} MB"
        table.add_row(name, value, meaning, style="red" if is_bad else "")
    return table


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:g} ms"
