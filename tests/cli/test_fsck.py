"""`chunkstore fsck`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkstore.cli import main
from tests.store.disk.test_engine import Bench
from tests.store.disk.test_fsck import state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data dir with an object, stopped."""
    bench = Bench(tmp_path / "data")
    bench.put("/a\x1b[2J", b"one")
    bench.stop()
    return tmp_path / "data"


def damage(folder: Path) -> None:
    """Another byte in the object."""
    path = folder / "volumes" / "00000001.vol"
    path.write_bytes(path.read_bytes().replace(b"one", b"onE"))


def test_all_is_right(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fsck", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("format 1, id ")
    assert lines[1].startswith("volumes: 1 shared, 0 of large objects; ")
    assert lines[2:] == ["objects: 1; 3 bytes", "all is right"]


def test_what_a_start_would_mend_is_mended_on_demand(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "index.sqlite").unlink()
    before = state(folder)
    assert main(["fsck", str(folder)]) == 1
    assert "a start or --repair mends: the index is missing" in capsys.readouterr().out
    assert state(folder) == before
    assert main(["fsck", "--repair", str(folder)]) == 0
    assert "mended: the index is missing" in capsys.readouterr().out
    assert main(["fsck", str(folder)]) == 0


def test_damage_is_named_and_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(folder)
    before = state(folder)
    assert main(["fsck", "--repair", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "damaged: /a?[2J: 3 bytes at " in out
    assert " of 00000001.vol\n" in out
    assert out.endswith("can't be mended here, and nothing is deleted because of it\n")
    assert state(folder) == before


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(folder)
    assert main(["fsck", "--json", str(folder)]) == 1
    [line] = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["object_count"], found["index"], found["repaired"]) == (1, "right", False)
    [flaw] = found["flaws"]
    assert (flaw["key"], flaw["volume"], flaw["size_bytes"]) == ("/a\x1b[2J", "00000001.vol", 3)


@pytest.mark.parametrize("flags", [[], ["--repair"]])
def test_wrong_input_is_one_line_and_untouched(
    flags: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "chunkstore.json").write_text('{"format": 2, "id": "00"}')
    before = state(tmp_path)
    for name, reason in {
        "none": "No such file or directory",
        "file": "Not a directory",
        "empty": "no data dir: it has no chunkstore.json",
        "newer": "its format is 2, and this program knows 1",
    }.items():
        assert main(["fsck", *flags, str(tmp_path / name)]) == 2
        said = capsys.readouterr()
        assert said.err == f"chunkstore: {tmp_path / name}: {reason}\n"
        assert not said.out
    assert state(tmp_path) == before
    bench = Bench(folder)
    assert main(["fsck", *flags, str(folder)]) == 2
    assert "in use by process" in capsys.readouterr().err
    bench.stop()
