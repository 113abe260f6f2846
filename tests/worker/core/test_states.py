"""The table of a generation's life: what can't happen is an error, and every state has a way on."""

from __future__ import annotations

import itertools

import pytest

from chunkstore.worker.core.states import ACTIVE, TRANSITIONS, Event, State


def test_each_state_is_reached_and_left() -> None:
    assert {after for after in TRANSITIONS.values()} | {State.QUEUED} == set(State)
    assert {before for before, _ in TRANSITIONS} | {State.GONE} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


@pytest.mark.parametrize("state", [one for one in State if one is not State.GONE])
def test_unwanted_it_ends_in_a_removal(state: State) -> None:
    seen, found = set[State](), {TRANSITIONS.get((state, Event.UNWANTED), state)}
    ways = [Event.STOPPED, Event.PUBLISHED, Event.REMOVE, Event.REMOVED]
    while found - seen:
        seen |= found
        pairs = itertools.product(found, ways)
        found = {TRANSITIONS[pair] for pair in pairs if pair in TRANSITIONS}
    assert State.GONE in seen


@pytest.mark.parametrize("state", State)
def test_only_a_task_publishes(state: State) -> None:
    publishes = (state, Event.PUBLISHED) in TRANSITIONS
    assert not publishes or state in ACTIVE
