"""`chunkstore demo` on the command line: its flags, and what is missing said in one line."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("rich")

from chunkstore import demo
from chunkstore.cli import main
from chunkstore.demo import EncoderError, JsonDisplay, LinesDisplay, Links, TableDisplay

Captured = pytest.CaptureFixture[str]


def runs(monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> list[Any]:
    """Have the demo not run; what it was asked for."""
    asked: list[Any] = []

    def run(**options: object) -> None:
        asked.append(options)
        if error is not None:
            raise error

    monkeypatch.setattr(demo, "run", run)
    return asked


def test_without_a_terminal_it_prints_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = runs(monkeypatch)
    assert main(["demo"]) == 0
    [options] = asked
    assert isinstance(options.pop("display"), LinesDisplay)
    assert options == {"seconds": None, "player_count": 1, "opens_browser": False}


def test_on_a_terminal_it_draws_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = runs(monkeypatch)
    _set_screen(monkeypatch, None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["demo", "--seconds", "2.5", "--players", "3"]) == 0
    [options] = asked
    assert isinstance(options.pop("display"), TableDisplay)
    assert options == {"seconds": 2.5, "player_count": 3, "opens_browser": False}


def _set_screen(monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    """Have a screen by one of the variables that name one, or none."""
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, ":0")


@pytest.mark.parametrize("screen", [None, "DISPLAY", "WAYLAND_DISPLAY"])
@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("flags", [[], ["--open"], ["--no-open"], ["--json"], ["--json", "--open"]])
def test_when_a_browser_is_opened(
    screen: str | None, is_terminal: bool, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = runs(monkeypatch)
    _set_screen(monkeypatch, screen)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    assert main(["demo", *flags]) == 0
    is_desktop = is_terminal and screen is not None
    expected = {"": is_desktop, "--open": True}.get(" ".join(flags), False)
    assert asked[0]["opens_browser"] is expected


def test_json_goes_to_stdout_and_the_rest_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    asked = runs(monkeypatch)
    assert main(["demo", "--json"]) == 0
    display = asked[0]["display"]
    assert isinstance(display, JsonDisplay)
    display.started(Links("http://127.0.0.1:1/a.mpd", "", ""))
    out, err = capsys.readouterr()
    assert out == ""
    assert "http://127.0.0.1:1/a.mpd" in err


@pytest.mark.parametrize("argv", [["--seconds", "0"], ["--players", "0"], ["--players", "x"]])
def test_wrong_flags_are_one_line(argv: list[str], capsys: Captured) -> None:
    assert main(["demo", *argv]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert argv[0] in err


@pytest.mark.parametrize("missing", ["rich", "imageio_ffmpeg"])
def test_a_missing_extra_says_how_to_get_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    for name in [name for name in sys.modules if name.startswith("chunkstore.demo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("chunkstore.demo")
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["demo"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"{missing} is not installed: pip install 'chunkstore[demo]'" in err


@pytest.mark.parametrize(
    ("error", "code"), [(EncoderError("it ended"), 1), (KeyboardInterrupt(), 130)]
)
def test_how_it_can_end(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    runs(monkeypatch, error)
    assert main(["demo"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip() == ("chunkstore: it ended" if code == 1 else "")


def test_help_is_short(capsys: Captured) -> None:
    assert main(["demo", "--help"]) == 0
    assert "--seconds" in capsys.readouterr().out
