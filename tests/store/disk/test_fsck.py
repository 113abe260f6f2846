"""What a check finds: all of it, by name; and nothing is touched by looking."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from chunkstore.errors import DamagedError, DataDirError
from chunkstore.store.disk.fsck import Flaw, check, repair
from chunkstore.store.disk.record import HEADER_BYTES
from tests.store.disk.load import OWN_AFTER_BYTES, Load, content_of, open_engine
from tests.store.disk.test_datadir import unprivileged
from tests.store.disk.test_engine import Bench
from tests.store.disk.trace import crash


def state(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything about a folder that looking could change, but for times of access."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        facts = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (facts.st_ino, facts.st_mtime_ns, facts.st_mode, content)
    return found


def full(folder: Path) -> Bench:
    """A data dir with a little of everything."""
    bench = Bench(folder)
    for number in range(8):
        bench.put(f"/{number}", bytes([number]) * 900)
    bench.put("/large", b"x" * (OWN_AFTER_BYTES + 1000))
    bench.put("/0", b"again")
    bench.put("/empty", b"")
    bench.engine.delete("/1")
    bench.engine.flush()
    return bench


def test_all_is_right_and_nothing_is_touched(tmp_path: Path) -> None:
    full(tmp_path).stop()
    before = state(tmp_path)
    found = check(tmp_path)
    assert state(tmp_path) == before
    assert not found.is_damaged
    assert not found.is_mendable
    assert (found.object_count, found.own_count, found.index) == (9, 1, "right")
    assert found.object_bytes == 6 * 900 + OWN_AFTER_BYTES + 1000 + len("again")
    assert found.volume_count == len(list(tmp_path.glob("volumes/0*")))
    assert 1800 < found.garbage_bytes < 3000
    assert found.object_bytes + found.garbage_bytes < found.volume_bytes


def test_what_a_kill_left_is_told_and_mended(tmp_path: Path) -> None:
    bench = full(tmp_path)
    shutil.copytree(tmp_path, tmp_path.with_name("older"))  # of the index, with its log
    upload = bench.engine.begin()
    bench.append(upload, bytes(OWN_AFTER_BYTES + 1000))
    bench.put("/new", b"new")
    bench.engine.flush()
    active = bench.engine._volumes.active.path
    bench.kill()
    with active.open("ab") as file:
        file.write(b"torn")
    for path in tmp_path.glob("index*"):
        path.unlink()
    for path in tmp_path.with_name("older").glob("index*"):
        shutil.copy(path, tmp_path)
    before = state(tmp_path)
    found = check(tmp_path)
    assert state(tmp_path) == before
    assert found.torn == {active.name: 4}
    assert found.upload_count == 1
    assert found.orphans == [f"own-{upload}.vol"]
    assert found.index == "behind"
    assert found.is_mendable
    assert not found.is_damaged
    repair(tmp_path, found)
    again = check(tmp_path)
    assert not again.is_mendable
    assert not again.is_damaged
    assert again.object_count == 10


@pytest.mark.parametrize("seed", range(2))
def test_no_crash_is_damage_and_every_one_is_mended(seed: int, tmp_path: Path) -> None:
    load = Load(tmp_path / "data", seed)
    load.run(300)
    trace, chance = load.files.trace, random.Random(seed)
    for number in range(15):
        upto = chance.randint(0, len(trace))
        folder = tmp_path / f"state-{number}"
        (folder / "volumes").mkdir(parents=True)
        shutil.copy(tmp_path / "data" / "chunkstore.json", folder)
        crash(trace[:upto], folder / "volumes", chance)
        older = [path for when, path in load.indexes if when <= upto]
        if older:
            shutil.copy(chance.choice(older), folder / "index.sqlite")
        found = check(folder)
        assert not found.is_damaged, (number, found)
        assert found.index != "wrong"
        repair(folder, found)
        again = check(folder)
        assert not again.is_mendable, (number, again)
        assert not again.is_damaged
        assert again.object_count == found.object_count
    load.close()


@pytest.mark.parametrize("keeps_index", [True, False])
def test_whatever_a_start_would_not_serve_is_named(keeps_index: bool, tmp_path: Path) -> None:
    full(tmp_path / "data").stop()
    chance = random.Random(3)
    for number in range(40):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "data", folder)
        if not keeps_index:
            (folder / "index.sqlite").unlink()
        path = chance.choice(sorted((folder / "volumes").iterdir()))
        if number % 4:
            with path.open("r+b") as file:
                file.seek(chance.randrange(path.stat().st_size))
                file.write(b"?")
        else:
            os.truncate(path, chance.randrange(path.stat().st_size))
        found = check(folder)
        named = {flaw.key for flaw in found.flaws} | {*found.not_whole, *found.unbacked}
        data, engine = open_engine(folder)
        for key in engine.ledger.objects:
            try:
                content_of(engine, key)
            except DamagedError:
                assert key in named, number
        assert found.object_count == len(engine.ledger.objects)
        assert not engine.report.damages or found.is_damaged
        engine.close()
        data.close()


def test_each_place_is_named_once(tmp_path: Path) -> None:
    bench = full(tmp_path)
    [run] = bench.engine.ledger.objects["/3"].extents
    [record] = bench.engine.ledger.objects["/5"].extents
    bench.stop()
    for extent, position in ((run, run.position + 5), (record, record.position - HEADER_BYTES)):
        path = tmp_path / "volumes" / f"{extent.volume:08}.vol"
        with path.open("r+b") as file:
            file.seek(position)
            file.write(b"?")
    found = check(tmp_path)
    start, size = record.position - HEADER_BYTES, HEADER_BYTES + 900
    assert found.flaws == [
        Flaw("/3", f"{run.volume:08}.vol", run.position, 900, is_record=False),
        Flaw("/5", f"{record.volume:08}.vol", start, size, is_record=True),
    ]
    assert not found.unbacked
    repair(tmp_path, found)
    assert check(tmp_path).flaws == found.flaws


def test_a_record_that_is_gone_makes_the_index_dear(tmp_path: Path) -> None:
    """Without it the object would be lost; so it isn't called wrong, and no repair takes it."""
    bench = Bench(tmp_path)
    bench.put("/a", b"one")
    bench.engine.flush()
    volume = bench.engine._volumes.active
    position = volume.end - bench.engine.ledger.objects["/a"].commit_bytes
    bench.put("/b", b"two")
    bench.stop()
    with volume.path.open("r+b") as file:
        file.seek(position)
        file.write(b"?")
    found = check(tmp_path)
    assert found.unbacked == ["/a"]
    assert [flaw.key for flaw in found.flaws] == [""]
    assert found.index == "right"
    repair(tmp_path, found)
    bench.start()
    assert bench.contents() == {"/a": b"one", "/b": b"two"}
    bench.stop()


def test_an_index_that_contradicts_the_volumes_is_wrong_and_made_anew(tmp_path: Path) -> None:
    """Of a copy that went another way, for as many bytes."""
    bench = Bench(tmp_path / "a")
    bench.stop()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name in ("a", "b"):
        bench = Bench(tmp_path / name)
        bench.put(f"/{name}", b"one")
        bench.stop()
    shutil.copy(tmp_path / "a" / "index.sqlite", tmp_path / "b")
    found = check(tmp_path / "b")
    assert found.index == "wrong"
    repair(tmp_path / "b", found)
    assert check(tmp_path / "b").index == "right"
    bench = Bench(tmp_path / "b")
    assert bench.contents() == {"/b": b"one"}
    bench.stop()


def test_an_index_that_is_damaged_or_missing_is_told(tmp_path: Path) -> None:
    full(tmp_path).stop()
    (tmp_path / "index.sqlite").write_bytes(b"x" * 5000)
    found = check(tmp_path)
    assert (found.index, found.object_count) == ("damaged", 9)
    assert found.index_detail == "file is not a database"
    (tmp_path / "index.sqlite").unlink()
    assert check(tmp_path).index == "missing"


def test_one_in_use_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(DataDirError, match=f"in use by process {os.getpid()}"):
        check(tmp_path)
    bench.stop()


def test_one_that_is_not_to_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the way to it may be closed for others
    Bench(Path()).stop()
    for path in [Path(), *Path().rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    Path("volumes", "00000001.vol").chmod(0)
    with unprivileged(), pytest.raises(DataDirError, match=r"Permission denied: .*00000001\.vol"):
        check(Path())
