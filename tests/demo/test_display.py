"""How figures are shown."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

from rich.console import Console

from chunkstore.demo import JsonDisplay, LinesDisplay, Links, Report, TableDisplay

URL = "http://127.0.0.1:1/live/demo.mpd"
LINKS = Links(URL, "http://127.0.0.1:2/", "http://127.0.0.1:2/?watch=/live/demo.mpd")


def report(size_bytes: int = 1234567, p99_ms: float | None = 1.25) -> Report:
    """Figures in which no two numbers are the same."""
    return Report(
        seconds=2.5,
        segments=3,
        chunks=7,
        bytes=size_bytes,
        readers=4,
        p50_ms=0.5,
        p99_ms=p99_ms,
        timed=6,
        cut=0,
        missed=8,
        refused=9,
        aborted=11,
        mpd_url=URL,
    )


def assert_says_where(lines: list[str]) -> None:
    """The addresses are there, each on a line of its own that says what it is."""
    assert lines[:3] == [
        f"MPD: {LINKS.mpd_url}",
        f"console: {LINKS.console_url}",
        f"watch it: {LINKS.watch_url}",
    ]


def test_json_is_one_line_and_nothing_else() -> None:
    out: list[str] = []
    err: list[str] = []
    display = JsonDisplay(out.append, err.append)
    display.started(LINKS)
    display.show(report())
    assert out == []
    display.ended(report())
    assert [json.loads(line) for line in out] == [asdict(report())]
    assert_says_where(err)


def test_lines_begin_when_bytes_come() -> None:
    out: list[str] = []
    display = LinesDisplay(out.append)
    display.started(LINKS)
    assert_says_where(out)
    out.clear()
    display.show(report(size_bytes=0))
    assert out == []
    display.show(report(p99_ms=None))
    display.ended(report())
    assert "segments 3, chunks 7, bytes 1234567, readers 4, p50 0.5 ms, p99 -" in out[0]
    assert "refused 9, aborted 11" in out[0]
    assert out[1].startswith("in all: ")


def test_the_table_has_every_figure_and_stays_at_the_end() -> None:
    screen = io.StringIO()
    display = TableDisplay(Console(file=screen, force_terminal=True, color_system=None, width=100))
    display.started(LINKS)
    display.show(report(p99_ms=None))
    begin = screen.tell()
    display.ended(report())
    text = screen.getvalue()[begin:]
    for name, value in [("segments", "3"), ("p99", "1.25 ms"), ("refused", "9"), ("aborted", "11")]:
        assert any(name in line and f" {value} " in line for line in text.splitlines()), name
    end = screen.tell()
    display.ended(report())
    assert screen.tell() == end


def test_a_table_that_never_started_is_not_drawn() -> None:
    screen = io.StringIO()
    TableDisplay(Console(file=screen)).ended(report())
    assert screen.getvalue() == ""
