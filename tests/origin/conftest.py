"""The fixtures of the origin's tests: an origin over memory streams, on a clock that jumps."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.origin.drive import Site

OpenSite = Callable[..., Awaitable[Site]]

HERE = Path(__file__).parent


def run_jumping(test: Callable[[], Awaitable[object]], **_: Any) -> object:  # noqa: ANN401 - pytest-trio passes what it likes
    """`trio.run`, on a clock that jumps over every wait."""
    return trio.run(test, clock=MockClock(autojump_threshold=0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run this folder's tests on a clock that jumps, or as their module's `RUN` says."""
    set_clocks(HERE, items)


def set_clocks(folder: Path, items: list[pytest.Item]) -> None:
    """Run the async tests of `folder` on a clock that jumps, or as their module's `RUN` says."""
    for item in items:
        if folder not in item.path.parents or not isinstance(item, pytest.Function):
            continue
        if inspect.iscoroutinefunction(item.function):
            run = getattr(item.module, "RUN", run_jumping)
            item.add_marker(pytest.mark.trio(run=run))


@pytest.fixture
async def open_site(nursery: trio.Nursery) -> OpenSite:
    """Start an origin with other settings than the default."""

    async def start(**changes: object) -> Site:
        return await Site.open(nursery, **changes)

    return start


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """An origin with default settings."""
    return await open_site()
