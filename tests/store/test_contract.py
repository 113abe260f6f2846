"""Every store keeps the contract: the reference, the disk, and both while they fail."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given

from chunkstore.store import Store
from chunkstore.store.disk import DiskStore, upkeep
from chunkstore.store.disk import store as disk_store
from chunkstore.testing import FaultyStore, ReferenceStore
from tests.examples import examples
from tests.store.contract import Command, Open, Stage, lives
from tests.store.disk.load import open_engine

DISK_EXAMPLES = examples(30, suppress_health_check=[HealthCheck.too_slow])


@asynccontextmanager
async def running(store: Store) -> AsyncIterator[Store]:
    """A store at work."""
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield store
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def on_disk(folder: Path, *, is_faulty: bool) -> AsyncIterator[Store]:
    """A data dir with small volumes, which are compacted as soon as that is worth it."""
    data, engine = open_engine(folder)
    store = DiskStore(engine)
    async with running(FaultyStore(store) if is_faulty else store) as running_store:
        yield running_store
    engine.close()
    data.close()


def play(open_store: Open, todo: list[list[Command]]) -> None:
    """One example, in a loop of its own."""
    trio.run(Stage(open_store).run, todo)


@given(lives(with_faults=False))
def test_the_reference(todo: list[list[Command]]) -> None:
    play(partial(running, ReferenceStore()), todo)


@given(lives(with_faults=True))
def test_the_reference_while_it_fails(todo: list[list[Command]]) -> None:
    play(partial(running, FaultyStore(ReferenceStore())), todo)


@pytest.fixture
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK_S", 0.001)
    monkeypatch.setattr(upkeep, "STEP_S", 0.0)
    monkeypatch.setattr(disk_store, "FLUSH_S", 0.01)


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("is_faulty", [False, True], ids=["", "while it fails"])
def test_the_disk(is_faulty: bool) -> None:
    @DISK_EXAMPLES
    @given(lives(with_faults=is_faulty))
    def test(todo: list[list[Command]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            play(partial(on_disk, Path(folder), is_faulty=is_faulty), todo)

    test()
