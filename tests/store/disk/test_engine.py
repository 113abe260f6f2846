"""The engine, a step at a time: what counts when, and what a disk that fails leaves."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chunkstore.store.disk.engine import INDEX_INTERVAL_S, Engine
from chunkstore.store.disk.files import Buffer
from chunkstore.store.disk.index import Index
from tests.store.disk.faults import Faults
from tests.store.disk.load import (
    OWN_AFTER_BYTES,
    VOLUME_BYTES,
    compact,
    content_of,
    open_engine,
    release,
)

FULL = OSError(errno.ENOSPC, "no space left on device")
BROKEN = OSError(errno.EIO, "input/output error")


class FaultyFiles(Faults):
    """Fails when told to.

    Attributes:
        write_error: raised by each write, behind the first half of it.
        sync_error: raised by the next sync, once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.write_error: OSError | None = None
        self.sync_error: OSError | None = None
        self.sync_count = 0

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        if self.write_error is not None:
            data = b"".join(pieces)
            super().write(fd, [data[: len(data) // 2]], position)
            raise self.write_error
        super().write(fd, pieces, position)

    def sync(self, fd: int) -> None:
        self.sync_count += 1
        if self.sync_error is not None:
            error, self.sync_error = self.sync_error, None
            raise error
        super().sync(fd)


class Bench:
    """An engine on a folder, that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = FaultyFiles()
        self.data, self.engine = open_engine(folder, self.files, clock_step_s=INDEX_INTERVAL_S)

    def put(self, key: str, content: bytes) -> None:
        """A whole upload, not flushed."""
        generation = self.engine.begin()
        self.append(generation, content)
        self.engine.commit(generation, key, len(content), b"facts")

    def append(self, generation: int, content: bytes) -> None:
        """What an upload begins with."""
        for offset in range(0, len(content), 1000):
            self.engine.append(generation, offset, [content[offset : offset + 1000]])

    def contents(self) -> dict[str, bytes | None]:
        """All there is."""
        return {key: content_of(self.engine, key) for key in self.engine.ledger.objects}

    def kill(self) -> None:
        """The program is gone; what the system has of its files stays."""
        release(self.engine)
        self.data.close()

    def restart(self) -> None:
        """Kill, and start."""
        self.kill()
        self.start()

    def start(self) -> None:
        """On what is there."""
        self.files = FaultyFiles()
        self.data, self.engine = open_engine(self.folder, self.files, clock_step_s=INDEX_INTERVAL_S)

    def stop(self) -> None:
        """As a server does."""
        self.engine.close()
        self.data.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Stopped at the end, whatever it went through."""
    bench = Bench(tmp_path / "data")
    yield bench
    bench.stop()


def numbers(bench: Bench) -> set[str]:
    """The files there are."""
    return {path.name for path in (bench.folder / "volumes").iterdir()}


def test_it_counts_when_flush_returns(bench: Bench) -> None:
    bench.put("/a", b"one")
    assert not bench.contents()
    bench.engine.flush()
    assert bench.contents() == {"/a": b"one"}
    assert bench.engine.ledger.objects["/a"].facts == b"facts"
    bench.put("/a", b"two")
    bench.engine.delete("/b")
    assert bench.contents() == {"/a": b"one"}
    bench.engine.flush()
    assert bench.contents() == {"/a": b"two"}
    bench.engine.delete("/a")
    bench.engine.flush()
    assert not bench.contents()


def test_many_commits_are_one_sync(bench: Bench) -> None:
    before = bench.files.sync_count
    for number in range(30):
        bench.put(f"/{number}", b"x" * 10)
    bench.engine.flush()
    assert bench.files.sync_count == before + 1


def test_an_empty_object(bench: Bench) -> None:
    bench.put("/empty", b"")
    bench.engine.flush()
    bench.restart()
    assert bench.contents() == {"/empty": b""}


def test_a_large_object_has_a_file_of_its_own_which_goes_with_it(bench: Bench) -> None:
    content = bytes(range(250)) * 40
    bench.put("/large", content)
    bench.engine.flush()
    [own] = [name for name in numbers(bench) if name.startswith("own-")]
    extents = bench.engine.ledger.objects["/large"].extents
    assert {one.offset >= OWN_AFTER_BYTES for one in extents if one.volume > 2**40} == {True}
    bench.restart()
    assert bench.contents() == {"/large": content}
    bench.put("/large", b"small")
    bench.engine.flush()
    assert own not in numbers(bench)


def test_a_large_upload_that_broke_off_leaves_no_file(bench: Bench) -> None:
    for is_told in (True, False):
        generation = bench.engine.begin()
        bench.append(generation, bytes(OWN_AFTER_BYTES + 1000))
        bench.engine.flush()
        assert any(name.startswith("own-") for name in numbers(bench))
        if is_told:
            bench.engine.abandon(generation)
            bench.engine.flush()
        else:
            bench.restart()
        assert not any(name.startswith("own-") for name in numbers(bench))


def test_an_upload_that_was_flushed_in_part_goes_on_behind_a_full_volume(bench: Bench) -> None:
    generation = bench.engine.begin()
    bench.engine.append(generation, 0, [b"a" * 900])
    bench.engine.flush()
    for number in range(12):
        bench.put(f"/{number}", b"x" * 900)
    bench.engine.append(generation, 900, [b"b" * 900])
    bench.engine.commit(generation, "/a", 1800, b"")
    bench.engine.flush()
    bench.restart()
    assert content_of(bench.engine, "/a") == b"a" * 900 + b"b" * 900
    assert len(numbers(bench)) > 2


def test_compaction_keeps_what_is_needed_and_frees_the_rest(bench: Bench) -> None:
    for number in range(12):
        bench.put(f"/{number % 3}", bytes([number]) * 900)
    bench.put("/gone", b"x")
    bench.engine.flush()
    bench.engine.delete("/gone")
    bench.engine.flush()
    expected = bench.contents()
    for number in sorted(bench.engine.garbage_bytes()):
        compact(bench.engine, number)
        assert bench.contents() == expected
    bench.restart()
    assert bench.contents() == expected
    size = sum(path.stat().st_size for path in (bench.folder / "volumes").iterdir())
    assert size < 2 * VOLUME_BYTES


def test_compaction_does_not_lose_a_run_that_is_damaged(bench: Bench) -> None:
    for number in range(8):
        bench.put(f"/{number}", b"x" * 900)
    bench.engine.flush()
    extent = bench.engine.ledger.objects["/0"].extents[0]
    path = bench.folder / "volumes" / "00000001.vol"
    with path.open("r+b") as file:
        file.seek(extent.position)
        file.write(b"y")
    compact(bench.engine, 1)
    assert bench.engine.left_alone == {1: "/0 is damaged: 00000001.vol at 156"}
    assert path.exists()
    assert content_of(bench.engine, "/1") == b"x" * 900


def test_a_full_disk_harms_nothing_and_service_resumes(bench: Bench) -> None:
    bench.put("/a", b"one")
    bench.engine.flush()
    bench.files.write_error = FULL
    generation = bench.engine.begin()
    with pytest.raises(OSError, match="no space left"):
        bench.engine.append(generation, 0, [b"x" * 900])
    with pytest.raises(OSError, match="no space left"):
        bench.put("/a", b"two")
    bench.engine.flush()
    assert bench.contents() == {"/a": b"one"}
    bench.files.write_error = None
    bench.put("/b", b"three")
    bench.engine.flush()
    bench.restart()
    assert bench.contents() == {"/a": b"one", "/b": b"three"}
    assert not bench.engine.report.damages


def test_a_full_disk_as_a_volume_is_begun(bench: Bench) -> None:
    for number in range(6):
        bench.put(f"/{number}", b"x" * 850)
    bench.files.write_error = FULL
    with pytest.raises(OSError, match="no space left"):
        bench.put("/more", b"x" * 900)
    assert numbers(bench) == {"00000001.vol"}
    bench.files.write_error = None
    bench.engine.flush()
    assert len(bench.contents()) == 6


def test_a_sync_that_fails_freezes_the_volume(bench: Bench) -> None:
    bench.put("/a", b"one")
    bench.engine.flush()
    bench.put("/a", b"two")
    bench.files.sync_error = BROKEN
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    assert bench.contents() == {"/a": b"one"}
    bench.put("/b", b"three")
    bench.engine.flush()
    assert numbers(bench) == {"00000001.vol", "00000002.vol"}
    assert bench.contents() == {"/a": b"one", "/b": b"three"}
    bench.restart()
    assert bench.contents() == {"/a": b"one", "/b": b"three"}


def test_the_index_may_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Index, "save", fail)
        bench.put("/a", b"one")
        bench.engine.flush()
        assert bench.engine.index_error == "database or disk is full"
        assert bench.contents() == {"/a": b"one"}
        bench.kill()
    bench.start()
    assert bench.contents() == {"/a": b"one"}
    assert not bench.engine.index_error


def test_files_that_are_none_of_ours_are_left_alone(bench: Bench) -> None:
    names = ["notes.txt", "1.vol", "00000000x.vol", "own-01.vol"]
    for name in names:
        (bench.folder / "volumes" / name).write_text("mine")
    bench.restart()
    assert {(bench.folder / "volumes" / name).read_text() for name in names} == {"mine"}


def test_an_engine_that_cannot_begin_gives_its_folder_back(tmp_path: Path) -> None:
    files = FaultyFiles()
    files.write_error = FULL
    with pytest.raises(OSError, match="no space left"):
        open_engine(tmp_path / "data", files)
    data, engine = open_engine(tmp_path / "data")
    assert isinstance(engine, Engine)
    engine.close()
    data.close()
