"""What all nodes list, a generation at a time, as it comes in pages. Pure.

A list is in the order of the names, and so of the generations: what is below the last name of every
list that goes on is complete. So however many parts there are, a page a node is in memory.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chunkstore.cluster.names import Part

__all__ = ["Copy", "Found", "Merge"]


class Copy(NamedTuple):
    """A part, as a node has it.

    Attributes:
        size_bytes: all of it; None: it is still being written, or would be.
    """

    part: Part
    node: int
    size_bytes: int | None


class Found(NamedTuple):
    """What was found of a generation: whole parts, in order, perhaps some more than once."""

    generation: int
    copies: tuple[Copy, ...]


class Merge:
    """Walks along the lists of some nodes.

    Args:
        nodes: their numbers.

    Attributes:
        highest: generation that was seen anywhere, also in what is still being written.
    """

    def __init__(self, nodes: Iterable[int]) -> None:
        self._last: dict[int, float] = dict.fromkeys(nodes, -1)
        self._waiting: defaultdict[int, list[Copy]] = defaultdict(list)
        self.highest = 0

    @property
    def horizon(self) -> float:
        """Of generations below it all is known; infinite at the end."""
        return min(self._last.values(), default=math.inf)

    @property
    def wanted(self) -> list[int]:
        """The nodes whose next page is needed to go on; none: that was all."""
        horizon = self.horizon
        return [node for node, last in self._last.items() if last == horizon < math.inf]

    def feed(self, node: int, copies: Sequence[Copy], *, is_last: bool) -> None:
        """A page of a node's list."""
        for copy in copies:
            generation = copy.part.generation
            assert generation >= self._last[node], "the list is sorted"
            self._last[node] = generation
            self.highest = max(self.highest, generation)
            if copy.size_bytes is not None:
                self._waiting[generation].append(copy)
        if is_last:
            self._last[node] = math.inf

    def take(self) -> list[Found]:
        """The generations that are known by now, in order; each is given once."""
        ready = sorted(number for number in self._waiting if number < self.horizon)
        return [Found(number, tuple(sorted(self._waiting.pop(number)))) for number in ready]
