"""Which nodes get an object's parts, and which parts move when nodes have joined. Pure.

New parts go to distinct nodes: a few more candidates than are needed are drawn by the bytes that
they have free, and the least full of them are taken. The draw keeps uploads that begin at the same
time from all going to one node, taking the least full makes the nodes fill evenly, and bytes that
are on their way count as if they were there. No node is filled beyond 95 %: what is lost must have
somewhere to be rebuilt, and a store needs room to clear up.

Source: M. Mitzenmacher, The power of two choices in randomized load balancing (2001); P. S.
Efraimidis and P. G. Spirakis, Weighted random sampling with a reservoir (2006), for the draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple, Protocol

from chunkstore.cluster.stripe import K

__all__ = [
    "EVEN",
    "FULL",
    "Move",
    "Node",
    "Placed",
    "choose",
    "moves",
    "parity_count",
    "spread",
]

FULL = 0.95
"""Of its capacity; beyond that a node gets no part."""
_CANDIDATES_BEYOND = 4
"""Drawn more than are needed: few enough that the draw matters, enough that the fullest lose it."""
EVEN = 0.03
"""A spread of fill that isn't worth moving anything for."""


class Node(NamedTuple):
    """What placement asks of a node.

    Attributes:
        number: what manifests call it; from 1 on.
        capacity_bytes: what it could take, all together.
        live_bytes: of the parts that it has.
        in_flight_bytes: of parts that are on their way to it.
        is_up: what it has can be had, and it may be given more if there is room.
        is_full: it says itself that it has no room, whatever its fill.
    """

    number: int
    capacity_bytes: int
    live_bytes: int
    in_flight_bytes: int
    is_up: bool
    is_full: bool = False

    @property
    def used_bytes(self) -> int:
        """What it has, or will."""
        return self.live_bytes + self.in_flight_bytes

    @property
    def fill(self) -> float:
        """What it has, or will, of its capacity."""
        return self.used_bytes / self.capacity_bytes

    def has_room(self, part_bytes: int) -> bool:
        """Whether it may be given a part of this size."""
        has_room = self.used_bytes + part_bytes <= FULL * self.capacity_bytes
        return self.is_up and not self.is_full and has_room

    def after(self, part_bytes: int) -> Node:
        """The same when a part of this size is on its way to it; or, below 0, away."""
        return self._replace(in_flight_bytes=self.in_flight_bytes + part_bytes)


class Placed(Protocol):
    """What is asked of a manifest."""

    @property
    def generation(self) -> int:
        """The object's number."""

    @property
    def part_bytes(self) -> int:
        """Of each part, as it lies on its node."""

    @property
    def nodes(self) -> tuple[int, ...]:
        """Number of each part's node, or `meta.NOWHERE`."""


class Move(NamedTuple):
    """A part that is to be on another node.

    Attributes:
        generation, part: of the object, and the index of the part in it.
        source, target: numbers of nodes.
    """

    generation: int
    part: int
    source: int
    target: int
    part_bytes: int


def parity_count(node_count: int) -> int:
    """Parity parts of an object in a cluster of so many registered nodes, up or not.

    Source: DESIGN.md section 7. Each part has a node of its own, so five nodes afford none; two
    parts of parity, where there are nodes for them, outlive a failure during a repair.
    """
    return min(max(node_count - K, 0), 2)


def choose(
    nodes: Iterable[Node],
    count: int,
    part_bytes: int,
    draw: Callable[[], float],
    taken: Collection[int] = (),
) -> list[int]:
    """Nodes for so many parts of an object.

    Args:
        nodes: all of the cluster.
        part_bytes: of each part; as far as known, 0 if it isn't.
        draw: gives numbers in [0, 1), independent and uniform.
        taken: nodes that have other parts of it.
    Returns:
        numbers of distinct nodes, in no order of preference; fewer than `count` if no more have
        room.
    Cost: O(n log n).
    """
    able = [node for node in nodes if node.number not in taken and node.has_room(part_bytes)]
    drawn = sorted(able, key=lambda node: _arrival(node, draw()))[: count + _CANDIDATES_BEYOND]
    return [node.number for node in _least_full(drawn, count)]


def _arrival(node: Node, random: float) -> float:
    """When a node comes up in a draw without replacement: sooner, the more it has free."""
    return -math.log(1.0 - random) / (node.capacity_bytes - node.used_bytes)


def _least_full(drawn: list[Node], count: int) -> list[Node]:
    """So many of them, in the order of the draw: which is data and which parity is chance."""
    kept = {node.number for node in sorted(drawn, key=lambda node: node.fill)[:count]}
    return [node for node in drawn if node.number in kept]


def spread(nodes: Iterable[Node]) -> float:
    """How unevenly the nodes that are up are filled: (max - min) / mean of their fill."""
    fills = [node.fill for node in nodes if node.is_up]
    mean = sum(fills) / len(fills) if fills else 0.0
    return (max(fills) - min(fills)) / mean if mean else 0.0


def moves(nodes: Iterable[Node], objects: Iterable[Placed], most_bytes: int) -> Iterator[Move]:
    """Parts to be moved from nodes that are too full to those that are too empty.

    A part goes from the fullest node that has one of its object to the emptiest that has none,
    while the two are further apart than is EVEN, and never so that they change places. So moves
    come to an end, even where the rule of distinct nodes leaves a large node with less than its
    share, and what is moved is what the newcomers lack.

    Args:
        nodes: all of the cluster.
        objects: what parts there are; as many as are looked through for this batch.
        most_bytes: of all moves together; the last may exceed it.
    Returns:
        moves, all of which may be under way together; at most one of an object.
    Cost: O(nodes) an object.
    """
    balance = _Balance(nodes)
    for placed in objects:
        if most_bytes <= 0 or balance.is_even:
            return
        if move := balance.move_of(placed):
            balance.note(move)
            most_bytes -= move.part_bytes
            yield move


class _Balance:
    """The nodes that are up, as they will be when all moves so far are done."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = {node.number: node for node in nodes if node.is_up}
        fills = [node.fill for node in self._nodes.values()]
        self._apart = EVEN * sum(fills) / max(1, len(fills))

    @property
    def is_even(self) -> bool:
        """Nothing is worth moving."""
        return spread(self._nodes.values()) <= EVEN

    def move_of(self, placed: Placed) -> Move | None:
        """The best move of a part of this object; None: it has none."""
        sources = [self._nodes[number] for number in placed.nodes if number in self._nodes]
        targets = [
            node
            for node in self._nodes.values()
            if node.number not in placed.nodes and node.has_room(placed.part_bytes)
        ]
        if not sources or not targets:
            return None
        source = max(sources, key=lambda node: node.fill)
        target = min(targets, key=lambda node: node.fill)
        if not self._is_better(source, target, placed.part_bytes):
            return None
        part = placed.nodes.index(source.number)
        return Move(placed.generation, part, source.number, target.number, placed.part_bytes)

    def note(self, move: Move) -> None:
        """It is under way."""
        for number, part_bytes in (move.source, -move.part_bytes), (move.target, move.part_bytes):
            self._nodes[number] = self._nodes[number].after(part_bytes)

    def _is_better(self, source: Node, target: Node, part_bytes: int) -> bool:
        """It is worth it, and leaves the source no emptier than the target."""
        return (
            source.fill - target.fill > self._apart
            and source.after(-part_bytes).fill >= target.after(part_bytes).fill
        )
