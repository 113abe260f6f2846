"""An origin that asks for credentials for everything, on a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.auth.keys import ALL, PATHS, SIGN_KEYS, TOKENS, bearer
from tests.jumping import mark_jumping
from tests.origin.drive import Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """This folder's tests run on a clock that jumps."""
    mark_jumping(items, Path(__file__).parent)


@pytest.fixture
async def site(nursery: trio.Nursery) -> Site:
    """An origin where nothing is open, with something at every path."""
    site = await Site.open(nursery, tokens=TOKENS, sign_keys=SIGN_KEYS, open_reads=False)
    for path in PATHS:
        assert (await site.put(path, b"hello", bearer(ALL))).status == 201
    return site
