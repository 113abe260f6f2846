"""Where an object's bytes are, while all moves; and files that are open while needed."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.errors import DamagedError
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.files import Files
from chunkstore.store.disk.located import Located
from chunkstore.store.disk.volume import OWN
from tests.store.disk.load import OWN_AFTER_BYTES, compact, read, volumes_of
from tests.store.disk.test_engine import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Stopped at the end, whatever it went through."""
    bench = Bench(tmp_path / "data")
    yield bench
    bench.stop()


def locate(engine: Engine, key: str) -> Located:
    """What a name has now."""
    located = engine.locate(key, engine.ledger.objects[key].generation)
    assert located is not None
    return located


def bytes_of(engine: Engine, key: str, located: Located) -> bytes:
    """All of it, checked."""
    return b"".join(engine.verify(key, one, located.volumes[one.volume]) for one in located.extents)


def test_an_append_says_where_it_lies(bench: Bench) -> None:
    generation = bench.engine.begin()
    extent = bench.engine.append(generation, 0, [b"one", memoryview(b"two")])
    assert read(bench.engine, "/a", extent) == b"onetwo"


def test_a_generation_is_located_until_it_is_replaced(bench: Bench) -> None:
    content = bytes(OWN_AFTER_BYTES + 1000)
    bench.put("/a", content)
    bench.engine.flush()
    generation = bench.engine.ledger.objects["/a"].generation
    located = locate(bench.engine, "/a")
    assert bytes_of(bench.engine, "/a", located) == content
    assert located.volumes.keys() == {1, OWN + generation}
    for one in located.extents:
        assert one.position in located.volumes[one.volume].verified
    bench.put("/a", b"two")
    bench.engine.flush()
    assert bench.engine.locate("/a", generation) is None
    assert bench.engine.locate("/b", generation) is None
    # Its own file is unlinked, and can be read by who held it before.
    assert not list((bench.folder / "volumes").glob("own-*"))
    assert bytes_of(bench.engine, "/a", located) == content
    located.close()
    assert not located.volumes[OWN + generation].hold()


def test_what_is_held_can_be_read_behind_a_compaction(bench: Bench) -> None:
    for number in range(12):
        bench.put(f"/{number}", bytes([number]) * 900)
    bench.engine.flush()
    located = locate(bench.engine, "/0")
    compact(bench.engine, 1)
    assert bytes_of(bench.engine, "/0", located) == bytes(900)
    located.close()
    located = locate(bench.engine, "/0")
    assert 1 not in located.volumes
    assert bytes_of(bench.engine, "/0", located) == bytes(900)
    located.close()


def test_damage_is_told_and_not_noted_as_verified(bench: Bench) -> None:
    bench.put("/a", b"x" * 900)
    bench.engine.flush()
    located = locate(bench.engine, "/a")
    [extent], [volume] = located.extents, located.volumes.values()
    with volume.path.open("r+b") as file:
        file.seek(extent.position)
        file.write(b"y")
    with pytest.raises(DamagedError, match="/a is damaged: 00000001.vol at"):
        bench.engine.verify("/a", extent, volume)
    assert extent.position not in volume.verified
    located.close()


def test_readers_and_compaction_at_once(bench: Bench) -> None:
    """Each finds what it looks for, wherever that is by then."""
    expected = {f"/{number}": bytes([number]) * 900 for number in range(12)}
    for key, content in expected.items():
        bench.put(key, content)
    bench.engine.flush()
    is_over, wrong = threading.Event(), []

    def read() -> None:
        while not is_over.is_set():
            for key, content in expected.items():
                located = locate(bench.engine, key)
                if bytes_of(bench.engine, key, located) != content:
                    wrong.append(key)
                located.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(30):
        compact(bench.engine, min(bench.engine.garbage_bytes()))
        bench.put("/filler", b"x" * 900)
    is_over.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_own_files_are_open_only_while_they_are_needed(bench: Bench) -> None:
    for number in range(5):
        bench.put(f"/{number}", bytes(OWN_AFTER_BYTES + 1000))
    bench.engine.flush()
    for is_restarted in (False, True):
        if is_restarted:
            bench.restart()
        own = [one for number, one in volumes_of(bench.engine).items() if number >= OWN]
        assert [one._holders for one in own] == [0] * 5
    located = locate(bench.engine, "/0")
    again = locate(bench.engine, "/0")
    assert sum(one._holders for one in own) == 2
    located.close()
    assert bytes_of(bench.engine, "/0", again)
    again.close()
    assert sum(one._holders for one in own) == 0


def test_a_start_has_one_own_file_open_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        bench.put(f"/{number}", bytes(OWN_AFTER_BYTES + 1000))
    bench.engine.flush()
    bench.kill()
    opened: set[int] = set()
    most = 0

    def opening(files: Files, path: Path) -> int:
        nonlocal most
        fd = open_file(files, path)
        if path.name.startswith("own-"):
            opened.add(fd)
            most = max(most, len(opened))
        return fd

    def closing(files: Files, fd: int) -> None:
        opened.discard(fd)
        close_file(files, fd)

    open_file, close_file = Files.open, Files.close
    with monkeypatch.context() as patch:
        patch.setattr(Files, "open", opening)
        patch.setattr(Files, "close", closing)
        bench.start()
    assert most == 1
    assert not opened
    assert bench.files.sync_count == 0  # the index knows that all is durable
    assert len(bench.contents()) == 5


def test_no_descriptor_left_holds_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("/0", bytes(OWN_AFTER_BYTES + 1000))
    bench.engine.flush()

    def fail(path: Path) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    holders = [one._holders for one in volumes_of(bench.engine).values()]
    with monkeypatch.context() as patch:
        patch.setattr(bench.files, "open", fail)
        with pytest.raises(OSError, match="too many open files"):
            locate(bench.engine, "/0")
    assert [one._holders for one in volumes_of(bench.engine).values()] == holders


def test_a_volume_that_somebody_took_away(bench: Bench) -> None:
    bench.put("/0", bytes(OWN_AFTER_BYTES + 1000))
    bench.engine.flush()
    for path in (bench.folder / "volumes").glob("own-*"):
        path.unlink()
    with pytest.raises(DamagedError, match="a volume of it is gone"):
        locate(bench.engine, "/0")
