"""A disk that fails in the middle of something: what counts, what doesn't, and what goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.errors import DamagedError
from tests.store.disk.test_engine import BROKEN, Bench, numbers


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


# --- compaction and tombstones -------------------------------------------------------------------


def test_a_name_that_never_was_may_be_deleted_and_compacted(bench: Bench) -> None:
    bench.engine.delete("/never")
    for _ in range(2):
        fill(bench)
    bench.engine.compact(1)
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
    with pytest.raises(DamagedError):
        bench.engine.compact(1)
    bench.engine.delete("/a")
    bench.engine.flush()
    for number in (2, 3, 4):
        fill(bench)
        bench.engine.compact(number)
    lose_index(bench)
    assert "/a" not in bench.engine.ledger.objects
