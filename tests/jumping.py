"""Tests whose clock jumps over every wait."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

__all__ = ["mark_jumping", "run_for_real", "run_jumping"]

DEADLINE_S = 120.0
"""On the real clock: so that what hangs fails. Nothing is measured by it."""


def run_jumping(test: Callable[[], Awaitable[object]], **_: Any) -> object:  # noqa: ANN401 - pytest-trio passes what it likes
    """`trio.run`, on a clock that jumps over every wait."""
    return trio.run(test, clock=MockClock(autojump_threshold=0))


def run_for_real(test: Callable[[], Awaitable[object]], **_: Any) -> object:  # noqa: ANN401 - as above
    """On the real clock: threads, processes and sockets know no other. A module's `RUN`."""

    async def main() -> object:
        with trio.fail_after(DEADLINE_S):
            return await test()

    return trio.run(main)


def mark_jumping(items: list[pytest.Item], folder: Path) -> None:
    """Run the tests of a folder on a clock that jumps, or as their module's `RUN` says."""
    within = f"{folder}{os.sep}"  # every folder's conftest.py is shown all 8,000 tests
    for item in items:
        if not isinstance(item, pytest.Function) or not str(item.path).startswith(within):
            continue
        if inspect.iscoroutinefunction(item.function):
            run = getattr(item.module, "RUN", run_jumping)
            item.add_marker(pytest.mark.trio(run=run))
