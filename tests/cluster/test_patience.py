"""How long nodes are waited for: as others take, and never less than a pause."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.patience import LEAST_S, SHUNNED_S, TIMES, Patience


@given(st.floats(0, 1), st.floats(0, 100), st.integers(0, 6))
def test_a_slow_minority_is_not_what_is_usual(usual_s: float, slow_s: float, slow: int) -> None:
    patience = Patience()
    for _ in range(64):
        for node in range(1, 8):
            patience.took(node, slow_s if node <= slow else usual_s)
    expected_s = usual_s if slow <= 3 else slow_s
    assert patience.late_s == max(LEAST_S, TIMES * expected_s)


def test_one_of_twenty_may_take_longer() -> None:
    patience = Patience()
    for number in range(128):
        patience.took(1, 9.0 if number % 32 == 0 else 0.1)
    assert patience.late_s == TIMES * 0.1


def test_what_is_long_past_does_not_count() -> None:
    patience = Patience()
    for seconds in (5.0, 0.2):
        for _ in range(64):
            patience.took(1, seconds)
    assert patience.late_s == TIMES * 0.2


def test_who_was_late_is_shunned_for_a_while() -> None:
    patience = Patience()
    assert not patience.is_shunned(1, 7.0)
    patience.shun(1, 7.0)
    assert patience.is_shunned(1, 7.0)
    assert not patience.is_shunned(2, 7.0)
    assert not patience.is_shunned(1, 7.0 + SHUNNED_S)
