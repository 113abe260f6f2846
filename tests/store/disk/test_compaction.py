"""Compaction, a step at a time, while the same names are written and deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.store.disk.record import HEADER_BYTES
from tests.store.disk.load import VOLUME_BYTES, compact, content_of
from tests.store.disk.test_engine import BROKEN, Bench, numbers
from tests.store.disk.test_faults import fail, lose_index


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """With a full volume: /0 to /4, and an active one. Stopped at the end."""
    bench = Bench(tmp_path / "data")
    for number in range(7):
        bench.put(f"/{number}", bytes([number]) * 900)
    bench.engine.flush()
    assert list(bench.engine.garbage_bytes()) == [1]
    yield bench
    bench.stop()


@pytest.mark.parametrize("steps", range(15))
def test_what_happens_between_two_steps_wins(steps: int, bench: Bench) -> None:
    """In the middle, everything that there is is replaced, deleted and written anew."""
    compaction = bench.engine.compaction(1)
    for _ in range(steps):
        compaction.step(most_records=1)
    bench.put("/0", b"new")
    bench.engine.delete("/1")
    bench.put("/2", b"new")
    bench.engine.delete("/2")
    bench.engine.delete("/3")
    bench.put("/3", b"new")
    while compaction.step(most_records=1):
        pass
    bench.engine.flush()
    expected = {"/0": b"new", "/3": b"new"} | {f"/{n}": bytes([n]) * 900 for n in (4, 5, 6)}
    assert bench.contents() == expected
    assert "00000001.vol" not in numbers(bench)
    bench.restart()
    assert bench.contents() == expected
    lose_index(bench)
    assert bench.contents() == expected


def test_an_upload_under_way_is_moved_and_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data")
    generation = bench.engine.begin()
    bench.append(generation, b"a" * 900)
    for number in range(6):
        bench.put(f"/{number}", b"x" * 900)
    bench.engine.flush()
    compaction = bench.engine.compaction(1)
    while compaction.step(most_bytes=1):
        bench.engine.flush()
    assert "00000001.vol" not in numbers(bench)
    located = bench.engine.locate("/a", generation)
    assert located is not None
    assert located.volumes.keys() == {2}
    located.close()
    bench.engine.append(generation, 900, [b"b" * 900])
    bench.engine.commit(generation, "/a", 1800, b"")
    bench.engine.flush()
    bench.restart()
    assert content_of(bench.engine, "/a") == b"a" * 900 + b"b" * 900
    bench.stop()


def test_an_upload_that_ends_while_it_is_moved_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data")
    generation = bench.engine.begin()
    bench.append(generation, b"a" * 900)
    for number in range(6):
        bench.put(f"/{number}", b"x" * 900)
    bench.engine.flush()
    compaction = bench.engine.compaction(1)
    compaction.step(most_bytes=1)
    bench.engine.abandon(generation)
    while compaction.step(most_bytes=1):
        pass
    assert not bench.engine.ledger.open
    assert "00000001.vol" not in numbers(bench)
    bench.stop()


def test_a_step_is_bounded(bench: Bench) -> None:
    compaction = bench.engine.compaction(1)
    record_bytes = HEADER_BYTES + 900
    before = compaction.copied_bytes
    while compaction.step(most_bytes=1000):
        assert compaction.copied_bytes - before <= 1000 + record_bytes
        before = compaction.copied_bytes
    assert compaction.copied_bytes > 5 * record_bytes
    assert not compaction.step()


def test_a_sync_that_fails_between_two_steps_ends_it(bench: Bench) -> None:
    expected = bench.contents()
    compaction = bench.engine.compaction(1)
    compaction.step(most_bytes=1)
    bench.files.sync_error = BROKEN
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    with pytest.raises(OSError, match="a sync failed"):
        compaction.step()
    assert not compaction.step()
    assert not bench.engine.left_alone
    assert bench.contents() == expected
    compact(bench.engine, 1)
    assert "00000001.vol" not in numbers(bench)
    assert bench.contents() == expected


def test_a_record_whose_header_is_damaged_leaves_the_volume_alone(bench: Bench) -> None:
    expected = bench.contents()
    extent = bench.engine.ledger.objects["/3"].extents[0]
    with (bench.folder / "volumes" / "00000001.vol").open("r+b") as file:
        file.seek(extent.position - HEADER_BYTES + 8)
        file.write(b"\xff")
    record_bytes = HEADER_BYTES + 900
    message = f"{record_bytes} bytes at {extent.position - HEADER_BYTES} are damaged"
    for _ in range(2):
        compact(bench.engine, 1)
        assert bench.engine.left_alone == {1: message}
        assert bench.contents() == expected
    for number in range(6):
        bench.put(f"/{number}", b"x")
    bench.engine.flush()
    assert bench.engine.most_garbage(1 << 30) != 1


def test_a_disk_that_cannot_read_leaves_the_volume_alone(bench: Bench) -> None:
    expected = bench.contents()
    fail(bench, "read", error=BROKEN, skip=2)
    compact(bench.engine, 1)
    assert bench.engine.left_alone.keys() == {1}
    assert bench.contents() == expected


def test_it_is_worth_it_from_thirty_percent_of_garbage_on(bench: Bench) -> None:
    assert bench.engine.most_garbage(1 << 30) is None
    bench.engine.delete("/0")
    bench.engine.flush()
    assert bench.engine.most_garbage(1 << 30) is None
    bench.engine.delete("/1")
    bench.engine.flush()
    assert bench.engine.garbage_bytes()[1] > 0.3 * VOLUME_BYTES
    assert bench.engine.most_garbage(1 << 30) == 1


def test_it_is_refused_where_what_lives_would_not_fit(bench: Bench) -> None:
    for number in range(3):
        bench.engine.delete(f"/{number}")
    bench.engine.flush()
    live = bench.engine.ledger.live_bytes[1]
    assert bench.engine.most_garbage(live - 1) is None
    assert bench.engine.most_garbage(live) == 1
    bench.files.free = live
    assert bench.engine.most_garbage(bench.engine.free_bytes()) == 1


def test_what_is_used_is_what_the_files_have(bench: Bench) -> None:
    compact(bench.engine, 1)
    bench.put("/large", bytes(5000))
    bench.engine.flush()
    bench.engine.delete("/large")
    bench.put("/1", b"x")
    bench.engine.flush()
    files = (bench.folder / "volumes").iterdir()
    assert bench.engine.used_bytes == sum(path.stat().st_size for path in files)
    assert bench.engine.free_bytes() > 0


def test_a_frozen_volume_is_named_until_it_is_gone(bench: Bench) -> None:
    assert not bench.engine.frozen
    bench.files.sync_error = BROKEN
    bench.put("/a", b"x")
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    assert bench.engine.frozen == ["00000002.vol"]
    bench.put("/a", b"x")
    bench.engine.flush()
    compact(bench.engine, 2)
    assert not bench.engine.frozen
