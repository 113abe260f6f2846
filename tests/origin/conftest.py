"""The fixtures of the origin's tests: an origin over memory streams, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.jumping import mark_jumping
from tests.origin.drive import Site

OpenSite = Callable[..., Awaitable[Site]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """This folder's tests run on a clock that jumps."""
    mark_jumping(items, Path(__file__).parent)


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
