"""What failed comes again: later each time, within bounds, and never not at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.heal import retries as retries_module
from chunkstore.cluster.heal.retries import FIRST_S, LONGEST_S, Retries


@given(st.lists(st.floats(0, 0.999), min_size=30, max_size=30))
def test_the_times_between(draws: list[float]) -> None:
    chance = iter(draws)
    retries, now_s = Retries(lambda: next(chance)), 0.0
    for count in range(30):
        retries.failed(7, now_s)
        longest_s = min(FIRST_S * 2**count, LONGEST_S)
        assert retries.due(now_s + longest_s / 2 - 0.01) == []
        now_s += longest_s
        assert retries.due(now_s) == [7]
        assert 7 in retries
    retries.done(7)
    assert not retries
    retries._draw = lambda: 0.0
    retries.failed(7, 0.0)
    assert retries.due(FIRST_S) == [7]


def test_those_that_are_too_many_are_told_of() -> None:
    retries = Retries(lambda: 0.5)
    for generation in range(retries_module.RETRIES_MAX + 3):
        retries.failed(generation, 0.0)
    assert (len(retries), retries.left_out_count) == (retries_module.RETRIES_MAX, 3)
    assert not retries.is_left_out_due(LONGEST_S - 1)
    assert retries.is_left_out_due(LONGEST_S)
    assert not retries.is_left_out_due(LONGEST_S)
