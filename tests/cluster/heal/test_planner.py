"""What is made anew and when, for any nodes and objects; and what comes first."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.heal.planner import (
    PAUSE_FACTOR,
    Backlog,
    NodeState,
    Outlook,
    assess,
    look,
    readable_parts,
)
from chunkstore.cluster.meta import NOWHERE
from chunkstore.cluster.placement import parity_count
from chunkstore.cluster.stripe import K
from tests.cluster.fill import Held

HEAL_S = 600.0
MOST_NODES = 12


@st.composite
def states(draw: st.DrawFn) -> list[NodeState]:
    """Registered nodes, most of them up; the time is 0."""
    are_up = st.sampled_from([True, True, True, False])
    since_s = st.sampled_from([0.0, 1.0, HEAL_S - 1, HEAL_S, HEAL_S + 1, 2 * HEAL_S]) | st.floats(
        0, 10 * HEAL_S
    )
    count = draw(st.integers(5, MOST_NODES))
    return [NodeState(number, draw(are_up), -draw(since_s)) for number in range(1, count + 1)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[NodeState], Held, set[int]]:
    """Nodes, an object on them, and which of its parts are damaged."""
    nodes = draw(states())
    size = K + draw(st.integers(0, parity_count(len(nodes))))
    numbers = draw(st.permutations([node.number for node in nodes]))[:size]
    missing = draw(st.sets(st.integers(0, size - 1), max_size=2))
    placed = [NOWHERE if part in missing else number for part, number in enumerate(numbers)]
    here = [part for part, number in enumerate(placed) if number]
    damaged = draw(st.sets(st.sampled_from(here), max_size=2)) if here else set()
    return nodes, Held(1, 10, tuple(placed)), damaged


@given(states())
def test_it_pauses_when_more_than_m_vanish_together(nodes: list[NodeState]) -> None:
    m = parity_count(len(nodes))
    failing = [node.since_s for node in nodes if not node.is_up]
    together = [
        max(some)
        for some in itertools.combinations(failing, m + 1)
        if max(some) - min(some) <= HEAL_S
    ]
    outlook = look(nodes, 0.0, HEAL_S)
    assert outlook.is_paused == any(last + PAUSE_FACTOR * HEAL_S > 0 for last in together)


@given(states())
def test_nothing_changes_before_it_says(nodes: list[NodeState]) -> None:
    outlook = look(nodes, 0.0, HEAL_S)
    later = outlook.until_s if math.isfinite(outlook.until_s) else 1e9
    assert look(nodes, later * 0.999, HEAL_S) == outlook
    if math.isfinite(outlook.until_s):
        after = look(nodes, later, HEAL_S)
        assert (after.given_up, after.is_paused) != (outlook.given_up, outlook.is_paused) or (
            after.until_s > later
        )


@given(states())
def test_only_what_is_gone_for_long_is_given_up(nodes: list[NodeState]) -> None:
    outlook = look(nodes, 0.0, HEAL_S)
    for node in nodes:
        is_given_up = not node.is_up and node.since_s <= -HEAL_S
        assert (node.number in outlook.given_up) == is_given_up
        assert (node.number in outlook.up) == node.is_up


@given(cases())
def test_a_repair_leads_to_an_object_that_needs_none(
    case: tuple[list[NodeState], Held, set[int]],
) -> None:
    """Distinct nodes, no part lost on the way, and no more work than there is need for."""
    nodes, placed, damaged = case
    outlook = look(nodes, 0.0, HEAL_S)
    repair = assess(placed, outlook, damaged)
    if repair is None:
        return
    assert not outlook.is_paused
    assert repair.spare_count >= 0
    assert all(placed.nodes[part] in outlook.up for part in repair.sources)
    assert not damaged & set(repair.sources)
    fresh = sorted(outlook.up - set(placed.nodes))
    assert len(repair.make) <= len(fresh)
    after = list(placed.nodes) + [NOWHERE] * (K + outlook.m - len(placed.nodes))
    for part, number in zip(repair.make, fresh, strict=False):
        assert after[part] == NOWHERE or after[part] in outlook.given_up
        after[part] = number
    assert all(after[part] in outlook.up for part in repair.mend)
    held = [number for number in after if number]
    assert len(set(held)) == len(held)
    left = damaged - set(repair.mend) - set(repair.make)
    then = placed._replace(nodes=tuple(after))
    assert assess(then, outlook, left) is None
    assert len(readable_parts(then, outlook, left)) > repair.spare_count + K


@given(cases())
def test_nothing_is_done_only_if_nothing_can_be(
    case: tuple[list[NodeState], Held, set[int]],
) -> None:
    nodes, placed, damaged = case
    outlook = look(nodes, 0.0, HEAL_S)
    if assess(placed, outlook, damaged) is not None:
        return
    is_readable = len(readable_parts(placed, outlook, damaged)) >= K
    has_room = bool(outlook.up - set(placed.nodes))
    lacks = len(placed.nodes) < K + outlook.m or any(
        number == NOWHERE or number in outlook.given_up for number in placed.nodes
    )
    can_mend = any(placed.nodes[part] in outlook.up for part in damaged)
    assert outlook.is_paused or not is_readable or not (can_mend or (lacks and has_room))


def outlook_of(count: int, gone: tuple[int, ...] = ()) -> Outlook:
    """So many nodes, some gone for a while, one after the other."""
    return look(
        [NodeState(number, number not in gone, -1e5 * number) for number in range(1, count + 1)],
        0.0,
        HEAL_S,
    )


@pytest.mark.parametrize(
    ("count", "parts", "make"), [(5, 5, ()), (6, 5, (5,)), (7, 5, (5, 6)), (7, 6, (6,)), (9, 7, ())]
)
def test_parity_is_added_when_the_cluster_affords_it(
    count: int, parts: int, make: tuple[int, ...]
) -> None:
    repair = assess(Held(1, 10, tuple(range(1, parts + 1))), outlook_of(count))
    assert (repair.make if repair else ()) == make


def test_parity_is_not_taken_away() -> None:
    """A manifest with more than the nodes afford, as a restored metadata file may have."""
    assert assess(Held(1, 10, (1, 2, 3, 4, 5, 6, 7)), outlook_of(6)) is None


def test_a_part_that_is_damaged_is_written_again_where_it_is() -> None:
    """With as many nodes as parts there is no other place."""
    repair = assess(Held(1, 10, (1, 2, 3, 4, 5, 6, 7)), outlook_of(7), damaged=[6, 2])
    assert repair is not None
    assert (repair.mend, repair.make, repair.spare_count) == ((2, 6), (), 0)


@given(st.lists(st.sets(st.integers(1, 3)), max_size=30), st.integers(1, 10))
def test_fewest_parts_left_first(lost: list[set[int]], most: int) -> None:
    """And of more than can be kept the least urgent are left out."""
    backlog = Backlog(outlook_of(12, gone=(1, 2, 3)), most)
    needed = []
    for generation, gone in enumerate(lost):
        nodes = (*sorted(gone), *range(4, 11 - len(gone)))
        assert backlog.consider(Held(generation, 10, nodes)) == (len(gone) < 3)
        if len(gone) in (1, 2):
            needed.append((2 - len(gone), generation))
    assert backlog.bytes == 10 * sum(2 - spare for spare, _ in needed)
    assert backlog.left_out_count == max(0, len(needed) - most)
    assert sum(backlog.counts.values()) == min(len(needed), most)
    taken = []
    while repair := backlog.take():
        taken.append((repair.spare_count, repair.generation))
    assert taken == sorted(needed)[:most]
