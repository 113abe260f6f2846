"""What counts without being durable, and what a power cut takes of it: the end, and no more."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.errors import DamagedError
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.sync import Sync
from chunkstore.store.disk.volume import OWN
from tests.store.disk.load import OWN_AFTER_BYTES, content_of, open_engine
from tests.store.disk.test_engine import BROKEN, Bench, numbers
from tests.store.disk.test_faults import fail
from tests.store.disk.trace import Recorder, crash

STATES = 60


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Stopped at the end, whatever it went through."""
    bench = Bench(tmp_path / "data")
    yield bench
    bench.stop()


def put(engine: Engine, key: str, content: bytes) -> None:
    """An object that counts, and needn't be durable."""
    generation = engine.begin()
    for offset in range(0, len(content), 1000):
        engine.append(generation, offset, [content[offset : offset + 1000]])
    engine.commit(generation, key, len(content), b"", sync=False)
    engine.flush(sync=False)


def test_the_names_are_those_of_the_setting() -> None:
    assert [one.value for one in Sync] == ["close", "always", "none"]


def test_nothing_is_synced_and_it_counts(bench: Bench) -> None:
    before = bench.files.sync_count
    put(bench.engine, "/a", b"one")
    put(bench.engine, "/b", b"two")
    bench.engine.delete("/b")
    bench.engine.flush(sync=False)
    assert bench.files.sync_count == before
    assert bench.contents() == {"/a": b"one"}
    bench.restart()
    assert bench.contents() == {"/a": b"one"}


def test_the_index_does_not_run_ahead_of_the_disk(bench: Bench) -> None:
    put(bench.engine, "/a", b"one")
    assert bench.engine.ledger.touched
    bench.engine.flush()
    assert not bench.engine.ledger.touched


def test_a_run_can_be_read_at_once_and_is_durable_with_the_next_flush(bench: Bench) -> None:
    before = bench.files.sync_count
    generation = bench.engine.begin()
    extent = bench.engine.append(generation, 0, [b"one"])
    located = bench.engine.locate("/a", generation)
    assert located is not None
    assert list(located.extents) == [extent]
    assert bench.engine.verify("/a", extent, located.volumes[extent.volume]) == b"one"
    located.close()
    assert bench.files.sync_count == before
    bench.engine.flush()
    assert bench.files.sync_count == before + 1


def test_what_counts_stays_when_a_later_sync_fails(bench: Bench) -> None:
    """It may be lost with the power; until then it is there, and so it is behind a start."""
    put(bench.engine, "/a", b"one")
    bench.put("/b", b"two")
    bench.files.sync_error = BROKEN
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    assert bench.contents() == {"/a": b"one"}
    put(bench.engine, "/c", b"three")
    bench.restart()
    assert bench.contents() == {"/a": b"one", "/c": b"three"}


@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_takes_the_end(seed: int, tmp_path: Path) -> None:
    """Of small objects: what is there is what was there at some moment behind the last sync."""
    files, chance = Recorder(), random.Random(seed)
    data, engine = open_engine(tmp_path / "data", files)
    moments: list[tuple[int, dict[str, bytes]]] = [(0, {})]
    durable = 0  # index of the moment that was synced
    syncs = [(0, 0)]
    for number in range(150):
        now = dict(moments[-1][1])
        key = f"/{chance.randrange(9)}"
        if chance.random() < 0.2:
            engine.delete(key)
            engine.flush(sync=False)
            now.pop(key, None)
        else:
            now[key] = chance.randbytes(chance.choice([0, 10, 300, 900]))
            put(engine, key, now[key])
        moments.append((len(files.trace), now))
        if chance.random() < 0.1:
            engine.flush()
            durable = number + 1
            syncs.append((len(files.trace), durable))
    for number in range(STATES):
        upto = chance.randint(0, len(files.trace))
        folder = tmp_path / f"state-{number}"
        (folder / "volumes").mkdir(parents=True)
        shutil.copy(tmp_path / "data" / "chunkstore.json", folder)
        crash(files.trace[:upto], folder / "volumes", chance)
        its_data, its_engine = open_engine(folder)
        assert not its_engine.report.damages
        found = {key: content_of(its_engine, key) for key in its_engine.ledger.objects}
        first = max(index for when, index in syncs if when <= upto)
        last = next((index for index, (when, _) in enumerate(moments) if when >= upto), 150)
        assert found in [now for _, now in moments[first : last + 1]]
        its_engine.close()
        its_data.close()
    engine.close()
    data.close()


def test_a_power_cut_leaves_a_file_of_its_own_torn_and_it_is_told(bench: Bench) -> None:
    content = bytes(OWN_AFTER_BYTES + 1000)
    put(bench.engine, "/a", content)
    generation = bench.engine.ledger.objects["/a"].generation
    assert bench.engine._volumes.own[OWN + generation].synced_bytes < OWN_AFTER_BYTES
    bench.kill()
    [path] = (bench.folder / "volumes").glob("own-*")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 500)
    bench.start()
    assert bench.engine.report.damages
    with pytest.raises(DamagedError):
        content_of(bench.engine, "/a")


# --- what a sync failed for ----------------------------------------------------------------------


def test_an_upload_that_lacks_bytes_is_not_committed(bench: Bench) -> None:
    bench.put("/a", b"one")
    bench.engine.flush()
    generation = bench.engine.begin()
    bench.engine.append(generation, 0, [b"x" * 10])
    for size_bytes in (0, 9, 11):
        with pytest.raises(ValueError, match=f"upload {generation} has 10 bytes, not {size_bytes}"):
            bench.engine.commit(generation, "/a", size_bytes, b"")
    bench.engine.flush()
    assert bench.contents() == {"/a": b"one"}
    bench.engine.commit(generation, "/a", 10, b"")
    bench.engine.flush()
    assert bench.contents() == {"/a": b"x" * 10}


def test_a_run_that_failed_may_be_appended_again(bench: Bench) -> None:
    generation = bench.engine.begin()
    bench.engine.append(generation, 0, [b"one"])
    fail(bench, "write")
    with pytest.raises(OSError, match="input/output"):
        bench.engine.append(generation, 3, [b"two"])
    with pytest.raises(ValueError, match="has 3 bytes, not 6"):
        bench.engine.commit(generation, "/a", 6, b"")
    bench.engine.append(generation, 3, [b"two"])
    bench.engine.commit(generation, "/a", 6, b"")
    bench.engine.flush()
    bench.restart()
    assert bench.contents() == {"/a": b"onetwo"}


@pytest.mark.parametrize("is_retried", [False, True])
@pytest.mark.parametrize("size_bytes", [900, OWN_AFTER_BYTES + 1000])
def test_what_could_not_be_taken_back_is_whole_behind_a_death(
    size_bytes: int, is_retried: bool, bench: Bench
) -> None:
    """The commit stays on the disk for all that was done; so must what it needs."""
    content = b"x" * size_bytes
    bench.put("/a", b"one")
    generation = bench.engine.begin()
    bench.append(generation, content)
    bench.engine.flush()
    bench.engine.commit(generation, "/a", size_bytes, b"")
    path = bench.folder / "volumes" / "00000001.vol"
    kept = path.read_bytes()

    def before(kind: str, name: str) -> None:
        if (kind == "sync" and name.startswith("00")) or kind == "truncate":
            raise BROKEN

    bench.files.before = before
    with pytest.raises(OSError, match="input/output"):
        bench.engine.flush()
    if is_retried:  # cut off, it seems; but the disk had it all the time
        bench.files.before = lambda kind, name: None
        bench.engine.flush()
        assert bench.contents() == {"/a": b"one"}
    bench.kill()
    path.write_bytes(kept)
    for _ in range(2):
        bench.start()
        assert bench.contents() == {"/a": content}
        assert not bench.engine.report.damages
        bench.kill()
    bench.start()


def test_a_file_of_its_own_that_fails_as_it_is_committed_is_named(bench: Bench) -> None:
    fail(bench, "sync", "own-", skip=1)  # its making goes well
    with pytest.raises(OSError, match="input/output"):
        bench.put("/a", bytes(OWN_AFTER_BYTES + 1000))
    [name] = bench.engine.frozen
    assert name.startswith("own-")
    generation = int(name.removeprefix("own-").removesuffix(".vol"))
    with pytest.raises(OSError, match="a sync failed"):
        bench.engine.commit(generation, "/a", OWN_AFTER_BYTES + 1000, b"")
    bench.engine.abandon(generation)
    bench.engine.flush()
    assert not bench.engine.frozen
    assert numbers(bench) == {"00000001.vol"}
    assert not bench.contents()
