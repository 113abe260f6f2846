"""A drill says when an answer is wrong: else its good word would be worth nothing."""

from __future__ import annotations

from io import StringIO
from random import Random

import pytest
from rich.console import Console

from chunkstore import drill
from chunkstore.drill.figures import Figures, LinesDisplay, Row
from chunkstore.drill.scene import ASSIGNED, Scene
from chunkstore.drill.table import TableDisplay


def test_a_wrong_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "is_right", lambda *_: False)
    said: list[str] = []
    assert drill.run(1.5, echo=said.append, is_live=False) == 1
    assert any("are not what they were" in line for line in said)


@pytest.mark.parametrize("shown", [1, 2])
def test_when_nobody_looks_any_more_it_ends(shown: int) -> None:
    said: list[str] = []

    def echo(line: str) -> None:
        said.append(line)
        if len(said) == shown:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        drill.run(3, echo=echo, is_live=False)
    assert len(said) == shown


def test_assignments_overlap_and_change() -> None:
    scene = Scene(Random(1))
    scene.open("http://storage.test")
    first = scene.assignment([])
    second = scene.assignment(first)
    assert len({one.id for one in first}) == len({one.id for one in second}) == ASSIGNED
    assert set(map(id, first)) & set(map(id, second))
    assert set(map(id, first)) - set(map(id, second))


def test_what_is_right_is_all_files_as_they_are() -> None:
    scene = Scene(Random(1))
    scene.open("http://storage.test")
    [chunk, *_] = scene.assignment([])
    files = {name: content.data for name, content in scene._contents[chunk.id].items()}
    assert scene.is_right(chunk.id, files)
    assert not scene.is_right(chunk.id, {**files, "blocks": files["blocks"] + b"x"})
    del files["logs"]
    assert not scene.is_right(chunk.id, files)


def test_figures_are_shown() -> None:
    figures = Figures(seconds=3, answers=7, workers=[Row(16, 12, 4, 1, 2, 1_500_000)])
    said: list[str] = []
    lines = LinesDisplay(said.append)
    for figures.seconds in (0, 1, 2, 3):
        lines.show(figures)
    lines.close()
    assert len(said) == 2
    assert "12/16" in said[0]
    terminal = StringIO()
    table = TableDisplay(Console(file=terminal, width=100))
    table.show(figures)
    table.close()
    assert "1.5 MB" in terminal.getvalue()
