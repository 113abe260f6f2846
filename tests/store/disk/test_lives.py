"""One data dir through many lives: load, faults, a crash, a start, more load, the next crash."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from chunkstore.store.disk.compaction import Compaction
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.stored import Extents
from tests.store.disk.faults import Faults
from tests.store.disk.load import content_of, open_engine, release, volumes_of
from tests.store.disk.trace import Operation, crash

WORLDS = int(os.environ.get("CRASH_WORLDS", "4"))
LIVES = 8

_ERRORS = {"write": errno.ENOSPC, "create": errno.ENOSPC}


def contents(engine: Engine) -> dict[str, bytes | None]:
    """All there is."""
    return {key: content_of(engine, key) for key in engine.ledger.objects}


def accounted(engine: Engine) -> Counter[int]:
    """The live bytes of each volume, counted anew."""
    ledger, found = engine.ledger, Counter[int]()
    for stored in ledger.objects.values():
        found[stored.commit_volume] += stored.commit_bytes
        for extent in stored.extents:
            found[extent.volume] += extent.record_bytes
    for tombstone in ledger.tombstones.values():
        found[tombstone.volume] += tombstone.record_bytes
    for packed in ledger.open.values():
        for extent in Extents(packed):
            found[extent.volume] += extent.record_bytes
    return found


@dataclass
class Change:
    """What a name should have; when that was asked for, and acknowledged (None: never)."""

    content: bytes | None
    asked: int
    acknowledged: int | None = None


class World:
    """What every name may have, through all lives.

    Attributes:
        changes: of each name; the first is what the start found.
        indexes: copies of the index of all lives, and when in this one (0: an earlier).
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder / "0"
        self.chance = random.Random(seed)
        self.changes: dict[str, list[Change]] = {}
        self.indexes: list[tuple[int, Path]] = []
        self._copies = folder / "indexes"
        self._copies.mkdir()
        self._count = 0

    def live(self, fault_share: float) -> None:
        """Start, and work until the end of this life; its trace has the start, too."""
        self.indexes = [(0, path) for _, path in self.indexes]
        self.files = Faults()
        self._remember()
        self.data, self.engine = open_engine(self.folder, self.files)
        assert not self.engine.report.damages
        self.changes = {key: [Change(one, 0, 0)] for key, one in contents(self.engine).items()}
        self._open: dict[int, tuple[str, bytes, int]] = {}
        self._compaction: Compaction | None = None

        def before(kind: str, name: str) -> None:
            if kind != "read" and self.chance.random() < fault_share:
                raise OSError(_ERRORS.get(kind, errno.EIO), f"{kind} of {name}")

        self.files.before = before
        actions: list[Callable[[], None]] = [self.upload] * 5 + [self.go_on] * 12
        actions += [self.flush] * 2 + [self.compact] * 4
        actions += [self.delete, self.break_off, self.copy_index]
        for _ in range(self.chance.choice([3, 40, 150])):
            with suppress(OSError):
                self.chance.choice(actions)()
            for key, one in contents(self.engine).items():
                assert one in self.allowed(key, len(self.files.trace)), key
        live, counted = self.engine.ledger.live_bytes, accounted(self.engine)
        for number, volume in volumes_of(self.engine).items():
            assert live[number] == counted[number] <= volume.end, number
        assert self.engine.used_bytes == sum(one.end for one in volumes_of(self.engine).values())
        self.files.before = lambda kind, name: None

    def die(self) -> None:
        """The program is gone, or the power; and the folder is as it may be then."""
        trace = self.files.trace
        upto = len(trace)
        if self.chance.random() < 0.3:
            if self.chance.random() < 0.5:
                with suppress(OSError):
                    self.engine.close()
            else:
                release(self.engine)
        else:
            release(self.engine)
            upto = self.chance.randint(self._began, len(trace))
            folder = self.folder.with_name(str(int(self.folder.name) + 1))
            (folder / "volumes").mkdir(parents=True)
            shutil.copy(self.folder / "chunkstore.json", folder)
            crash(trace[:upto], folder / "volumes", self.chance)
            shutil.rmtree(self.folder)
            self.folder = folder
        self.data.close()
        self.indexes = [(when, path) for when, path in self.indexes if when <= upto]
        self._check(upto)

    def _check(self, upto: int) -> None:
        """With an older index, with none, as it is: the same, and nothing else than may be."""
        found: list[dict[str, bytes | None]] = []
        for number in range(3):
            folder = self.folder.with_name("check")
            shutil.copytree(self.folder, folder)
            if number == 0 and self.indexes:
                self._replace_index(folder, self.chance.choice(self.indexes)[1])
            if number == 1:
                self._replace_index(folder, None)
            data, engine = open_engine(folder)
            assert not engine.report.damages, engine.report
            found.append(contents(engine))
            engine.close()
            data.close()
            shutil.rmtree(folder)
        assert found[0] == found[1] == found[2]
        for key in self.changes | found[0]:
            assert found[0].get(key) in self.allowed(key, upto), key
        if self.indexes and self.chance.random() < 0.3:
            self._replace_index(self.folder, self.chance.choice(self.indexes)[1])

    def allowed(self, key: str, upto: int) -> list[bytes | None]:
        """What it may have behind so many operations."""
        may: list[bytes | None] = [None]
        for one in self.changes.get(key, []):
            if one.acknowledged is not None and one.acknowledged <= upto:
                may = [one.content]
            elif one.asked <= upto:
                may.append(one.content)
        return may

    # --- what is done --------------------------------------------------------------------------

    def upload(self) -> None:
        """Begin one; small ones are over at once."""
        size = self.chance.choice([0, 1, 100, 700, 700, 1500, 4000])
        content = self.chance.randbytes(size)
        self._open[self.engine.begin()] = (f"/{self.chance.randint(0, 8)}", content, 0)
        if size < 500:
            self.go_on()

    def go_on(self) -> None:
        """The next run of an upload, or its commit."""
        if not self._open:
            return
        generation = self.chance.choice(list(self._open))
        key, content, sent = self._open.pop(generation)
        run = content[sent : sent + self.chance.choice([300, 1000])]
        try:
            if run:
                self.engine.append(generation, sent, [run])
                self._open[generation] = (key, content, sent + len(run))
            else:
                change = self._note(key, content)
                self.engine.commit(generation, key, len(content), b'{"type":"x"}')
        except OSError:
            self.engine.abandon(generation)
            raise
        if not run:
            self._pending.append(change)

    def break_off(self) -> None:
        """An upload that nobody ends."""
        if self._open:
            generation = self.chance.choice(list(self._open))
            del self._open[generation]
            self.engine.abandon(generation)

    def delete(self) -> None:
        """Any name goes, whether it is there or not."""
        key = f"/{self.chance.randint(0, 8)}"
        change = self._note(key, None)
        self.engine.delete(key)
        self._pending.append(change)

    def flush(self) -> None:
        """What was asked for since the last one is acknowledged, or never will be."""
        try:
            self.engine.flush()
        except OSError:
            self._settle(None)
            raise
        self._settle(len(self.files.trace))

    def compact(self) -> None:
        """A step of what is being compacted; or begin with any volume but the active one."""
        if self._compaction is None:
            numbers = sorted(self.engine.garbage_bytes())
            if not numbers:
                return
            self._compaction = self.engine.compaction(self.chance.choice(numbers))
        try:
            goes_on = self._compaction.step(most_bytes=1500, most_records=4)
        except OSError:
            self._compaction = None
            raise
        if not goes_on:
            self._compaction = None

    def copy_index(self) -> None:
        """As somebody might, who restores a backup of it."""
        self._count += 1
        path = self._copies / str(self._count)
        source, target = sqlite3.connect(self.data.index), sqlite3.connect(path)
        source.backup(target)
        source.close()
        target.close()
        self.indexes.append((len(self.files.trace), path))

    # --- inside --------------------------------------------------------------------------------

    def _note(self, key: str, content: bytes | None) -> Change:
        self.changes.setdefault(key, []).append(Change(content, len(self.files.trace)))
        return self.changes[key][-1]

    def _settle(self, now: int | None) -> None:
        for change in self._pending:
            change.acknowledged = now
        self._pending.clear()

    def _remember(self) -> None:
        """What this life begins with is durable."""
        trace = self.files.trace
        for path in sorted((self.folder / "volumes").glob("*")):
            trace.append(Operation("create", path.name))
            trace.append(Operation("write", path.name, 0, path.read_bytes()))
            trace.append(Operation("sync", path.name))
        trace.append(Operation("sync_folder"))
        self._began = len(trace)
        self._pending: list[Change] = []

    def _replace_index(self, folder: Path, path: Path | None) -> None:
        for one in folder.glob("index*"):
            one.unlink()
        if path is not None:
            shutil.copy(path, folder / "index.sqlite")


@pytest.mark.parametrize("fault_share", [0.0, 0.02])
@pytest.mark.parametrize("seed", range(WORLDS))
def test_nothing_is_lost_or_comes_back_in_any_life(
    seed: int, fault_share: float, tmp_path: Path
) -> None:
    world = World(tmp_path, seed)
    for _ in range(LIVES):
        world.live(fault_share)
        world.die()
