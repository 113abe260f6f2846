"""A disk that fails in the middle of something: what counts, what doesn't, and what goes on."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.errors import DamagedError
from tests.store.disk.load import OWN_AFTER_BYTES, compact, content_of
from tests.store.disk.test_engine import BROKEN, FULL, Bench, numbers


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Stopped at the end, whatever it went through."""
    bench = Bench(tmp_path / "data")
    yield bench
    bench.stop()


def fill(bench: Bench) -> None:
    """So many records that the next large one begins another volume."""
    for number in range(5):
        bench.put(f"/fill{number}", b"x" * 900)
    bench.engine.flush()


def lose_index(bench: Bench) -> None:
    """Kill, take the index away, start."""
    bench.kill()
    for path in bench.folder.glob("index*"):
        path.unlink()
    bench.start()


def fail(
    bench: Bench, kind: str, name: str = "", *, error: OSError = BROKEN, skip: int = 0
) -> None:
    """The next operation of a kind fails, once; on a file whose name begins so."""
    left = skip

    def before(its_kind: str, its_name: str) -> None:
        nonlocal left
        if its_kind == kind and its_name.startswith(name):
            left -= 1
            if left == -1:
                raise error

    bench.files.before = before


# --- a sync that fails ---------------------------------------------------------------------------


def test_a_sync_that_fails_as_a_volume_is_begun_is_told_by_the_flush(bench: Bench) -> None:
    fill(bench)
    bench.put("/a", b"one")
    bench.files.sync_error = BROKEN
    with pytest.raises(OSError, match="input/output"):
        bench.put("/b", b"x" * 900)
    with pytest.raises(OSError, match="input/output"):  # /a must not be acknowledged
        bench.engine.flush()
    bench.engine.flush()
    assert "/a" not in bench.contents()


def test_an_upload_that_lost_a_run_cannot_be_committed(bench: Bench) -> None:
    bench.put("/a", b"one")
    bench.engine.flush()
    generation = bench.engine.begin()
    bench.engine.append(generation, 0, [b"x" * 900])
    bench.files.sync_error = BROKEN
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    with pytest.raises(OSError, match="a sync failed"):
        bench.engine.append(generation, 900, [b"x" * 900])
    with pytest.raises(OSError, match="a sync failed"):
        bench.engine.commit(generation, "/a", 1800, b"")
    bench.engine.flush()
    assert bench.contents() == {"/a": b"one"}


def test_what_a_sync_failed_for_does_not_count_later(bench: Bench) -> None:
    """The commit may be on the disk for all that; the file that it needs is gone."""
    bench.put("/a", b"one")
    bench.engine.flush()
    bench.put("/a", bytes(OWN_AFTER_BYTES) + b"x" * 1000)
    fail(bench, "sync", "00")  # not that of its own file
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    bench.engine.flush()
    bench.restart()
    assert bench.contents() == {"/a": b"one"}
    assert not bench.engine.report.damages


def test_what_a_sync_failed_for_is_taken_back_at_once(bench: Bench) -> None:
    """The system has it in memory, and believes it to be on the disk: so would a start."""
    bench.put("/a", b"one")
    bench.engine.flush()
    bench.put("/a", b"two")
    bench.files.sync_error = BROKEN
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    bench.restart()
    assert bench.contents() == {"/a": b"one"}


def test_a_file_of_its_own_that_fails_takes_the_others_of_its_flush_back(bench: Bench) -> None:
    bench.put("/a", b"one")
    bench.engine.flush()
    bench.put("/a", b"two")
    generation = bench.engine.begin()
    bench.append(generation, bytes(OWN_AFTER_BYTES + 1000))
    fail(bench, "sync", "own-")
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    bench.engine.flush()
    assert bench.contents() == {"/a": b"one"}
    lose_index(bench)
    assert bench.contents() == {"/a": b"one"}


def test_a_volume_behind_a_frozen_one_may_be_compacted(bench: Bench) -> None:
    bench.put("/a", b"one")
    bench.engine.flush()
    bench.put("/a", b"two")
    bench.files.sync_error = BROKEN
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    for _ in range(2):
        fill(bench)
    compact(bench.engine, 2)
    assert numbers(bench) >= {"00000001.vol", "00000003.vol"}
    bench.restart()
    assert bench.contents()["/a"] == b"one"


def test_an_upload_that_ended_as_a_sync_failed_is_forgotten(bench: Bench) -> None:
    generation = bench.engine.begin()
    bench.append(generation, bytes(OWN_AFTER_BYTES + 1000))
    bench.engine.flush()
    bench.put("/a", b"one")
    bench.engine.abandon(generation)
    bench.files.sync_error = BROKEN
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    bench.engine.flush()
    assert not bench.engine.ledger.open
    # Its file stays until another volume says that what was taken back doesn't count.
    assert numbers(bench) == {"00000001.vol", f"own-{generation}.vol"}
    bench.put("/a", b"one")
    bench.engine.flush()
    assert numbers(bench) == {"00000001.vol", "00000002.vol"}


# --- names ---------------------------------------------------------------------------------------


def test_a_volume_whose_making_failed_may_come_back(bench: Bench) -> None:
    """What was written since is torn; that a name stands behind it doesn't make it durable."""
    bench.put("/a", b"one")
    fill(bench)
    bench.put("/a", b"x" * 100)
    end = bench.engine._volumes.active.end
    bench.kill()
    path = bench.folder / "volumes" / "00000001.vol"
    with path.open("r+b") as file:  # of the run a page is lost, and not of the commit
        file.seek(bench.engine._volumes.active.synced_bytes + 80)
        file.write(bytes(50))
    assert path.stat().st_size == end
    (bench.folder / "volumes" / "00000002.vol").write_bytes(b"")
    bench.start()
    assert content_of(bench.engine, "/a") == b"one"
    assert not bench.engine.report.damages


def test_a_name_that_is_left_over_hinders_nobody(bench: Bench) -> None:
    fill(bench)
    bench.put("/a", b"x" * 100)

    def before(kind: str, name: str) -> None:
        if (kind == "sync" and name == "00000002.vol") or kind == "unlink":
            raise BROKEN

    bench.files.before = before
    with pytest.raises(OSError, match="input/output"):
        bench.put("/b", b"x" * 900)
    bench.put("/b", b"x" * 900)
    bench.engine.flush()
    bench.restart()
    assert {"/a", "/b"} <= bench.contents().keys()
    assert not bench.engine.report.damages


def test_a_volume_of_which_there_is_a_name_alone_is_no_damage(bench: Bench) -> None:
    bench.kill()
    (bench.folder / "volumes" / "00000002.vol").write_bytes(b"")
    bench.start()
    bench.put("/a", b"one")
    bench.engine.flush()
    bench.restart()
    assert bench.contents() == {"/a": b"one"}
    assert not bench.engine.report.damages


def test_a_file_that_cannot_go_now_goes_later(bench: Bench) -> None:
    bench.put("/large", bytes(OWN_AFTER_BYTES + 1000))
    bench.engine.flush()
    bench.engine.delete("/large")
    fail(bench, "unlink")
    bench.engine.flush()  # the tombstone is durable; a file that is left over harms nobody
    bench.put("/a", b"one")
    bench.engine.flush()
    assert bench.contents() == {"/a": b"one"}
    assert numbers(bench) == {"00000001.vol"}


def test_a_compaction_whose_unlink_failed_may_be_tried_again(bench: Bench) -> None:
    for _ in range(2):
        fill(bench)
    expected = bench.contents()
    fail(bench, "sync_folder")
    with pytest.raises(OSError, match="input/output"):
        compact(bench.engine, 1)
    compact(bench.engine, 1)
    assert "00000001.vol" not in numbers(bench)
    assert bench.contents() == expected


# --- compaction and tombstones -------------------------------------------------------------------


def test_a_name_that_never_was_may_be_deleted_and_compacted(bench: Bench) -> None:
    bench.engine.delete("/never")
    for _ in range(2):
        fill(bench)
    compact(bench.engine, 1)
    assert "00000001.vol" not in numbers(bench)


def test_a_compaction_that_was_given_up_brings_nothing_back(bench: Bench) -> None:
    """Its volume still has the commits that were written again."""
    bench.put("/a", b"one")
    bench.put("/damaged", b"x" * 900)
    extent = None
    for _ in range(2):
        fill(bench)
    extent = bench.engine.ledger.objects["/damaged"].extents[0]
    with (bench.folder / "volumes" / "00000001.vol").open("r+b") as file:
        file.seek(extent.position)
        file.write(b"y")
    compact(bench.engine, 1)
    assert bench.engine.left_alone.keys() == {1}
    bench.engine.delete("/a")
    bench.engine.flush()
    for number in (2, 3, 4):
        fill(bench)
        compact(bench.engine, number)
    lose_index(bench)
    assert "/a" not in bench.engine.ledger.objects


# --- a full disk ---------------------------------------------------------------------------------


def test_a_full_disk_leaves_no_damage_behind(bench: Bench) -> None:
    """What a write left of a record, in a volume that isn't the last one."""
    fill(bench)
    bench.files.write_error = FULL
    with pytest.raises(OSError, match="no space left"):
        bench.put("/a", b"x" * 300)
    bench.files.write_error = None
    for _ in range(2):
        for number in range(6):
            bench.put(f"/{number}", b"x" * 900)
        bench.engine.flush()
    compact(bench.engine, 2)
    lose_index(bench)
    assert not bench.engine.report.damages


def test_a_full_disk_does_not_hinder_an_end(bench: Bench) -> None:
    bench.put("/a", b"one")
    bench.engine.flush()
    bench.files.write_error = FULL
    bench.stop()
    bench.start()
    assert bench.contents() == {"/a": b"one"}


def test_each_volume_says_how_far_the_sequence_was(bench: Bench) -> None:
    """Or it would be counted again from what is left, and an older index would know better."""
    fill(bench)
    bench.put("/a", b"x" * 100)
    generation = bench.engine.begin()
    fail(bench, "write", error=FULL, skip=1)  # the head of a volume goes well
    with pytest.raises(OSError, match="no space left"):
        bench.engine.append(generation, 0, [b"x" * 900])
    bench.engine.flush()
    bench.engine.delete("/a")
    for number in range(5):
        bench.engine.delete(f"/fill{number}")
    bench.engine.flush()
    sequence = bench.engine._log.sequence
    assert bench.engine._volumes.shared[2].bytes_of(1) is not None
    compact(bench.engine, 1)
    lose_index(bench)
    assert bench.engine._log.sequence >= sequence - 6


# --- the index -----------------------------------------------------------------------------------


def test_an_index_that_another_has_locked_keeps_nobody_waiting(bench: Bench) -> None:
    other = sqlite3.connect(bench.data.index, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    bench.put("/a", b"one")
    bench.engine.flush()
    assert time.monotonic() - began < 1
    assert "locked" in bench.engine.index_error
    other.close()
    bench.engine.flush()
    assert not bench.engine.index_error


def test_a_disk_without_room_for_the_index_is_served(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put("/a", b"one")
    bench.engine.flush()
    connect = sqlite3.connect

    def connect_to(path: str, *, isolation_level: None, check_same_thread: bool) -> object:
        if path != ":memory:":
            raise sqlite3.OperationalError("database or disk is full")
        return connect(path, isolation_level=isolation_level, check_same_thread=check_same_thread)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_to)
        bench.restart()
    assert bench.contents() == {"/a": b"one"}
    assert bench.engine.report.rebuilt == "database or disk is full"
    bench.engine.delete("/a")
    bench.put("/b", b"two")
    bench.engine.flush()
    bench.restart()
    assert bench.contents() == {"/b": b"two"}


# --- readers -------------------------------------------------------------------------------------


def test_a_reader_keeps_the_file_that_it_reads(bench: Bench) -> None:
    for _ in range(2):
        fill(bench)
    stored = bench.engine.ledger.objects["/fill0"]
    extent = stored.extents[0]
    located = bench.engine.locate("/fill0", stored.generation)
    assert located is not None
    for number in range(6):
        bench.put(f"/{number}", b"x" * 900)
    is_reading, may_read = threading.Event(), threading.Event()

    def before(kind: str, name: str) -> None:
        if kind == "read" and threading.current_thread() is reader:
            is_reading.set()
            may_read.wait()

    found: list[object] = []

    def read() -> None:
        try:
            found.append(bench.engine.verify("/fill0", extent, located.volumes[extent.volume]))
        except (OSError, DamagedError) as error:
            found.append(error)

    reader = threading.Thread(target=read)
    bench.files.before = before
    reader.start()
    is_reading.wait()
    compact(bench.engine, extent.volume)
    fds = [os.open(bench.folder / "chunkstore.json", os.O_RDONLY) for _ in range(3)]
    may_read.set()
    reader.join()
    for fd in fds:
        os.close(fd)
    located.close()
    assert found == [b"x" * 900]
