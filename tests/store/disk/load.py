"""A mixed load on an engine, and what every name may have at each moment of it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from itertools import count
from pathlib import Path

from chunkstore.errors import DamagedError
from chunkstore.store.disk.compaction import Compaction
from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.files import Files
from chunkstore.store.disk.stored import Extent
from chunkstore.store.disk.volume import Volume, volume_name
from tests.store.disk.trace import Recorder

__all__ = ["Load", "compact", "content_of", "open_engine", "read", "release", "volumes_of"]

VOLUME_BYTES = 6000
OWN_AFTER_BYTES = 2500


def open_engine(
    folder: Path, files: Files | None = None, *, clock_step_s: float = 0.4
) -> tuple[DataDir, Engine]:
    """A started engine with small volumes, on a folder that may be empty.

    Args:
        clock_step_s: time goes on by so much whenever the engine looks.
    """
    data = DataDir(folder)
    try:
        return data, Engine(
            data,
            files or Files(),
            volume_bytes=VOLUME_BYTES,
            own_after_bytes=OWN_AFTER_BYTES,
            clock=count(0.0, clock_step_s).__next__,
        )
    except BaseException:
        data.close()
        raise


def content_of(engine: Engine, key: str) -> bytes | None:
    """What a name has, every run of it checked; None: nothing."""
    stored = engine.ledger.objects.get(key)
    if stored is None:
        return None
    if not stored.is_whole:
        raise DamagedError(key, "bytes are missing")
    return b"".join(read(engine, key, extent) for extent in stored.extents)


def read(engine: Engine, key: str, extent: Extent) -> bytes:
    """A run of it, checked."""
    volume = engine.volume(extent.volume)
    if volume is None or not volume.hold():
        raise DamagedError(key, f"{volume_name(extent.volume)} is gone")
    try:
        return engine.verify(key, extent, volume)
    finally:
        volume.close()


def release(engine: Engine) -> None:
    """The program is gone: the system closes its files, and nothing else is done."""
    engine._index.close()
    for volume in volumes_of(engine).values():
        while volume._holders:
            volume.close()


def volumes_of(engine: Engine) -> dict[int, Volume]:
    """All there are, by number."""
    return engine._volumes.shared | engine._volumes.own


def compact(engine: Engine, number: int) -> None:
    """Empty a volume, with nothing between the steps."""
    compaction = engine.compaction(number)
    while compaction.step():
        pass


class Load:
    """PUT, overwrite, DELETE, uploads that break off, compaction; synced now and then.

    Attributes:
        history: of each name, what it had after each change, with the length of the trace when the
            change was asked for and when it was acknowledged (None: not yet).
        indexes: copies of the index, each with the length of the trace when it was made.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.files = Recorder()
        self.chance = random.Random(seed)
        self.data, self.engine = open_engine(folder, self.files)
        self.history: dict[str, list[tuple[bytes | None, int, int | None]]] = {}
        self.indexes: list[tuple[int, Path]] = []
        self._copies = folder.with_name(folder.name + "-indexes")
        self._copies.mkdir()
        self._compaction: Compaction | None = None
        self._open: dict[int, tuple[str, bytes, int]] = {}  # generation -> name, content, sent

    def run(self, steps: int) -> None:
        """So many steps."""
        actions = [self.upload] * 5 + [self.go_on] * 12 + [self.flush] * 2 + [self.compact] * 6
        actions += [self.delete, self.break_off, self.copy_index]
        for _ in range(steps):
            self.chance.choice(actions)()

    def upload(self) -> None:
        """Begin an upload; small ones are over at once."""
        key = f"/{self.chance.randint(0, 12)}"
        size = self.chance.choice([0, 1, 100, 700, 700, 1500, 4000])
        content = self.chance.randbytes(size)
        self._open[self.engine.begin()] = (key, content, 0)
        if size < 500:
            self.go_on()

    def go_on(self) -> None:
        """The next run of an upload, or its commit."""
        if not self._open:
            return
        generation = self.chance.choice(list(self._open))
        key, content, sent = self._open.pop(generation)
        run = content[sent : sent + self.chance.choice([300, 1000])]
        if run:
            self.engine.append(generation, sent, [run])
            self._open[generation] = (key, content, sent + len(run))
        else:
            self._note(key, content)
            self.engine.commit(generation, key, len(content), b'{"type":"x"}')

    def break_off(self) -> None:
        """An upload that nobody ends."""
        if self._open:
            generation = self.chance.choice(list(self._open))
            del self._open[generation]
            self.engine.abandon(generation)

    def delete(self) -> None:
        """A name goes."""
        self.flush()
        if self.engine.ledger.objects:
            key = self.chance.choice(sorted(self.engine.ledger.objects))
            self._note(key, None)
            self.engine.delete(key)

    def flush(self) -> None:
        """All that was asked for is acknowledged."""
        self.engine.flush()
        self._acknowledge()

    def compact(self) -> None:
        """A step of what is being compacted; or begin with any volume but the active one."""
        if self._compaction is None:
            numbers = sorted(self.engine.garbage_bytes())
            if numbers:
                self._compaction = self.engine.compaction(self.chance.choice(numbers))
        elif not self._compaction.step(most_bytes=1500, most_records=4):
            self._compaction = None

    def copy_index(self) -> None:
        """As somebody might, who restores a backup of it."""
        path = self._copies / str(len(self.indexes))
        source, target = sqlite3.connect(self.data.index), sqlite3.connect(path)
        source.backup(target)
        source.close()
        target.close()
        self.indexes.append((len(self.files.trace), path))

    def allowed(self, upto: int) -> dict[str, list[bytes | None]]:
        """What each name may have if the run ended behind so many operations."""
        found: dict[str, list[bytes | None]] = {}
        for key, changes in self.history.items():
            may: list[bytes | None] = [None]
            for content, asked, acknowledged in changes:
                if acknowledged is not None and acknowledged <= upto:
                    may = [content]
                elif asked <= upto:
                    may.append(content)
            found[key] = may
        return found

    def close(self) -> None:
        """Stop as a server does."""
        self.engine.close()
        self.data.close()
        shutil.rmtree(self._copies)

    def _note(self, key: str, content: bytes | None) -> None:
        self.history.setdefault(key, []).append((content, len(self.files.trace), None))

    def _acknowledge(self) -> None:
        now = len(self.files.trace)
        for changes in self.history.values():
            changes[:] = [(one[0], one[1], now if one[2] is None else one[2]) for one in changes]
