"""A worker over memory streams and a storage in memory, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.jumping import mark_jumping
from tests.worker.face.rig import Rig

OpenRig = Callable[..., Awaitable[Rig]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """This folder's tests run on a clock that jumps."""
    mark_jumping(items, Path(__file__).parent)


@pytest.fixture
async def open_rig(nursery: trio.Nursery, tmp_path: Path) -> OpenRig:
    """Start a worker with other settings than the default."""

    async def start(**changes: Any) -> Rig:  # noqa: ANN401 - as `Rig.open` has them
        return await Rig.open(nursery, tmp_path / "data", **changes)

    return start


@pytest.fixture
async def rig(open_rig: OpenRig) -> Rig:
    """A worker with default settings, and a chunk of blocks 0 to 10."""
    rig = await open_rig()
    await rig.have(rig.chunk(1, range(0, 10)))
    return rig
