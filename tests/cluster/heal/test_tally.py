"""Bytes a second of the last minute, and the time that is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.heal.tally import Progress, Rate


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 10**9)), min_size=1, max_size=40))
def test_only_the_last_minute_counts(steps: list[tuple[float, int]]) -> None:
    rate, now_s, came = Rate(), 1000.0, list[tuple[float, int]]()
    for after_s, size in steps:
        now_s += after_s
        rate.note(size, now_s)
        came.append((now_s, size))
        recent = sum(size for at_s, size in came if int(at_s) >= now_s - 60.0)
        assert recent / 60 <= rate.bytes_s(now_s) <= recent
    assert rate.bytes_s(now_s + 62) == 0.0


@pytest.mark.parametrize(
    ("size", "rate", "is_paused", "eta_s"),
    [
        (0, 0.0, False, 0.0),
        (100, 0.0, False, None),
        (100, 10.0, False, 10.0),
        (100, 10.0, True, None),
    ],
)
def test_when_it_will_be_over(size: int, rate: float, is_paused: bool, eta_s: float | None) -> None:
    assert Progress({}, 0, size, 0, is_paused, rate).eta_s == eta_s
