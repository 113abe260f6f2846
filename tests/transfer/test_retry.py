"""Which failures may pass by themselves, and how long to wait for that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import ConnectError, CutError, FetchError, StalledError, StatusError
from chunkstore.transfer import Backoff, Retrying

PASSING = [ConnectError("a"), CutError("a"), StalledError("a"), StatusError(500, "a")]


@given(error=st.sampled_from(PASSING), failures=st.integers(1, 10**6), chance=st.floats(0, 1))
def test_pauses_double_up_to_a_bound(error: FetchError, failures: int, chance: float) -> None:
    pause_s = Backoff(10**6).pause_s(failures, error, chance)
    assert pause_s is not None
    assert 0.1 <= pause_s <= 10
    assert pause_s <= 0.2 * 2 ** min(failures - 1, 20)
    assert Backoff(failures - 1).pause_s(failures, error, chance) is None


@given(st.integers(100, 599))
def test_of_statuses_only_5xx_may_pass(status: int) -> None:
    pause_s = Backoff().pause_s(1, StatusError(status, "a"), 0.5)
    assert (pause_s is not None) is (status >= 500 and status not in (501, 505))


def test_what_nobody_can_mend_is_not_tried_again() -> None:
    assert Backoff().pause_s(1, FetchError("not HTTP"), 0.5) is None


@given(asked_s=st.floats(0, 1000), chance=st.floats(0, 1))
def test_a_server_that_asks_to_wait_is_obeyed(asked_s: float, chance: float) -> None:
    pause_s = Backoff().pause_s(1, StatusError(503, "a", asked_s), chance)
    assert (pause_s is None) is (asked_s > 300)
    assert pause_s is None or asked_s < pause_s <= asked_s + 0.2


async def test_failures_in_a_row_are_bounded() -> None:
    notes: list[str] = []
    retrying = Retrying(Backoff(2), notes.append, lambda: 0.5)
    for _ in range(2):
        await retrying.pause(CutError("a cut"))
    retrying.progressed()
    for _ in range(2):
        await retrying.pause(CutError("a cut"))
    with pytest.raises(CutError):
        await retrying.pause(CutError("a cut"))
    assert len(notes) == 4
    assert notes[0].startswith("a cut; trying again in 0.")
    with pytest.raises(FetchError, match="a cut; no other try: it is gone"):
        await Retrying(Backoff(2), notes.append).pause(CutError("a cut"), "it is gone")
