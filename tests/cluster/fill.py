"""Nodes that fill up, for tests of placement: where parts went, and nothing that is decided."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chunkstore.cluster.placement import Move, Node, choose, parity_count
from chunkstore.cluster.stripe import K, Layout

GIB = 1 << 30


class Held(NamedTuple):
    """A manifest, as far as placement looks at it."""

    generation: int
    part_bytes: int
    nodes: tuple[int, ...]


class Filling:
    """A cluster of nodes that don't fail."""

    def __init__(self, capacities: Iterable[int], seed: int) -> None:
        self.random = random.Random(seed)
        self.nodes: dict[int, Node] = {}
        self.objects: list[Held] = []
        self.join(capacities)

    def join(self, capacities: Iterable[int]) -> None:
        """Empty nodes."""
        for capacity in capacities:
            number = len(self.nodes) + 1
            self.nodes[number] = Node(number, capacity, 0, 0, is_up=True)

    def put(self, size: int) -> None:
        """One object."""
        part_bytes = Layout(size).records_bytes + 200
        count = K + parity_count(len(self.nodes))
        numbers = choose(self.nodes.values(), count, part_bytes, self.random.random)
        assert len(set(numbers)) == count
        for number in numbers:
            self._store(number, part_bytes)
        self.objects.append(Held(len(self.objects), part_bytes, tuple(numbers)))

    def fill(self, count: int, sizes: Sequence[int]) -> None:
        """So many objects of any of these sizes."""
        for _ in range(count):
            self.put(self.random.choice(sizes))

    def carry_out(self, moves: Iterable[Move]) -> int:
        """Bytes that were moved."""
        moved = 0
        for generation, index, source, target, part_bytes in list(moves):
            held = self.objects[generation]
            assert held.nodes[index] == source
            assert target not in held.nodes
            nodes = (*held.nodes[:index], target, *held.nodes[index + 1 :])
            self.objects[generation] = held._replace(nodes=nodes)
            self._store(source, -part_bytes)
            self._store(target, part_bytes)
            moved += part_bytes
        return moved

    def _store(self, number: int, part_bytes: int) -> None:
        node = self.nodes[number]
        self.nodes[number] = node._replace(live_bytes=node.live_bytes + part_bytes)
        assert self.nodes[number].fill <= 0.95


def mixed_sizes(seed: int, most: int = 4 << 20) -> list[int]:
    """From a byte to `most`, as many of each order of magnitude, and as many of each size."""
    source = random.Random(seed)
    small = [int(math.exp(source.uniform(0, math.log(most)))) for _ in range(500)]
    return small + [source.randint(1, most) for _ in range(500)]
