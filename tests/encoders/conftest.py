"""The recordings, made once by running ffmpeg; and an origin on a clock that jumps to replay to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from tests.encoders.ffmpeg import ffmpeg_or_skip, record_all
from tests.encoders.recording import Recording
from tests.jumping import mark_jumping
from tests.origin.conftest import open_site, site

__all__ = ["open_site", "recordings", "site"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """As the origin's tests run."""
    mark_jumping(items, Path(__file__).parent)


@pytest.fixture(scope="session")
def recordings() -> Mapping[str, Recording]:
    """What ffmpeg sent in each of `ffmpeg.RUNS`."""
    return trio.run(record_all, ffmpeg_or_skip())
