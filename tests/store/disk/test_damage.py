"""Flipped bits and cut files, made while it was stopped: never a wrong byte, never a crash."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from chunkstore.errors import DamagedError
from tests.store.disk.load import Load, content_of, open_engine

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
