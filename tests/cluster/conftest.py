"""These tests run on a clock that jumps over every wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.server import clock
from tests.jumping import mark_jumping


@pytest.fixture(scope="module", autouse=True)
def _slow_clocks() -> Iterator[None]:
    """Nodes in memory look for deadlines every 2 s, not four times a second.

    Hours pass here, for nine nodes: their clocks would be most of what these tests cost.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "TICK_S", 2.0)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have no test here wait."""
    mark_jumping(items, Path(__file__).parent)
