"""What the gateway tells operators of its cluster, counted when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import trio

from chunkstore.cluster.heal.tally import Progress
from chunkstore.cluster.membership import Membership
from chunkstore.cluster.placement import parity_count
from chunkstore.cluster.status import (
    Tally,
    figures,
    manifest_members,
    node_members,
    parity_note,
    repair_members,
)
from chunkstore.cluster.store import ClusterStore
from chunkstore.metrics import Figure

__all__ = ["FRESH_S", "Overview"]

FRESH_S = 2.0
"""A count of all objects holds for so long, at least, while the nodes are the same."""
COST_FACTOR = 50
"""And for so many times what it took: counting a million takes seconds."""
STEP_COUNT = 500
"""Objects counted in one go: a millisecond."""


def _nothing() -> None:
    return None


class Overview:
    """The views of one cluster.

    Args:
        membership: its nodes.
        store: its objects.
        repair: what the repair of it says of itself, None while there is none.
        others: the same of what else works by itself: "scrub", "move", "survey".
    """

    def __init__(
        self,
        membership: Membership,
        store: ClusterStore,
        repair: Callable[[], Progress | None] = _nothing,
        others: Mapping[str, Callable[[], Mapping[str, object] | None]] | None = None,
    ) -> None:
        self._membership = membership
        self._store = store
        self._repair = repair
        self._others = {"scrub": _nothing, "move": _nothing, "survey": _nothing, **(others or {})}
        self._counting = trio.Lock()
        self._tally: Tally | None = None
        self._counted_s = self._holds_until_s = 0.0

    async def status(self, query: str = "") -> dict[str, Any]:
        """All that is to be known of the cluster, as `status` has it."""
        tally = await self._count()
        now_s, damage = trio.current_time(), self._store.damage
        m = parity_count(len(self._membership.members))
        return {
            "cluster": self._membership.cluster_id,
            "parity": m,
            "parity_note": parity_note(m),
            "nodes": [node_members(one, now_s) for one in self._membership.members.values()],
            "objects": {
                "count": tally.count,
                "bytes": tally.bytes,
                "age_s": round(now_s - self._counted_s, 3),
                **tally.counts,
            },
            "damaged_parts": {
                "known": damage.part_count,
                "found": damage.found_count,
                "mended": damage.mended_count,
            },
            "repair": repair_members(self._repair()),
            **{name: ask() for name, ask in self._others.items()},
            "trouble": self._store.trouble(),
        }

    async def manifest(self, query: str) -> dict[str, object] | None:
        """Where the parts are of the object `key=NAME`, in normal form; None: there is none."""
        manifest = self._store.manifest(parse_qs(query).get("key", [""])[0])
        return None if manifest is None else manifest_members(manifest)

    async def figures(self) -> list[Figure]:
        """What /metrics has of the cluster."""
        tally, damage = await self._count(), self._store.damage
        return figures(tally, damage.found_count, damage.mended_count, self._repair())

    async def _count(self) -> Tally:
        """All objects by their condition, now or not long ago.

        Cost: 3 us an object, a millisecond at a time.
        """
        async with self._counting:
            began_s = trio.current_time()
            node_count = len(self._membership.members)
            up = {one.record.number for one in self._membership.up(began_s)}
            known = self._tally
            if known is not None and began_s < self._holds_until_s:
                if known.up == up and known.node_count == node_count:
                    return known
            tally = await self._counted(Tally(node_count, up))
            now_s = trio.current_time()
            self._tally, self._counted_s = tally, now_s
            self._holds_until_s = now_s + max(FRESH_S, COST_FACTOR * (now_s - began_s))
            return tally

    async def _counted(self, tally: Tally) -> Tally:
        store, damage = self._store, self._store.damage
        keys = store.keys()
        for start in range(0, len(keys), STEP_COUNT):
            for key in keys[start : start + STEP_COUNT]:
                manifest = store.manifest(key)
                if manifest is not None:  # else it went meanwhile
                    generation, nodes = manifest.generation, manifest.nodes
                    tally.add(manifest, damage.of(generation, nodes) if damage.part_count else ())
            await trio.lowlevel.checkpoint()
        return tally
