"""The parts of one object, as they are written: all at once, the slowest waited for within bounds.

    place, open     nodes for them, and a request to each
    room, put       the next record of each part, once all that keep up have room for it
    finish          all of them durable; those that were lost on other nodes, if there are any

A part is one request. So one that is lost is made anew as a whole: from memory, while all of the
object is there, else from the parts that are durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from chunkstore.cluster.fetch import Place
from chunkstore.cluster.fleet import needed_count
from chunkstore.cluster.lane import Lane, late
from chunkstore.cluster.meta import NOWHERE
from chunkstore.cluster.names import Part
from chunkstore.cluster.remake import remake
from chunkstore.cluster.stripe import K, Layout
from chunkstore.errors import DamagedError, DiskError, NodesFullError, QuorumError, StalledError

if TYPE_CHECKING:
    from chunkstore.cluster.store import ClusterStore

__all__ = ["Parts"]

LOOK_S = 0.25
"""Who is late is looked for so often."""
REPLACE_S = 10.0
"""So long a writer waits for lost parts to be made anew; then repair does it."""


class Parts:
    """Those of one object.

    Args:
        store: whose nodes and links it uses.
        key, generation: of the object.
        m: parity parts that it gets.
        changed: called whenever more was sent, or a part is over.

    Attributes:
        tried: each part with each node that may have something of it.
    """

    def __init__(
        self, store: ClusterStore, key: str, generation: int, m: int, changed: Callable[[], None]
    ) -> None:
        self._store = store
        self._key = key
        self._generation = generation
        self._m = m
        self._changed = changed
        self._lanes: list[Lane | None] = [None] * (K + m)
        self.tried: set[tuple[int, int]] = set()
        self._full: set[int] = set()  # nodes that had no room for a part that was lost before
        self._moved = trio.Event()
        self._is_in_memory = False

    @property
    def nodes(self) -> tuple[int, ...]:
        """Where each part is or will be, as far as is known."""
        return tuple(lane.node if lane and not lane.error else NOWHERE for lane in self._lanes)

    @property
    def durable_nodes(self) -> tuple[int, ...]:
        """Where each part is for good."""
        return tuple(lane.node if lane and lane.is_durable else NOWHERE for lane in self._lanes)

    @property
    def durable_count(self) -> int:
        """So many parts are."""
        return len(self._lanes) - self.durable_nodes.count(NOWHERE)

    @property
    def sent_count(self) -> int:
        """Records that all parts have which are not lost; there are at least K such."""
        alive = [lane.sent_count for lane in self._alive()]
        return min(alive) if len(alive) >= K else 0

    def place(self, part_bytes: int) -> None:
        """Have a node for each part, or for as many as it takes.

        Args:
            part_bytes: of each, as far as is known.
        Raises:
            QuorumError, NodesFullError: there are too few nodes, or too few with room.
        """
        nodes = self._store.place(K + self._m, part_bytes)
        if len(nodes) < needed_count(self._m):
            refusal = self._store.fleet.refusal(part_bytes)
            raise refusal or QuorumError(needed_count(self._m), len(nodes))
        for index, node in enumerate(nodes):
            self._lanes[index] = self._lane(index, node)

    @asynccontextmanager
    async def open(self, whole: Sequence[bytes] = ()) -> AsyncIterator[None]:
        """Write to all nodes; at the end, whatever is under way is given up.

        Args:
            whole: all of each part, if that is known: it is sent at once.
        Raises: what is raised inside.
        """
        self._is_in_memory = bool(whole)
        failure: DiskError | None = None  # raised outside: callers see no group
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            for lane in self._alive():
                if whole:
                    self._put(lane, whole[lane.part.index], is_last=True)
                nursery.start_soon(lane.run, self._store.fetcher.links)
            try:
                yield
            except DiskError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def room(self) -> None:
        """Wait until all lanes take another record, the slowest that still counts too.

        Raises:
            QuorumError: too few parts are left for the object to be read.
        """
        await self._until(lambda: all(lane.has_room for lane in self._alive()))

    def put(self, records: Sequence[bytes], *, is_last: bool = False) -> None:
        """The next record of each part, once there is `room`."""
        for lane in self._alive():
            self._put(lane, records[lane.part.index], is_last=is_last)

    async def sent(self) -> None:
        """Wait until all parts are over: durable, or lost.

        Raises: as `room`.
        """
        await self._until(lambda: all(lane.is_over for lane in self._alive()))

    async def replace(self, size_bytes: int, endings: Sequence[bytes]) -> None:
        """Make what was lost anew on other nodes, while there are any, for at most 10 s.

        Args:
            size_bytes: of the object.
            endings: what stands behind the last record; or of an object in memory, all of it.
        Raises:
            QuorumError, NodesFullError: fewer parts are durable than must be.
        """
        with trio.move_on_after(REPLACE_S):
            while lost := [i for i, lane in enumerate(self._lanes) if not lane or lane.error]:
                taken = {node for _, node in self.tried}
                nodes = self._store.place(len(lost), len(endings[0]), taken)
                if not nodes or (self.durable_count < K and not self._is_in_memory):
                    break
                lanes = [self._lane(*pair) for pair in zip(lost, nodes, strict=False)]
                moved = list(self.nodes)
                for lane in lanes:
                    moved[lane.part.index] = lane.node
                await self._store.move_open(self._generation, tuple(moved))
                await self._make(lanes, size_bytes, endings)
                for lane in lanes:
                    if lane.is_durable:
                        self._lanes[lane.part.index] = lane
                    elif lane.is_refused_for_room:
                        self._full.add(lane.node)
        if self.durable_count < needed_count(self._m):
            raise self._failure()

    # --- inside --------------------------------------------------------------------------------

    def _alive(self) -> list[Lane]:
        return [lane for lane in self._lanes if lane and not lane.error]

    def _lane(self, index: int, node: int) -> Lane:
        self.tried.add((index, node))
        return Lane(Part(self._generation, index), node, self._lane_changed)

    def _lane_changed(self) -> None:
        self._moved.set()
        self._changed()

    def _put(self, lane: Lane, data: bytes, *, is_last: bool) -> None:
        self._store.fleet.note(lane.node, len(data))
        lane.put(data, is_last=is_last)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while True:
            if len(self._alive()) < K and not self._is_in_memory:
                raise self._failure()
            if holds():
                return
            self._moved = trio.Event()
            await self._moved.wait()

    async def _watch(self) -> None:
        """Do without those that are late, as long as the object can be had from the others."""
        while True:
            await trio.sleep(LOOK_S)
            lanes, now_s = self._alive(), trio.current_time()
            waits_s = [lane.wait_s(now_s) for lane in lanes]
            spare_count = len(lanes) if self._is_in_memory else len(lanes) - K
            worst = sorted(late(waits_s), key=lambda index: -waits_s[index])[:spare_count]
            for index in worst:
                lane, wait_s = lanes[index], waits_s[index]
                self._store.fetcher.patience.shun(lane.node, now_s)
                lane.give_up(StalledError(f"node {lane.node} took nothing for {wait_s:.1f} s"))
            if worst:
                self._lane_changed()

    async def _make(self, lanes: Sequence[Lane], size_bytes: int, endings: Sequence[bytes]) -> None:
        """Write these parts from their first byte to the last, unless their nodes fail, too."""
        async with trio.open_nursery() as nursery:
            for lane in lanes:
                nursery.start_soon(lane.run, self._store.fetcher.links)
            try:
                if not self._is_in_memory:
                    place = Place(
                        self._key, self._generation, Layout(size_bytes), self.durable_nodes
                    )
                    await remake(self._store, place, size_bytes, lanes)
                for lane in lanes:
                    self._put(lane, endings[lane.part.index], is_last=True)
            except DamagedError as error:
                for lane in lanes:
                    lane.give_up(StalledError(str(error)))

    def _failure(self) -> DiskError:
        needed, found = needed_count(self._m), len(self._alive())
        full = {lane.node for lane in self._lanes if lane and lane.is_refused_for_room}
        full |= self._full
        if full and found + len(full) >= needed:
            return NodesFullError(needed, found, full)
        return QuorumError(needed, found)
