"""These tests run on a clock that jumps over every wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jumping import mark_jumping


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have no test here wait."""
    mark_jumping(items, Path(__file__).parent)
