"""The index is private, and believed only where it was made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from chunkstore.store.disk.index import Index, IndexDamagedError
from chunkstore.store.disk.ledger import Ledger
from tests.store.disk.load import content_of, open_engine


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_nobody_else_may_read_it_whatever_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        index = Index(tmp_path / "index.sqlite", bytes(16))
        index.save(Ledger(), {1: 100}, 5)
    finally:
        os.umask(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "index.sqlite",
        "index.sqlite-shm",
        "index.sqlite-wal",
    ]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    index.close()


def test_one_of_another_data_dir_is_not_believed(tmp_path: Path) -> None:
    """The same names lie in the same volumes at the same places."""
    for name in ("a", "b"):
        data, engine = open_engine(tmp_path / name)
        generation = engine.begin()
        engine.append(generation, 0, [name.encode()])
        engine.commit(generation, "/x", 1, b"")
        engine.close()
        data.close()
    shutil.copy(tmp_path / "a" / "index.sqlite", tmp_path / "b" / "index.sqlite")
    data, engine = open_engine(tmp_path / "b")
    assert engine.report.rebuilt == "it is another data dir's"
    assert content_of(engine, "/x") == b"b"
    engine.close()
    data.close()


def test_a_place_where_no_file_can_be_made_is_one_that_has_no_index(tmp_path: Path) -> None:
    with pytest.raises(IndexDamagedError, match="No such file"):
        Index(tmp_path / "none" / "index.sqlite", bytes(16))
