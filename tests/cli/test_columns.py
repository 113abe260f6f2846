"""Lines for a terminal: one each, aligned, and harmless whoever wrote what is in them."""

from __future__ import annotations

import json
import sys
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cli import main
from chunkstore.cli.columns import (
    ARRIVAL_HEAD,
    arrival_line,
    entry_json,
    entry_line,
    one_line,
    printable,
    seconds,
)
from chunkstore.cli.progress import show_progress
from chunkstore.cli.remote import note
from chunkstore.transfer import Arrival, Entry


@given(st.text())
def test_a_message_is_one_harmless_line(text: str) -> None:
    """Parts of it are what a server said: it must not write over what stands on the terminal."""
    assert one_line(text).isprintable()


def test_notes_and_failures_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    note("a\x1b[2J\nb\x9b")
    assert main(["config", "--config", "a\x1b[2J"]) == 2
    assert capsys.readouterr().err == (
        "chunkstore: a?[2J b?\nchunkstore: a?[2J: No such file or directory\n"
    )


@given(
    path=st.text(),
    size=st.none() | st.integers(0, 2**63),
    state=st.text(),
    modified_s=st.none() | st.floats(),
)
def test_whatever_a_server_says_is_one_harmless_line(
    path: str, size: int | None, state: str, modified_s: float | None
) -> None:
    entry = Entry(path, size, state, modified_s, {"path": path})
    assert entry_line(entry).isprintable()
    assert json.loads(entry_json(entry)) == {"path": path}
    assert json.loads(entry_json(entry, "+")) == {"change": "+", "path": path}
    assert len(entry_json(entry).splitlines()) == 1


def test_entries_are_aligned() -> None:
    lines = [
        entry_line(Entry("/a", 5, "open", 1e9, {})),
        entry_line(Entry("/a", 10**12, "complete", 1e9, {})),
        entry_line(Entry("/a", None, "", None, {})),
    ]
    assert {line.index("/a") for line in lines} == {45}


@given(
    number=st.integers(1, 10**7 - 1),
    since_s=st.floats(0, 10**6),
    size=st.integers(0, 10**9),
    gap_s=st.none() | st.floats(0, 10**4),
    is_live=st.booleans(),
    open_for_s=st.none() | st.floats(0, 10**5),
)
def test_arrivals_are_aligned(
    number: int,
    since_s: float,
    size: int,
    gap_s: float | None,
    is_live: bool,
    open_for_s: float | None,
) -> None:
    arrival = Arrival(number, since_s, size, size, gap_s, is_live)
    line = arrival_line(arrival, datetime(2026, 1, 2, 3, 4, 5, 67_000), open_for_s)
    assert len(line) == len(ARRIVAL_HEAD)
    assert line.startswith("03:04:05.067 ")
    assert ("caught up" in line) is not is_live


def test_gaps() -> None:
    assert [seconds(one) for one in (None, 0.0, 0.0333, 1.0, 12.3456)] == [
        "-",
        "0.0 ms",
        "33.3 ms",
        "1.00 s",
        "12.35 s",
    ]
    assert printable("a\x1b[2J\nb") == "a?[2J?b"


def test_without_rich_there_are_no_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with show_progress() as progress:
        advance, end = progress.bar("/a")
        advance(1, None)
        progress.out("a line")
        progress.note("a note")
        end()
    assert capsys.readouterr() == ("a line\n", "chunkstore: a note\n")
