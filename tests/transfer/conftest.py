"""These tests run on a clock that jumps over every wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.peer import jump


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have no test here wait."""
    jump(items, Path(__file__).parent)
