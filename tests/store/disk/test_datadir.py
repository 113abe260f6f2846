"""A folder is ours, or it is left as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chunkstore.errors import DataDirError
from chunkstore.store.disk.datadir import Access, DataDir
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.files import Files, ReadOnlyFiles
from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.scrub import Scrub
from chunkstore.store.disk.volume import Volume


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


def test_the_file_system_of_a_fresh_mount_is_no_stranger(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    DataDir(tmp_path).close()


def test_who_was_killed_is_not_said_to_have_it(tmp_path: Path) -> None:
    DataDir(tmp_path).close()
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    (tmp_path / "lock").write_text(f"process {dead.pid}\n")
    looking = DataDir(tmp_path, Access.READ)  # it has the lock, and doesn't write that
    with pytest.raises(DataDirError, match="in use by another process"):
        DataDir(tmp_path)
    looking.close()
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


def no_volumes(folder: Path) -> None:
    (folder / "chunkstore.json").write_text(f'{{"format": 1, "id": "{"00" * 16}"}}')


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
        (no_volumes, "the folder 'volumes' is missing"),
        (headless, "chunkstore.json is missing, but there are volumes"),
    ],
)
@pytest.mark.parametrize("access", Access)
def test_what_is_not_ours_is_untouched(
    access: Access, make: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    make(tmp_path)
    before = entries(tmp_path)
    with pytest.raises(DataDirError, match=reason) as caught:
        DataDir(tmp_path, access)
    assert str(tmp_path) in str(caught.value)
    assert entries(tmp_path) == before


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataDirError, match=r"[Ff]ile exists|Not a directory"):
        DataDir(tmp_path / "file")
    with pytest.raises(DataDirError, match="Not a directory"):
        DataDir(tmp_path / "file" / "data")
    assert entries(tmp_path) == {"file": b"x"}


@pytest.mark.parametrize("access", [Access.WRITE, Access.READ])
def test_what_must_be_there_is_not_made(access: Access, tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match=r"no data dir: it has no chunkstore\.json"):
        DataDir(tmp_path, access)
    with pytest.raises(DataDirError, match="No such file or directory"):
        DataDir(tmp_path / "none", access)
    assert not entries(tmp_path)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom rights hold for, whoever runs the tests."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("name", [".", "volumes"])
def test_one_that_is_not_to_be_written_is_untouched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the way to it may be closed for others
    DataDir(Path()).close()
    Path("lock").unlink()
    before = entries(tmp_path)
    Path().chmod(0o777)
    Path(name).chmod(0o555)
    try:
        with unprivileged(), pytest.raises(DataDirError, match="not writable"):
            DataDir(Path())
        assert entries(tmp_path) == before
    finally:
        Path(name).chmod(0o755)


def test_who_only_reads_touches_nothing_and_has_it_alone(tmp_path: Path) -> None:
    DataDir(tmp_path).close()
    before = entries(tmp_path)
    data = DataDir(tmp_path, Access.READ)
    with pytest.raises(DataDirError, match="in use by another process"):
        DataDir(tmp_path)
    data.close()
    (tmp_path / "lock").unlink()  # a copy without it
    DataDir(tmp_path, Access.READ).close()
    del before["lock"]
    assert entries(tmp_path) == before


def test_no_link_in_it_is_followed(tmp_path: Path) -> None:
    """What a link of a volume's name led to was taken for a torn volume, cut and written to."""
    other = tmp_path / "other"
    other.write_text("precious")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "chunkstore.json.part").symlink_to(other)
    with closing(DataDir(folder)) as data:
        (folder / "volumes" / "00000001.vol").symlink_to(other)
        for files in (Files(), ReadOnlyFiles()):
            with pytest.raises(OSError, match="symbolic links"):
                Engine(data, files)
        (folder / "volumes" / "00000001.vol").unlink()
        (folder / "scrub.part").symlink_to(other)
        scrub = Scrub(Ledger(), dict[int, Volume](), data.scrub, period_s=1.0, clock=lambda: 0.0)
        scrub.remember()
    assert other.read_text() == "precious"
