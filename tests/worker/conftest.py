"""Tests of the worker run on a clock that jumps, unless their module says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jumping import mark_jumping


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_jumping(items, Path(__file__).parent)
