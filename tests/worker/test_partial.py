"""A file on its way through lives that end anyhow: what its record says, and what it is worth."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.worker.fetch.partial import Partial
from tests.worker.flaky import FlakyFiles


@pytest.mark.parametrize("etag", ['"' + "x" * 300 + '"', '"' + '"' * 200 + '"', '"\xe9"', "x", ""])
def test_an_etag_that_can_not_be_kept_is_none(etag: str, tmp_path: Path) -> None:
    one = Partial(FlakyFiles(), tmp_path / "a")
    one.open()
    one.begin(etag)
    one.write([b"x" * 1000])
    one.save()
    one.close()
    two = Partial(FlakyFiles(), tmp_path / "a")
    two.open()
    assert (two.offset, two.etag) == ((1000, "x") if etag == "x" else (0, ""))
    two.close()


def saved(path: Path, sizes: list[int]) -> None:
    """A partial file with so much at each save."""
    one = Partial(FlakyFiles(), path)
    one.open()
    one.begin('"e"')
    for size in sizes:
        one.write([b"x" * size])
        one.save()
    one.close()


@given(st.lists(st.integers(1, 500), min_size=1, max_size=4), st.data())
def test_a_torn_record_costs_what_came_since_the_one_before(
    sizes: list[int], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        saved(path, sizes)
        state = bytearray((Path(folder) / ".a.state").read_bytes())
        slot = len(sizes) % 2 * 512
        at = data.draw(st.integers(0, 511))
        state[slot + at] ^= data.draw(st.integers(1, 255))
        (Path(folder) / ".a.state").write_bytes(state)
        two = Partial(FlakyFiles(), path)
        two.open()
        assert two.offset in (sum(sizes[:-1]), sum(sizes))
        assert not two.offset or two.etag == '"e"'
        two.close()


def test_a_file_shorter_than_its_record_counts_for_nothing(tmp_path: Path) -> None:
    saved(tmp_path / "a", [100])
    os.truncate(tmp_path / ".a.part", 99)
    two = Partial(FlakyFiles(), tmp_path / "a")
    two.open()
    assert two.offset == 0
    two.close()
