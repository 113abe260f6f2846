"""A scrub finds each flaw once a pass, in time, and touches nothing."""

from __future__ import annotations

import errno
import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.store.disk.scrub import WAIT_S, Scrub
from chunkstore.store.disk.stored import Extent
from chunkstore.store.disk.volume import Volume
from tests.store.disk.load import OWN_AFTER_BYTES, compact, read
from tests.store.disk.test_engine import BROKEN, Bench
from tests.store.disk.test_fsck import state

PERIOD_S = 300.0


class Clock:
    """Seconds, as a test wants them."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A store with objects of all kinds, stopped at the end."""
    bench = Bench(tmp_path / "data")
    for number in range(20):
        bench.put(f"/{number:02}", bytes([number]) * (400 * (number % 5)))
    bench.put("/large", b"x" * (OWN_AFTER_BYTES + 3000))
    bench.engine.delete("/07")
    bench.engine.flush()
    yield bench
    bench.stop()


def extents(bench: Bench) -> list[tuple[str, Extent]]:
    """All there are."""
    return [
        (key, extent)
        for key, stored in bench.engine.ledger.objects.items()
        for extent in stored.extents
    ]


def volume_of(bench: Bench, extent: Extent) -> Volume:
    """Where it lies."""
    volume = bench.engine.volume(extent.volume)
    assert volume is not None
    return volume


def flip(bench: Bench, extent: Extent) -> None:
    """Another byte in a run."""
    path = volume_of(bench, extent).path
    with path.open("r+b") as file:
        file.seek(extent.position + extent.size_bytes // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def run(scrub: Scrub, clock: Clock, passes: int = 1) -> list[str]:
    """What is found until so many passes are over; the time that takes goes by."""
    found = []
    until = scrub.pass_count + passes
    while scrub.pass_count < until:
        clock.now_s += scrub.due_in_s()
        error = scrub.step()
        if error is not None:
            found.append(str(error))
    return found


def test_each_flaw_is_named_once_a_pass_and_kept(bench: Bench) -> None:
    chance, clock = random.Random(1), Clock()
    scrub = bench.engine.scrub(PERIOD_S, clock)
    assert run(scrub, clock) == []
    assert scrub.read_bytes == sum(extent.size_bytes for _, extent in extents(bench))
    damaged = chance.sample(extents(bench), 5)
    for _, extent in damaged:
        flip(bench, extent)
    before = state(bench.folder / "volumes")
    expected = sorted(
        f"{key} is damaged: {volume_of(bench, extent).path.name} at {extent.position}"
        for key, extent in damaged
    )
    for count in (1, 2):
        assert sorted(run(scrub, clock)) == expected
        assert scrub.flaw_count == 5 * count
    assert state(bench.folder / "volumes") == before


def test_a_flaw_is_not_taken_for_right_because_it_once_was(bench: Bench) -> None:
    key, extent = extents(bench)[3]
    read(bench.engine, key, extent)
    verified = volume_of(bench, extent).verified
    assert extent.position in verified
    flip(bench, extent)
    run(bench.engine.scrub(PERIOD_S, clock := Clock()), clock)
    assert extent.position not in verified


def test_what_cannot_be_read_is_a_flaw_and_what_fails_otherwise_is_told(bench: Bench) -> None:
    clock = Clock()
    scrub = bench.engine.scrub(PERIOD_S, clock)
    error = BROKEN

    def before(kind: str, name: str) -> None:
        if kind == "read" and name.startswith("own-"):
            raise error

    bench.files.before = before
    found = run(scrub, clock)
    assert len(found) == 3
    assert all(one.startswith("/large is damaged: own-") for one in found)
    error = OSError(errno.ENXIO, "no such device")
    with pytest.raises(OSError, match="no such device"):
        run(scrub, clock)


def test_a_pass_takes_a_period_in_steps_of_a_run(bench: Bench) -> None:
    clock = Clock()
    scrub = bench.engine.scrub(PERIOD_S, clock)
    run(scrub, clock)
    began, steps = clock.now_s, set()
    while scrub.pass_count < 2:
        clock.now_s += scrub.due_in_s()
        before = scrub.read_bytes
        scrub.step()
        steps.add(scrub.read_bytes - before)
    assert max(steps) == max(extent.size_bytes for _, extent in extents(bench))
    assert 0.8 * PERIOD_S < clock.now_s - began <= PERIOD_S + WAIT_S


def test_nothing_is_read_before_it_is_due_and_nothing_is_caught_up(bench: Bench) -> None:
    clock = Clock()
    scrub = bench.engine.scrub(PERIOD_S, clock)
    while not scrub.read_bytes:
        scrub.step()
    before = scrub.read_bytes
    for _ in range(50):
        scrub.step()
    assert scrub.read_bytes == before
    clock.now_s += PERIOD_S / 2
    for _ in range(50):
        scrub.step()
    assert 1 <= (scrub.read_bytes - before) / 400 <= 12


def test_a_small_store_is_read_more_often_and_an_empty_one_waits(tmp_path: Path) -> None:
    bench, clock = Bench(tmp_path / "data"), Clock()
    scrub = bench.engine.scrub(30 * 86400.0, clock)
    run(scrub, clock, passes=3)
    assert clock.now_s == 1000 + 2 * WAIT_S
    bench.put("/a", bytes(3000))
    bench.engine.flush()
    began = clock.now_s
    run(scrub, clock, passes=2)
    assert clock.now_s - began < 10 * WAIT_S
    bench.stop()


def test_no_period_is_no_scrub(bench: Bench) -> None:
    scrub = bench.engine.scrub(0, Clock())
    assert scrub.due_in_s() == math.inf
    for _ in range(100):
        assert scrub.step() is None
    assert not scrub.read_bytes


def test_it_goes_on_where_it_was_before_a_restart(bench: Bench) -> None:
    clock = Clock()
    scrub = bench.engine.scrub(PERIOD_S, clock)
    while scrub.read_bytes < 8000:
        clock.now_s += scrub.due_in_s()
        scrub.step()
    scrub.remember()
    read_bytes = scrub.read_bytes
    bench.restart()
    total_bytes = sum(extent.size_bytes for _, extent in extents(bench))
    scrub = bench.engine.scrub(PERIOD_S, clock)
    run(scrub, clock)
    assert total_bytes - read_bytes <= scrub.read_bytes < total_bytes
    (bench.folder / "scrub").write_bytes(b"\xff")
    scrub = bench.engine.scrub(PERIOD_S, clock)
    run(scrub, clock)
    assert scrub.read_bytes == total_bytes


def test_what_is_moved_or_deleted_meanwhile_is_no_flaw(bench: Bench) -> None:
    clock = Clock()
    scrub = bench.engine.scrub(PERIOD_S, clock)

    def to_the_first_run_of(size_bytes: int) -> None:
        before = -1
        while scrub.read_bytes - before != size_bytes:
            before = scrub.read_bytes
            clock.now_s += scrub.due_in_s()
            assert scrub.step() is None

    to_the_first_run_of(1000)  # of two
    for number in sorted(bench.engine.garbage_bytes()):
        compact(bench.engine, number)
    to_the_first_run_of(1000)
    for key in list(bench.engine.ledger.objects)[:-1]:
        bench.engine.delete(key)
    bench.engine.flush()
    for number in sorted(bench.engine.garbage_bytes()):
        compact(bench.engine, number)
    assert run(scrub, clock, passes=2) == []


def test_the_systems_memory_is_left_to_readers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[tuple[int, int]] = []
    forget = bench.files.forget

    def noted(fd: int, size: int, position: int) -> None:
        forget(fd, size, position)
        forgotten.append((size, position))

    monkeypatch.setattr(bench.files, "forget", noted)
    run(bench.engine.scrub(PERIOD_S, clock := Clock()), clock)
    read = [(extent.size_bytes, extent.position) for _, extent in extents(bench)]
    assert sorted(forgotten) == sorted(read)
