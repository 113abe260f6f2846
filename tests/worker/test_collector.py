"""The garbage collector waits, and is as it was behind that."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from chunkstore.worker.collector import collector_paused


@pytest.fixture(autouse=True)
def _enabled_behind_it() -> Iterator[None]:
    yield
    gc.enable()


def test_it_waits_and_goes_on() -> None:
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_behind_an_error() -> None:
    with pytest.raises(OSError, match="lost"), collector_paused():
        raise OSError("lost")
    assert gc.isenabled()


def test_one_that_is_off_stays_off() -> None:
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()
