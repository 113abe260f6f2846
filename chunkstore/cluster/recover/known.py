"""What a copy of the metadata still knows: a cache, in which reading parts is saved. Blocking."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from chunkstore.cluster.meta import NOWHERE, Manifest, Meta, NodeRecord

__all__ = ["Known", "number_nodes"]

PAGE_COUNT = 10_000
_ALL = 1 << 31


class Known:
    """The objects of a copy, in the order of their generations.

    Args:
        meta: the copy, for this alone; None: there is none.

    Attributes:
        records: of the nodes, by number.
        ended: generations that were replaced or deleted, and whose parts may be there still.
        next_number: generations were reserved below it.
    """

    def __init__(self, meta: Meta | None) -> None:
        self._meta = meta
        self._after = 0
        self._waiting: deque[Manifest] = deque()
        self.records: list[NodeRecord] = []
        self.ended: frozenset[int] = frozenset()
        self.next_number = 1
        if meta is not None:
            self.records = meta.nodes()
            self.ended = frozenset(one.generation for one in meta.due(math.inf, _ALL))
            [number] = meta.batch([lambda meta: meta.reserve(0)])
            assert isinstance(number, int)
            self.next_number = number

    def take(self, below: float) -> list[Manifest]:
        """The next ones, of generations below this; each is given once."""
        taken: list[Manifest] = []
        while True:
            while self._waiting and self._waiting[0].generation < below:
                taken.append(self._waiting.popleft())
            if self._waiting or self._meta is None:
                return taken
            self._waiting += self._meta.page(self._after, PAGE_COUNT)
            if not self._waiting:
                return taken
            self._after = self._waiting[-1].generation


def number_nodes(known: Sequence[NodeRecord], came: Sequence[NodeRecord]) -> list[NodeRecord]:
    """The nodes of the new metadata: those of the copy by their numbers, then the others.

    Args:
        known: of the copy, whose numbers are from 1 on without a gap, since no node ever goes.
        came: those that are here, as they said; their numbers don't count.
    """
    assert [one.number for one in known] == list(range(NOWHERE + 1, len(known) + 1))
    here = {one.id: one for one in came}
    first = [
        here.pop(old.id, old)._replace(number=old.number, registered_s=old.registered_s)
        for old in known
    ]
    rest = [here[one] for one in sorted(here)]
    return [*first, *(one._replace(number=len(first) + i) for i, one in enumerate(rest, 1))]
