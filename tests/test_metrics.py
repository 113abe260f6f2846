"""The table of endings, and counters that begin at nothing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.metrics import AGE_BOUNDS_S, Ending, Histogram, Metrics


def test_every_ending_has_a_name_and_a_text_of_its_own() -> None:
    assert len({ending.metric for ending in Ending}) == len(Ending)
    assert len({ending.text for ending in Ending}) == len(Ending)
    for ending in Ending:
        assert ending.metric.replace("_", "").isalpha()
        assert ending.text


def test_the_reasons_why_a_reader_ends_are_in_the_table() -> None:
    # DESIGN.md section 4; `lagged` cannot happen while open generations are kept whole.
    reasons = {"complete", "aborted", "deleted", "client_gone", "stalled", "drain"}
    assert reasons <= {ending.metric for ending in Ending}


def test_what_is_the_clients_doing_or_whole_is_no_error() -> None:
    fine = {ending for ending in Ending if not ending.is_error}
    assert fine == {Ending.COMPLETE, Ending.CLIENT_GONE}


def test_counters_begin_at_nothing_and_are_not_shared() -> None:
    one, other = Metrics(), Metrics()
    for name, value in vars(one).items():
        if isinstance(value, Histogram):
            assert not value.sum_s
            assert not any(value.counts)
            assert value.counts is not getattr(other, name).counts
        else:
            assert value in (0, Counter())
            assert not isinstance(value, Counter) or value is not getattr(other, name)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1000))))
def test_a_histogram_against_a_list(times: list[tuple[float, int]]) -> None:
    histogram = Histogram()
    for value_s, count in times:
        histogram.add(value_s, count)
    every = [value_s for value_s, count in times for _ in range(count)]
    below = 0
    for bound_s, count in zip(AGE_BOUNDS_S, histogram.counts, strict=False):
        below += count
        assert below == sum(value_s <= bound_s for value_s in every)
    assert sum(histogram.counts) == len(every)
    assert histogram.sum_s == pytest.approx(sum(every))
