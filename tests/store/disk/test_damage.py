"""Flipped bits and cut files, made while it was stopped: never a wrong byte, never a crash."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from chunkstore.errors import DamagedError
from chunkstore.store.disk.volume import volume_name
from tests.store.disk.faults import Faults
from tests.store.disk.load import (
    OWN_AFTER_BYTES,
    Load,
    compact,
    content_of,
    open_engine,
    read,
    release,
)
from tests.store.disk.trace import Recorder

CASES = int(os.environ.get("DAMAGE_CASES", "40"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes | None]]:
    """A data dir that was closed, and what its names have."""
    folder = tmp_path_factory.mktemp("stopped") / "data"
    load = Load(folder, 7)
    load.run(300)
    load.flush()
    expected = {key: content_of(load.engine, key) for key in load.engine.ledger.objects}
    load.close()
    data, engine = open_engine(folder)  # files of uploads that were under way go now
    engine.close()
    data.close()
    return folder, expected


def flip(path: Path, chance: random.Random) -> None:
    """One bit, anywhere."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


@pytest.mark.parametrize("keeps_index", [True, False])
@pytest.mark.parametrize("how", ["flip", "cut"])
def test_volumes(
    how: str, keeps_index: bool, stopped: tuple[Path, dict[str, bytes | None]], tmp_path: Path
) -> None:
    chance = random.Random(1)
    lost = 0
    for number in range(CASES):
        folder = tmp_path / str(number)
        shutil.copytree(stopped[0], folder)
        if not keeps_index:
            (folder / "index.sqlite").unlink()
        path = chance.choice(sorted((folder / "volumes").iterdir()))
        if how == "flip":
            flip(path, chance)
        else:
            os.truncate(path, chance.randrange(path.stat().st_size))
        data, engine = open_engine(folder)
        for key, content in stopped[1].items():
            try:
                found = content_of(engine, key)
            except DamagedError:
                lost += 1
            else:
                # Gone, or back to an older one, only where that is told.
                assert found == content or engine.report.damages or engine.report.cut_bytes
        engine.close()
        data.close()
    assert lost, "something must have been hit"


@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_the_index(how: str, stopped: tuple[Path, dict[str, bytes | None]], tmp_path: Path) -> None:
    chance = random.Random(2)
    rebuilt = 0
    for number in range(CASES):
        folder = tmp_path / str(number)
        shutil.copytree(stopped[0], folder)
        path = folder / "index.sqlite"
        if how == "flip":
            flip(path, chance)
        elif how == "cut":
            os.truncate(path, chance.randrange(path.stat().st_size))
        else:
            path.unlink()
        data, engine = open_engine(folder)
        found = {key: content_of(engine, key) for key in engine.ledger.objects}
        assert found == stopped[1]
        rebuilt += bool(engine.report.rebuilt)
        engine.close()
        data.close()
    assert rebuilt or how == "gone"


SECTOR_BYTES = 4096


class BadSector(Recorder):
    """The real file system, but for a sector of a file that can't be read."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__()
        self._name = name
        self._start = number * SECTOR_BYTES

    def read(self, fd: int, size: int, position: int) -> bytes:
        is_met = position < self._start + SECTOR_BYTES and position + size > self._start
        if self.names_of[fd] == self._name and is_met:
            raise OSError(errno.EIO, "input/output error")
        return super().read(fd, size, position)


def test_a_sector_that_cannot_be_read_is_named_and_the_rest_is_served(
    stopped: tuple[Path, dict[str, bytes | None]], tmp_path: Path
) -> None:
    shutil.copytree(stopped[0], tmp_path / "started")  # which drops files that nobody needs
    data, engine = open_engine(tmp_path / "started")
    engine.close()
    data.close()
    paths = sorted((tmp_path / "started" / "volumes").iterdir())
    cases = [(p.name, n) for p in paths for n in range(-(-p.stat().st_size // SECTOR_BYTES))]
    served = 0
    for number, case in enumerate(cases):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "started", folder)
        (folder / "index.sqlite").unlink()
        before = {path.name: path.read_bytes() for path in (folder / "volumes").iterdir()}
        data, engine = open_engine(folder, BadSector(*case))
        assert any(words.startswith(case[0]) for words in engine.report.damages), case
        for key, content in stopped[1].items():
            try:
                served += content_of(engine, key) == content
            except (DamagedError, OSError):
                pass  # told, and not served
        engine.close()
        data.close()
        for name, content in before.items():  # nothing that may be read some day is cut off
            path = folder / "volumes" / name
            kept = path if path.exists() else path.with_suffix(".lost")
            assert kept.read_bytes().startswith(content), case
    assert served > len(cases) * len(stopped[1]) / 2


def test_what_cannot_be_read_at_an_end_is_not_taken_for_torn(tmp_path: Path) -> None:
    """It was acknowledged, and nothing that was written since says so."""
    data, engine = open_engine(tmp_path)
    for key, content in {"/a": bytes(900), "/b": bytes(4000)}.items():
        generation = engine.begin()
        engine.append(generation, 0, [content])
        engine.commit(generation, key, len(content), b"")
        engine.flush()
    release(engine)
    data.close()
    (tmp_path / "index.sqlite").unlink()
    path = tmp_path / "volumes" / "00000001.vol"
    before = path.read_bytes()
    data, engine = open_engine(tmp_path, BadSector(path.name, 1))
    [words] = engine.report.damages
    assert words.startswith("00000001.vol: ")
    assert not engine.report.cut_bytes
    assert content_of(engine, "/a") == bytes(900)
    engine.close()
    data.close()
    assert path.read_bytes() == before


def test_a_file_whose_commit_is_damaged_is_set_aside(tmp_path: Path) -> None:
    """Without its commit it looks like an upload's that broke off; those are dropped."""
    data, engine = open_engine(tmp_path)
    generation = engine.begin()
    engine.append(generation, 0, [bytes(OWN_AFTER_BYTES)])
    engine.append(generation, OWN_AFTER_BYTES, [b"x" * 1000])
    engine.commit(generation, "/large", OWN_AFTER_BYTES + 1000, b"")
    engine.flush()
    volume = engine._volumes.active
    position = volume.end - engine.ledger.objects["/large"].commit_bytes
    engine.close()
    data.close()
    with volume.path.open("r+b") as file:
        file.seek(position)
        file.write(b"?")
    (tmp_path / "index.sqlite").unlink()
    for _ in range(2):
        data, engine = open_engine(tmp_path)
        assert "/large" not in engine.ledger.objects
        engine.close()
        data.close()
    kept = tmp_path / "volumes" / f"own-{generation}.lost"
    assert b"x" * 1000 in kept.read_bytes()


def test_a_run_that_cannot_be_read_is_damage_and_stops_a_compaction_for_good(
    tmp_path: Path,
) -> None:
    """It would be tried again for ever, and fail each time."""
    files = Faults()
    data, engine = open_engine(tmp_path, files)
    for number in range(8):
        generation = engine.begin()
        engine.append(generation, 0, [bytes(900)])
        engine.commit(generation, f"/{number}", 900, b"")
    engine.flush()
    [extent] = engine.ledger.objects["/2"].extents

    def before(kind: str, name: str) -> None:
        if kind == "read" and name == volume_name(extent.volume):
            raise OSError(errno.EIO, "input/output error")

    files.before = before
    with pytest.raises(DamagedError, match="/2 is damaged"):
        read(engine, "/2", extent)
    compact(engine, extent.volume)
    assert extent.volume in engine.left_alone
    assert (tmp_path / "volumes" / volume_name(extent.volume)).exists()
    engine.close()
    data.close()
