"""Sizes, durations and switches: read strictly, and what is written is read back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.units import (
    format_duration,
    format_size,
    parse_count,
    parse_duration,
    parse_size,
    parse_switch,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("65536", 65536),
        ("64KiB", 65536),
        ("256MiB", 256 * 2**20),
        ("256mib", 256 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("1GB", 10**9),
        ("2TB", 2 * 10**12),
        (4096, 4096),
    ],
)
def test_sizes(text: object, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1.5", "0.0001KiB", "1e9", "1G", "1GiB/s", True, None, 1.5, [1], "١"]
)
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("10", 10),
        ("10s", 10),
        ("500ms", 0.5),
        ("2m", 120),
        ("1.5h", 5400),
        ("1d", 86400),
        (2.5, 2.5),
    ],
)
def test_durations(text: object, duration_s: float) -> None:
    assert parse_duration(text) == duration_s


@pytest.mark.parametrize("text", ["", "s", "-1s", "10 seconds", "1M", True, None, float("nan")])
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", [-1e308, 1e308, float("inf"), 10**400, "9" * 18 + "d", "1000001d"])
def test_durations_out_of_all_bounds(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration of at most 1000000d"):
        parse_duration(text)
    assert parse_duration("1000000d") == 86_400_000_000


@pytest.mark.parametrize("text", ["1", "true", "Yes", "ON", True])
def test_switched_on(text: object) -> None:
    assert parse_switch(text) is True


@pytest.mark.parametrize("text", ["0", "false", "No", "OFF", False])
def test_switched_off(text: object) -> None:
    assert parse_switch(text) is False


@pytest.mark.parametrize("text", ["", "2", "maybe", 1, None])
def test_no_switch(text: object) -> None:
    with pytest.raises(ValueError, match="expected true or false"):
        parse_switch(text)


@pytest.mark.parametrize(("text", "count"), [("1000", 1000), ("1_000_000", 10**6), (7, 7)])
def test_counts(text: object, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "1.0", "ten", "_1", True, 1.0, None])
def test_no_counts(text: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        parse_count(text)


@given(st.integers(0, 2**50))
def test_a_size_is_read_back(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(st.floats(1e-9, 1e9) | st.integers(0, 10**9).map(lambda ms: ms / 1000))
def test_a_duration_is_read_back(duration_s: float) -> None:
    assert parse_duration(format_duration(duration_s)) == duration_s
