"""Placement: its hard rules for any nodes, and how evenly seeded clusters fill."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.placement import FULL, Node, choose, moves, parity_count, spread
from tests.cluster.fill import GIB, Filling, Held, mixed_sizes

BYTES = st.integers(0, 1000)


@st.composite
def clusters(draw: st.DrawFn) -> list[Node]:
    """Nodes of any size, fill and state."""
    shapes = st.tuples(st.integers(1, 1000), BYTES, BYTES, st.booleans())
    drawn = draw(st.lists(shapes, max_size=15))
    return [Node(number, *shape) for number, shape in enumerate(drawn, 1)]


@given(clusters(), st.integers(1, 7), BYTES, st.sets(st.integers(1, 15)), st.integers())
def test_the_hard_rules(
    nodes: list[Node], count: int, part_bytes: int, taken: set[int], seed: int
) -> None:
    chosen = choose(nodes, count, part_bytes, random.Random(seed).random, taken)
    able = {
        node.number
        for node in nodes
        if node.is_up
        and node.live_bytes + node.in_flight_bytes + part_bytes <= 0.95 * node.capacity_bytes
    } - taken
    assert len(set(chosen)) == len(chosen) == min(count, len(able))
    assert set(chosen) <= able


@given(clusters(), st.integers(1, 7), st.integers())
def test_the_least_full_of_those_that_were_drawn(nodes: list[Node], count: int, seed: int) -> None:
    """With no more than four to spare all are drawn."""
    able = [node for node in nodes if node.has_room(0)]
    if len(able) <= count + 4:
        chosen = choose(nodes, count, 0, random.Random(seed).random)
        left = [node.fill for node in able if node.number not in chosen]
        assert all(node.fill <= min(left, default=1) for node in able if node.number in chosen)


def test_uploads_that_begin_together_go_to_different_nodes() -> None:
    """Nobody has told of them yet: the draw alone spreads them."""
    nodes = [Node(number, GIB, 0, 0, is_up=True) for number in range(1, 31)]
    source = random.Random(1)
    met = [choose(nodes, 7, 1 << 20, source.random) for _ in range(1000)]
    counts = [sum(number in chosen for chosen in met) for number in range(1, 31)]
    assert min(counts) > 150
    assert max(counts) < 330  # of 233 that each would have


@pytest.mark.parametrize(("node_count", "m"), [(0, 0), (5, 0), (6, 1), (7, 2), (30, 2)])
def test_parity_by_registered_nodes(node_count: int, m: int) -> None:
    assert parity_count(node_count) == m


@pytest.mark.parametrize(
    ("capacities", "count", "most"),
    [
        ([64 * GIB] * 8, 2000, 0.05),
        ([32 * GIB, 48 * GIB, 64 * GIB] * 3, 2000, 0.10),
        ([8 * GIB, 16 * GIB, 32 * GIB] * 10, 5000, 0.10),
    ],
    ids=["8 equal", "9 of 2:3:4", "30 of 1:2:4"],
)
@pytest.mark.parametrize("seed", range(3))
def test_they_fill_evenly(capacities: list[int], count: int, most: float, seed: int) -> None:
    """Objects of 1 byte to 4 MiB."""
    cluster = Filling(capacities, seed)
    cluster.fill(count, mixed_sizes(seed))
    assert spread(cluster.nodes.values()) <= most


@pytest.mark.parametrize("capacity_ratio", [1, 4])
@pytest.mark.parametrize(("before", "joining"), [(7, 1), (8, 4), (20, 10)])
def test_newcomers_take_their_share(before: int, joining: int, capacity_ratio: int) -> None:
    """In bounded batches, and little more than they lack is moved."""
    cluster = Filling([16 * GIB] * before, seed=1)
    cluster.fill(2000, mixed_sizes(1))
    cluster.join([16 * GIB * capacity_ratio] * joining)
    total = sum(node.live_bytes for node in cluster.nodes.values())
    share = joining * capacity_ratio / (before + joining * capacity_ratio)
    # Each node has at most one part of an object, so an object gives each newcomer at most one.
    lacking = min(share * total, joining * sum(held.part_bytes for held in cluster.objects))
    moved, batches = 0, 0
    while batch := cluster.carry_out(
        moves(cluster.nodes.values(), cluster.objects, most_bytes=64 << 20)
    ):
        assert batch < (64 << 20) + (1 << 20)
        moved += batch
        batches += 1
    is_attainable = share * total <= joining * total / 7
    if is_attainable:
        assert spread(cluster.nodes.values()) <= 0.05
    assert moved <= lacking
    assert batches <= moved // (64 << 20) + 4


@st.composite
def placed(draw: st.DrawFn) -> tuple[list[Node], list[Held]]:
    """Nodes and objects that lie on some of them."""
    used = st.integers(0, 200)
    shapes = st.tuples(st.integers(500, 2000), used, used, st.sampled_from([1, 1, 0]))
    drawn = draw(st.lists(shapes, max_size=15))
    nodes = [Node(number, *shape[:3], bool(shape[3])) for number, shape in enumerate(drawn, 1)]
    numbers = st.permutations([0, 0, 0] + [node.number for node in nodes])
    objects = draw(st.lists(st.tuples(st.integers(1, 100), numbers), max_size=20))
    return nodes, [
        Held(generation, part_bytes, tuple(chosen[:7]))
        for generation, (part_bytes, chosen) in enumerate(objects)
    ]


@given(placed(), st.integers(0, 500))
def test_moves_keep_the_rules(case: tuple[list[Node], list[Held]], most_bytes: int) -> None:
    nodes, objects = case
    after = {node.number: node for node in nodes}
    moved = list(moves(nodes, objects, most_bytes))
    assert sum(move.part_bytes for move in moved[:-1]) < max(most_bytes, 1)
    assert len({move.generation for move in moved}) == len(moved)
    fills = [node.fill for node in nodes if node.is_up]
    for move in moved:
        held = objects[move.generation]
        assert held.nodes[move.part] == move.source
        assert held.part_bytes == move.part_bytes
        assert move.target not in held.nodes
        assert after[move.source].is_up
        after[move.source] = after[move.source].after(-move.part_bytes)
        after[move.target] = after[move.target].after(move.part_bytes)
        assert after[move.target].is_up
        assert after[move.target].fill <= FULL
        assert after[move.target].fill <= after[move.source].fill
    if moved:
        fills_after = [node.fill for node in after.values() if node.is_up]
        assert max(fills_after) <= max(fills) + 1e-9
        assert min(fills_after) >= min(fills) - 1e-9
