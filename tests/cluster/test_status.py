"""What an operator is told, beside what is so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.heal.tally import Progress
from chunkstore.cluster.hello import Fill
from chunkstore.cluster.membership import GONE_S, Member
from chunkstore.cluster.meta import Manifest, NodeRecord
from chunkstore.cluster.status import (
    CONDITIONS,
    Tally,
    figures,
    node_members,
    parity_note,
    repair_members,
)

NUMBERS = st.integers(0, 9)


def manifest(nodes: tuple[int, ...], size: int = 10) -> Manifest:
    """An object there."""
    return Manifest("/a", 1, size, 5, 5, nodes, b"")


def naive(nodes: tuple[int, ...], damaged: set[int], up: set[int], node_count: int) -> str:
    """The condition of an object, part by part."""
    whole = {5: 5, 6: 6}.get(node_count, 7)
    good = 0
    for part in range(whole):
        if part < len(nodes) and nodes[part] != 0 and nodes[part] in up and part not in damaged:
            good += 1
    if good < 5:
        return "unreadable"
    return {0: "whole", 1: "one_short", 2: "two_short"}[whole - good]


@given(st.integers(5, 9), st.data())
def test_objects_are_counted_by_the_parts_that_can_be_had(
    node_count: int, draw: st.DataObject
) -> None:
    up = draw.draw(st.sets(st.integers(1, node_count)))
    places = st.permutations(range(1, node_count + 1))
    lost = st.sets(st.integers(0, 6))
    objects = draw.draw(st.lists(st.tuples(places, lost, lost, st.integers(0, 99)), max_size=20))
    tally, expected, size_bytes = Tally(node_count, up), dict.fromkeys(CONDITIONS, 0), 0
    for place, nowhere, damaged, size in objects:
        nodes = tuple(
            0 if part in nowhere else node for part, node in enumerate(place[: min(node_count, 7)])
        )
        tally.add(manifest(nodes, size), tuple(damaged))
        expected[naive(nodes, damaged, up, node_count)] += 1
        size_bytes += size
    assert tally.counts == expected
    assert (tally.count, tally.bytes) == (len(objects), size_bytes)


def test_what_was_written_before_there_were_as_many_nodes_is_short() -> None:
    tally = Tally(7, range(1, 8))
    tally.add(manifest((1, 2, 3, 4, 5)))
    tally.add(manifest((1, 2, 3, 4, 5, 6)))
    tally.add(manifest((1, 2, 3, 4, 5, 6, 7)))
    assert tally.counts == {"whole": 1, "one_short": 1, "two_short": 1, "unreadable": 0}


@pytest.mark.parametrize(
    ("size", "bytes_s", "eta_s"),
    [(0, 0.0, 0.0), (300, 100.0, 3.0), (300, 0.0, None)],
)
def test_what_repair_says_is_passed_on(size: int, bytes_s: float, eta_s: float | None) -> None:
    told = repair_members(Progress({1: 2, 0: 1}, 3, size, 4, False, bytes_s))
    assert told == {
        "waiting": {"0": 1, "1": 2},
        "left_out": 3,
        "bytes": size,
        "unreadable": 4,
        "is_paused": False,
        "bytes_s": bytes_s,
        "eta_s": eta_s,
    }
    assert repair_members(None) is None


def test_what_more_nodes_would_give() -> None:
    assert parity_note(0) == "no parity: a sixth and seventh node add it"
    assert "seventh" in parity_note(1)
    assert parity_note(2) == ""


def test_a_node_is_up_or_gone_since_a_time() -> None:
    record = NodeRecord(3, "a" * 32, "h:1", 1000, "1" * 16, 5.0)
    never = node_members(Member(record, 100.0), 130.0)
    assert (never["is_up"], never["since_s"], never["fill"]) == (False, 30.0, None)
    assert never["capacity_bytes"] == 1000
    member = Member(record, 100.0, Fill(2000, 600, 500, 1400), up_since_s=40.0)
    there = node_members(member, 101.0)
    assert (there["is_up"], there["since_s"], there["silent_s"]) == (True, 61.0, 1.0)
    assert (there["fill"], there["capacity_bytes"], there["live_bytes"]) == (0.25, 2000, 500)
    gone = node_members(member, 100.0 + GONE_S)
    assert (gone["is_up"], gone["since_s"]) == (False, GONE_S)


def test_figures_have_what_there_is() -> None:
    tally = Tally(7, range(1, 6))
    tally.add(manifest((1, 2, 3, 4, 5, 6, 7)))
    for progress, waiting_bytes in ((None, 0), (Progress({}, 0, 9, 0, False, 0.0), 9)):
        told = {one.name: one.values for one in figures(tally, 4, 3, progress)}
        assert told["cluster_nodes"] == {"up": 5, "gone": 2}
        assert told["cluster_objects"]["two_short"] == 1
        assert told["cluster_repair_bytes"] == {"": waiting_bytes}
        assert told["cluster_damaged_parts"] == {"found": 4, "mended": 3}
