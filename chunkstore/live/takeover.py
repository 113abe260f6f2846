"""Readers of an upload that broke off go on in the next upload of its path.

They stay where they are, parked at the edge of the superseded generation, until it is known who of
them may go on; then the pump lets them go, and each moves to the successor or is cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import trio

from chunkstore.journal import Journal
from chunkstore.live.broadcast import Broadcast
from chunkstore.objects import KEPT_COUNT, Claim, Generation

__all__ = ["Takeovers"]


class Takeovers:
    """All superseded generations, by path, oldest first.

    Args:
        journal: it is noted there when the readers of one go on.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._kept: dict[str, list[Broadcast]] = {}
        self._sooner = trio.Event()

    def keep(self, broadcast: Broadcast) -> None:
        """Its generation was superseded: its readers have a claim from now on."""
        generation = broadcast.generation
        broadcast.claim = Claim(generation, trio.current_time())
        kept = self._kept.setdefault(generation.key, [])
        kept.append(broadcast)
        if len(kept) > KEPT_COUNT:
            kept[0].generation.enter("abort")
        self._sooner.set()

    def drop(self, generation: Generation) -> None:
        """It is no longer superseded, or nobody reads it any more; harmless if it isn't kept."""
        kept = self._kept.get(generation.key, [])
        for dropped in [one for one in kept if one.generation is generation]:
            kept.remove(dropped)
            _part(dropped)
        if not kept:
            self._kept.pop(generation.key, None)

    def of(self, key: str) -> list[Generation]:
        """The superseded generations of a path."""
        return [one.generation for one in self._kept.get(key, ())]

    def begin(self, successor: Broadcast) -> None:
        """A new upload of a path has begun."""
        for kept in self._kept.get(successor.generation.key, ()):
            assert kept.claim is not None
            if kept.claim.successor is None:
                kept.claim.begin(successor.generation)
                kept.successor = successor
                successor.predecessors = (*successor.predecessors, kept)

    def compare(self, successor: Broadcast) -> None:
        """A successor has grown or ended: tell the readers whose claims that decides."""
        now_s = trio.current_time()
        # Those whose readers have all moved or gone hold memory: nobody may hold them for long.
        waiting = [one for one in successor.predecessors if one.generation.is_superseded]
        for kept in waiting:
            assert kept.claim is not None
            was_decided = kept.claim.is_decided
            kept.claim.compare(now_s)
            if kept.claim.is_decided and not was_decided:
                self._note(kept, successor.generation)
            if kept.claim.successor is None:
                _part(kept)
            kept.wake(now_s)
            self._sooner.set()

    def _note(self, kept: Broadcast, successor: Generation) -> None:
        old = kept.generation
        facts = {"from": old.id, "readers": old.readers}
        assert kept.claim is not None
        if kept.claim.differs_at is not None:
            facts["differs_at"] = kept.claim.differs_at
        self._journal.note("taken_over", old.key, successor.id, **facts)

    def give_up(self) -> None:
        """No upload can follow any more: those that have no successor end now."""
        for kept in self._all():
            if kept.successor is None:
                kept.generation.enter("abort")

    async def run(self) -> None:
        """Give up what nobody took over in time, until cancelled."""
        while True:
            with trio.move_on_at(self._give_up_due()):
                await self._sooner.wait()
            self._sooner = trio.Event()

    def _give_up_due(self) -> float:
        """Give up those whose time is over; when the next one is due."""
        now_s = trio.current_time()
        soonest_s = math.inf
        for kept in self._all():
            assert kept.claim is not None
            if kept.claim.deadline_s <= now_s:
                kept.generation.enter("abort")
            else:
                soonest_s = min(soonest_s, kept.claim.deadline_s)
        return soonest_s

    def all(self) -> list[Generation]:
        """The superseded generations of all paths."""
        return [kept.generation for kept in self._all()]

    def _all(self) -> Iterator[Broadcast]:
        return iter([one for kept in self._kept.values() for one in kept])


def _part(kept: Broadcast) -> None:
    """It has no successor (any more): the two don't keep each other in memory."""
    successor, kept.successor = kept.successor, None
    if successor is not None:
        successor.predecessors = tuple(one for one in successor.predecessors if one is not kept)
