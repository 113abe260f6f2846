"""An origin with a store, on a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from chunkstore.live import catalog, shelf
from chunkstore.origin import origin
from chunkstore.store import memory
from chunkstore.testing import FaultyStore, ReferenceStore
from tests.jumping import mark_jumping
from tests.live.stored.rig import Life, Wall


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """This folder's tests run on a clock that jumps."""
    mark_jumping(items, Path(__file__).parent)


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (catalog, origin, shelf):
        monkeypatch.setattr(module, "time", Wall)
    monkeypatch.setattr(memory, "WARM_BYTES", 0)  # as `check_nothing_left` counts


@pytest.fixture
def store() -> FaultyStore:
    """A store that does as it is told."""
    return FaultyStore(ReferenceStore())


@pytest.fixture
async def site(store: FaultyStore, nursery: trio.Nursery) -> Life:
    """An origin with it."""
    return await Life.begin(nursery, store)
