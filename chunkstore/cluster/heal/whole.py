"""An object gets the parts that it lacks: written again where they are, or put on other nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from chunkstore.cluster.fetch import Place
from chunkstore.cluster.heal.planner import Plan
from chunkstore.cluster.lane import Lane
from chunkstore.cluster.ledger import split_digest
from chunkstore.cluster.meta import NOWHERE, Manifest
from chunkstore.cluster.names import Part
from chunkstore.cluster.remake import remake
from chunkstore.cluster.stripe import K, Layout
from chunkstore.cluster.swap import swap
from chunkstore.cluster.unit import Description
from chunkstore.errors import DamagedError, FetchError, StalledError, StatusError, StoreError

if TYPE_CHECKING:
    from chunkstore.cluster.store import ClusterStore

__all__ = ["Outcome", "make_whole"]

_WELL = (410, 507)
"""What a node answers that is well, but doesn't take a part: it was taken away there just now, or
there is no room. One whose disk can't be written says 500, and may do so for ever."""


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        made: parts that are right by now, where the manifest says.
        refused: nodes that didn't take theirs: others may.
        error: the last thing that went wrong; "": nothing did.
    """

    made: tuple[int, ...]
    refused: frozenset[int]
    error: str


async def make_whole(
    store: ClusterStore,
    manifest: Manifest,
    plan: Plan,
    refused: Collection[int],
    pace: Callable[[int], Awaitable[None]],
) -> Outcome:
    """Make as many of the parts as there are nodes for, all from one reading of the object.

    Args:
        manifest: of the object, as it is now.
        plan: what it lacks.
        refused: nodes that are not to be tried, or not again.
        pace: asked before so many bytes are sent.
    Cancellation: what was under way has not been, or is taken away.
    """
    targets = _targets(store, manifest, plan, refused)
    if not targets:
        return Outcome((), frozenset(), "no other node has room for it")
    attempt = _Attempt(store, manifest, targets)
    async with trio.open_nursery() as nursery:
        for lane in attempt.lanes:
            nursery.start_soon(attempt.write, lane)
        try:
            await attempt.feed(plan.sources, pace)
        except DamagedError as error:
            attempt.give_up(str(error))
    error_text = attempt.errors[-1] if attempt.errors else ""
    return Outcome(tuple(attempt.made), attempt.refused(), error_text)


def _targets(
    store: ClusterStore, manifest: Manifest, plan: Plan, refused: Collection[int]
) -> dict[int, int]:
    """The node of each part that can be made."""
    nodes = manifest.nodes
    homeless = [part for part in plan.mend if nodes[part] in refused]
    targets = {part: nodes[part] for part in plan.mend if part not in homeless}
    homeless += plan.make
    others = store.place(len(homeless), manifest.part_bytes, {*nodes, *refused})
    return targets | dict(zip(homeless, others, strict=False))


class _Attempt:
    """Some parts of an object on their way to their nodes.

    Attributes:
        lanes: the way of each.
        made: parts that are right.
        failed: lanes whose nodes didn't take all of theirs.
        errors: what went wrong.
    """

    def __init__(self, store: ClusterStore, manifest: Manifest, targets: dict[int, int]) -> None:
        self._store = store
        self._manifest = manifest
        self.lanes = [
            Lane(Part(manifest.generation, part), node, lambda: None)
            for part, node in targets.items()
        ]
        self.made: list[int] = []
        self.failed: list[Lane] = []
        self.errors: list[str] = []

    async def feed(self, sources: Collection[int], pace: Callable[[int], Awaitable[None]]) -> None:
        """Give the lanes all of their parts, from those that can be read.

        Raises:
            DamagedError: they can't.
        """
        key, generation, size_bytes, *_ = manifest = self._manifest
        nodes = [node if part in sources else NOWHERE for part, node in enumerate(manifest.nodes)]
        place = Place(key, generation, Layout(size_bytes), tuple(nodes))
        await remake(self._store, place, size_bytes, self.lanes, pace)
        m = max(len(nodes), *(lane.part.index + 1 for lane in self.lanes)) - K
        for lane in self.lanes:
            await lane.until_room()
            lane.put(_description(manifest, lane.part.index, m), is_last=True)

    def give_up(self, error: str) -> None:
        """They can't be fed: that is no fault of their nodes."""
        for lane in self.lanes:
            lane.give_up(StalledError(error))
        self.failed.clear()
        self.errors.append(error)

    async def write(self, lane: Lane) -> None:
        """Have a part on its node, and the manifest say so."""
        manifest, part = self._manifest, lane.part.index
        is_made = False
        try:
            if manifest.node(part) == lane.node:
                await self._run(lane)
                is_made = True
            else:
                run = partial(self._run, lane)
                is_made = await swap(self._store, manifest, part, lane.node, run)
            error = f"{manifest.key} was replaced, or its part {part} was moved"
        except (FetchError, StoreError) as failure:
            error = str(failure)
        if is_made:
            self._store.damage.mended(manifest.generation, part)
            self.made.append(part)
        else:
            self.errors.append(error)
            lane.give_up(FetchError(error))  # it may never have run

    async def _run(self, lane: Lane) -> None:
        await lane.run(self._store.fetcher.links)
        if lane.error is not None:
            self.failed.append(lane)
            raise lane.error

    def refused(self) -> frozenset[int]:
        """Nodes that didn't take a part, and needn't; those that are just not well are shunned."""
        nodes = set()
        for lane in self.failed:
            is_refusal = isinstance(lane.error, StatusError)
            if not (isinstance(lane.error, StatusError) and lane.error.status in _WELL):
                self._store.fetcher.patience.shun(lane.node, trio.current_time())
            if is_refusal or self._manifest.node(lane.part.index) != lane.node:
                nodes.add(lane.node)
        return frozenset(nodes)


def _description(manifest: Manifest, part: int, m: int) -> bytes:
    """What the part ends with."""
    sha256, facts = split_digest(manifest.facts)
    key, generation, size_bytes, *_ = manifest
    return Description(key, generation, K, m, part, size_bytes, sha256, facts).encode()
