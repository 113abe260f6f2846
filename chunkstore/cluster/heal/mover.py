"""Load is moved to nodes that are emptier than others, such as those that have just joined.

::

    look, every 10 s, and when a node comes --> the fills are further apart than 5 % of their mean
      └─ page by page: placement.moves --> a few swaps at a time --> ... --> 3 %, or nothing helps

A fill is what a node said last, with what was sent since and what moves under way will bring and
take away: so a balancing doesn't go too far because heartbeats are seconds old. What has been moved
lies on its old node, too, for as long as readers may need it there; it counts as gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import trio

from chunkstore.cluster.fleet import Fleet
from chunkstore.cluster.heal.copy import SourceError, copy
from chunkstore.cluster.heal.throttle import Throttle
from chunkstore.cluster.meta import Manifest, Meta
from chunkstore.cluster.placement import EVEN, Move, Node, moves, spread
from chunkstore.cluster.store import ClusterStore
from chunkstore.cluster.swap import swap
from chunkstore.config import Settings
from chunkstore.errors import DiskError, FetchError, StatusError

__all__ = ["LOOK_S", "UNEVEN", "Mover", "Progress", "lacking_bytes"]

UNEVEN = 0.05
"""A spread of fill at which a balancing begins; it ends at EVEN, so not every upload begins one."""
LOOK_S = 10.0
AVOID_S = 60.0
"""A node that failed is left out of the balancing, and the next one begins so much later."""
IDLE_S = 600.0
"""When nothing that could be moved helps: so long is nothing tried, unless a node comes or goes."""
TICK_S = 1.0
TASKS = 4
"""Parts are moved at a time; what is moved together is paced together."""
PAGE_COUNT = 256
"""Manifests looked through at a time, which holds up other changes of the metadata for 5 ms."""
BATCH_S = 4.0
"""So much is planned at a time as may be moved meanwhile."""


class Progress(NamedTuple):
    """How far it is.

    Attributes:
        is_moving: a balancing is under way.
        moving_count: parts on their way now.
        moved_count, moved_bytes: since the start.
        left_bytes: to be moved yet, by the nodes' fill; with large nodes among few, more than can.
    """

    is_moving: bool
    moving_count: int
    moved_count: int
    moved_bytes: int
    left_bytes: int


class _Plan(NamedTuple):
    """What is to be moved of a page of manifests.

    Attributes:
        moves: each with the manifest of its object.
        after: the generation behind which the next page begins; None: this was the last one.
    """

    moves: list[tuple[Move, Manifest]]
    after: int | None


class Mover:
    """Evens out how full the nodes are.

    Args:
        store: whose parts are moved.
        settings: how fast.
        may_move: nothing more urgent is to be done.
        note: told when a balancing begins and ends.
    """

    def __init__(
        self,
        store: ClusterStore,
        settings: Settings,
        may_move: Callable[[], bool],
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._may_move = may_move
        self._note = note
        self._throttle = Throttle(settings.move_rate_bytes)
        self._batch_bytes = int(settings.move_rate_bytes * BATCH_S)
        self._avoided: set[int] = set()
        self._trouble: DiskError | None = None
        self._is_moving = False
        self._moving_count = self._moved_count = self._moved_bytes = 0

    @property
    def progress(self) -> Progress:
        """How far it is. Cost: O(nodes)."""
        left_bytes = lacking_bytes(self._nodes()) if self._is_moving else 0
        return Progress(
            self._is_moving, self._moving_count, self._moved_count, self._moved_bytes, left_bytes
        )

    async def run(self) -> None:
        """Work until cancelled.

        Cancellation: what is being moved stays where it was; what of it was written elsewhere is
        taken away, now or by the next start.
        """
        known: frozenset[int] = frozenset()
        due_s = 0.0
        while True:
            await trio.sleep(TICK_S)
            up = frozenset(node.number for node in self._store.fleet.nodes() if node.is_up)
            if up == known and trio.current_time() < due_s:
                continue
            known = up
            due_s = trio.current_time() + await self._balance()

    async def _balance(self) -> float:
        """Move what should be, if there is need; how long to rest then."""
        self._avoided.clear()
        self._trouble = None
        if not self._may_move() or spread(self._nodes()) <= UNEVEN:
            return LOOK_S
        count, size = self._moved_count, self._moved_bytes
        try:
            helps = await self._go_through()
        except DiskError as error:
            self._trouble, helps = error, True
        if self._is_moving:
            self._is_moving = False
            trouble = f"; it stopped: {self._trouble}" if self._trouble else ""
            self._note(
                f"moved {self._moved_count - count} parts"
                f" ({_size(self._moved_bytes - size)}) to emptier nodes:"
                f" their fill differs by {spread(self._nodes()):.1%} of its mean{trouble}"
            )
        if self._avoided:
            return AVOID_S
        return LOOK_S if helps else IDLE_S

    async def _go_through(self) -> bool:
        """Go through all objects, again and again, while that helps; false: it is not enough.

        Raises:
            DiskError: the metadata can't be read.
        """
        after, moved_count, planned_count = 0, self._moved_count, 0
        while self._is_wanted and spread(nodes := self._nodes()) > EVEN:
            plan = await self._store.scribe.ask(
                partial(_plan, nodes, after, self._batch_bytes), is_lasting=False
            )
            if plan.moves and not self._is_moving:
                self._is_moving = True
                self._note(
                    f"the nodes' fill differs by {spread(nodes):.1%} of its mean:"
                    f" some {_size(lacking_bytes(nodes))} will be moved to emptier ones"
                )
            planned_count += len(plan.moves)
            await self._carry_out(plan.moves)
            if plan.after is not None:
                after = plan.after
            elif self._moved_count == moved_count:
                return (
                    not self._is_wanted
                )  # it was broken off, or nothing that could be moved helps
            else:
                after, moved_count = 0, self._moved_count
        return True

    @property
    def _is_wanted(self) -> bool:
        return self._trouble is None and self._may_move()

    def _nodes(self) -> list[Node]:
        """As planned with: what failed in this balancing is left out of it."""
        return [
            node._replace(is_up=node.is_up and node.number not in self._avoided)
            for node in self._store.fleet.nodes()
        ]

    # --- a few at a time -----------------------------------------------------------------------

    async def _carry_out(self, planned: list[tuple[Move, Manifest]]) -> None:
        """Move these parts, those that can be."""
        fleet = self._store.fleet
        waiting = deque((_Freight(fleet, move), manifest) for move, manifest in planned)
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(min(TASKS, len(waiting))):
                    nursery.start_soon(self._work, waiting)
        finally:
            for freight, _ in waiting:
                freight.give_up()

    async def _work(self, waiting: deque[tuple[_Freight, Manifest]]) -> None:
        while waiting and self._is_wanted:
            freight, manifest = waiting.popleft()
            self._moving_count += 1
            try:
                await self._move(freight, manifest)
            finally:
                self._moving_count -= 1
                if not freight.is_made:
                    freight.give_up()

    async def _move(self, freight: _Freight, manifest: Manifest) -> None:
        """Move a part; whatever is wrong, it stays where it was."""
        store, move = self._store, freight.move
        is_damaged = move.part in store.damage.of(move.generation, manifest.nodes)
        if is_damaged or not self._avoided.isdisjoint((move.source, move.target)):
            return

        async def pace(size_bytes: int) -> None:
            await self._throttle.take(size_bytes)
            freight.sent(size_bytes)

        write = partial(copy, store.fetcher.links, manifest, move.part, move.target, pace)
        try:
            if await swap(store, manifest, move.part, move.target, write, freight.left):
                freight.is_made = True
                self._moved_count += 1
                self._moved_bytes += move.part_bytes
        except SourceError as error:
            if error.is_damaged:
                store.damage.note(move.generation, move.part, move.source)
            else:
                self._avoided.add(move.source)
        except StatusError as error:
            if error.status != 410:  # which is about this object alone
                self._avoided.add(move.target)
        except FetchError:
            self._avoided.add(move.target)
        except DiskError as error:
            self._trouble = error


class _Freight:
    """What a move brings and takes away, in the books of the fleet from the plan to its end."""

    def __init__(self, fleet: Fleet, move: Move) -> None:
        self.move = move
        self.is_made = False
        self._fleet = fleet
        self._due_bytes = move.part_bytes
        self._owed_bytes = move.part_bytes
        fleet.expect(move.target, move.part_bytes)
        fleet.expect(move.source, -move.part_bytes)

    def sent(self, size_bytes: int) -> None:
        """So much is on its way: from its next heartbeat on the target counts it itself."""
        self._due_bytes -= size_bytes
        self._fleet.expect(self.move.target, -size_bytes)
        self._fleet.note(self.move.target, size_bytes)

    def left(self) -> None:
        """The source has it no more, and says so with its next heartbeat."""
        self._fleet.expect(self.move.source, self._owed_bytes)
        self._fleet.note(self.move.source, -self._owed_bytes)

    def give_up(self) -> None:
        """Nothing comes of it."""
        self._fleet.expect(self.move.target, -self._due_bytes)
        self._fleet.expect(self.move.source, self._owed_bytes)


def lacking_bytes(nodes: list[Node]) -> int:
    """What nodes have less than their share. Pure."""
    up = [node for node in nodes if node.is_up]
    capacity_bytes = sum(node.capacity_bytes for node in up)
    level = sum(node.used_bytes for node in up) / capacity_bytes if capacity_bytes else 0.0
    return int(sum(max(0.0, level * node.capacity_bytes - node.used_bytes) for node in up))


def _plan(nodes: list[Node], after: int, most_bytes: int, meta: Meta) -> _Plan:
    """Moves of a page of objects. Cost: 5 ms."""
    page = meta.page(after, PAGE_COUNT)
    of = {manifest.generation: manifest for manifest in page}
    planned = [(move, of[move.generation]) for move in moves(nodes, page, most_bytes)]
    if sum(move.part_bytes for move, _ in planned) >= most_bytes:
        return _Plan(planned, planned[-1][0].generation)
    return _Plan(planned, page[-1].generation if len(page) == PAGE_COUNT else None)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"
