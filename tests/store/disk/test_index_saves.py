"""When the index is written, how much, and that a start needs no more of it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.engine import INDEX_INTERVAL_S, INDEX_NAMES, Engine
from chunkstore.store.disk.files import Files
from chunkstore.store.disk.index import Index
from chunkstore.store.disk.ledger import Ledger
from tests.store.disk.load import content_of, open_engine, release

RUN = b"x" * 100


class Saves:
    """An engine whose clock stands still unless it is set, and what its index was told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.count = 0
        self.written_bytes = 0
        insert, save = Index._insert, Index.save

        def counted_insert(index: Index, *row: object) -> None:
            self.written_bytes += len(row[3])  # type: ignore[arg-type]  # the content
            insert(index, *row)  # type: ignore[arg-type]  # as it came

        def counted_save(index: Index, *arguments: object) -> None:
            self.count += 1
            save(index, *arguments)  # type: ignore[arg-type]  # as they came

        monkeypatch.setattr(Index, "_insert", counted_insert)
        monkeypatch.setattr(Index, "save", counted_save)
        self.data = DataDir(folder)
        self.engine = Engine(self.data, Files(), clock=lambda: self.now)

    def put(self, key: str) -> None:
        """A small object, acknowledged."""
        generation = self.engine.begin()
        self.engine.append(generation, 0, [RUN])
        self.engine.commit(generation, key, len(RUN), b"")
        self.engine.flush()

    def kill(self) -> None:
        """The program is gone."""
        release(self.engine)
        self.data.close()


def test_it_is_saved_once_in_an_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saves = Saves(tmp_path, monkeypatch)
    saves.put("/0")
    assert saves.count == 1  # by the start
    for number in range(20):
        saves.now += INDEX_INTERVAL_S / 4
        saves.put(f"/{number}")
    assert saves.count == 1 + 5
    saves.kill()
    data, engine = open_engine(tmp_path)
    assert len(engine.ledger.objects) == 20
    assert not engine.report.rebuilt
    engine.close()
    data.close()


def test_it_is_saved_before_too_much_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = Saves(tmp_path, monkeypatch)
    for number in range(INDEX_NAMES - 2):
        saves.engine.delete(f"/{number}")
    saves.put("/a")  # a name, and an upload that is none any more
    assert saves.count == 1 + 1
    saves.put("/a")
    assert saves.count == 1 + 1
    saves.kill()


def test_an_upload_costs_it_no_more_the_longer_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = Saves(tmp_path, monkeypatch)
    generation, each = saves.engine.begin(), []
    for number in range(200):
        saves.engine.append(generation, number * len(RUN), [RUN])
        before = saves.written_bytes
        saves.now += INDEX_INTERVAL_S
        saves.engine.flush()
        each.append(saves.written_bytes - before)
    assert len(set(each[1:])) == 1
    saves.engine.commit(generation, "/a", 200 * len(RUN), b"")
    saves.engine.flush()
    saves.kill()  # the commit is behind what the index knows, and the runs before it
    data, engine = open_engine(tmp_path)
    assert content_of(engine, "/a") == RUN * 200
    assert not engine.report.damages
    engine.close()
    data.close()
    ledger = Ledger()
    index = Index(data.index, data.dir_id)
    index.load(ledger)
    index.close()
    assert ledger.objects.keys() == {"/a"}
    assert not ledger.open


def test_an_upload_that_was_moved_is_known_as_it_is(tmp_path: Path) -> None:
    """Its rows say where it was, then where it is; or the volumes do."""
    for is_saved in (False, True):
        folder = tmp_path / str(is_saved)
        data, engine = open_engine(folder, clock_step_s=1.0)
        generation = engine.begin()
        for number in range(9):
            engine.append(generation, number * 100, [RUN])
        for number in range(60):
            other = engine.begin()
            engine.append(other, 0, [RUN])
            engine.commit(other, f"/{number}", 100, b"")
        engine.flush()
        engine._clock = count(0.0, 1.0 if is_saved else 0.0).__next__
        compaction = engine.compaction(1)
        while compaction.step(most_records=7):
            engine.flush()
        engine.commit(generation, "/a", 900, b"")
        engine.flush()
        release(engine)
        data.close()
        data, engine = open_engine(folder)
        assert content_of(engine, "/a") == RUN * 9
        assert not engine.report.damages
        assert len(engine.ledger.objects) == 61
        engine.close()
        data.close()
