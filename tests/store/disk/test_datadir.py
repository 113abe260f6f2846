"""A folder is ours, or it is left as it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chunkstore.errors import DataDirError
from chunkstore.store.disk.datadir import DataDir


def entries(folder: Path) -> dict[str, bytes | None]:
    """What lies in a folder; content of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_new_one_and_the_same_again(tmp_path: Path) -> None:
    first = DataDir(tmp_path / "deep" / "data")
    assert len(first.dir_id) == 16
    first.close()
    again = DataDir(tmp_path / "deep" / "data")
    assert again.dir_id == first.dir_id
    assert again.volumes.is_dir()
    again.close()
    other = DataDir(tmp_path / "other")
    assert other.dir_id != first.dir_id
    other.close()


def test_a_beginning_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    (tmp_path / "lock").write_text("")
    (tmp_path / "chunkstore.json.part").write_text('{"for')
    DataDir(tmp_path).close()
    assert (tmp_path / "chunkstore.json").exists()


def test_in_use(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    with pytest.raises(DataDirError, match=f"in use by process {os.getpid()}"):
        DataDir(tmp_path)
    data.close()
    DataDir(tmp_path).close()


def stranger(folder: Path) -> None:
    (folder / "letter.txt").write_text("dear")


def newer(folder: Path) -> None:
    (folder / "chunkstore.json").write_text('{"format": 2, "id": "00"}')


def damaged(folder: Path) -> None:
    (folder / "chunkstore.json").write_text('{"format": 1, "id": "0')


def no_text(folder: Path) -> None:
    (folder / "chunkstore.json").write_bytes(b'{"format": 1, "id": "\xff"}')


def short_id(folder: Path) -> None:
    (folder / "chunkstore.json").write_text('{"format": 1, "id": "00"}')


def headless(folder: Path) -> None:
    (folder / "volumes").mkdir()
    (folder / "volumes" / "00000001.vol").write_text("x")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (stranger, "not empty, and no data dir: it has 'letter.txt'"),
        (newer, "its format is 2, and this program knows 1"),
        (damaged, "chunkstore.json is damaged"),
        (no_text, "chunkstore.json is damaged"),
        (short_id, "chunkstore.json is damaged"),
        (headless, "chunkstore.json is missing, but there are volumes"),
    ],
)
def test_what_is_not_ours_is_untouched(
    make: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    make(tmp_path)
    before = entries(tmp_path)
    with pytest.raises(DataDirError, match=reason) as caught:
        DataDir(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert entries(tmp_path) == before


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataDirError, match=r"[Ff]ile exists|Not a directory"):
        DataDir(tmp_path / "file")
    with pytest.raises(DataDirError, match="Not a directory"):
        DataDir(tmp_path / "file" / "data")
