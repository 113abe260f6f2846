"""What an operator is shown of a cluster: its nodes, and how safe its objects are. Pure.

::

    {"cluster": ID, "parity": 2, "parity_note": "",
     "nodes": [{"number": 1, "is_up": true, "since_s": 12.5, "fill": 0.31, …}, …],
     "objects": {"count": 3, "bytes": 700, "age_s": 0.8,
                 "whole": 2, "one_short": 1, "two_short": 0, "unreadable": 0},
     "damaged_parts": {"known": 0, "found": 0, "mended": 0},
     "repair": {"waiting": {"1": 1}, "left_out": 0, "bytes": 300, "unreadable": 0,
                "is_paused": false, "bytes_s": 100.0, "eta_s": 3.0} or null,
     "scrub": …, "move": …, "survey": …, "trouble": ["node 7 at 10.0.0.7:8081 is gone"]}

An object is whole when it has all parts that the cluster affords now, on nodes that are up, and
none of them is known to be damaged.
"""

from __future__ import annotations

from collections.abc import Collection

from chunkstore.cluster.heal.tally import Progress
from chunkstore.cluster.membership import Member
from chunkstore.cluster.meta import NOWHERE, Manifest
from chunkstore.cluster.placement import parity_count
from chunkstore.cluster.stripe import K
from chunkstore.metrics import Figure

__all__ = [
    "CONDITIONS",
    "Tally",
    "figures",
    "manifest_members",
    "node_members",
    "parity_note",
    "repair_members",
]

CONDITIONS = ("whole", "one_short", "two_short", "unreadable")
"""Of an object, by how many of its parts can't be had."""
_NOTES = (
    "no parity: a sixth and seventh node add it",
    "one part of parity: a seventh node adds one",
)


class Tally:
    """Objects, counted by their condition.

    Args:
        node_count: nodes that registered.
        up: numbers of those whose parts can be had.

    Attributes:
        node_count, up: as above.
        counts: objects by condition.
        bytes: of all objects.
    """

    __slots__ = ("_whole_count", "bytes", "counts", "node_count", "up")

    def __init__(self, node_count: int, up: Collection[int]) -> None:
        self.node_count = node_count
        self.up = frozenset(up)
        self.counts = dict.fromkeys(CONDITIONS, 0)
        self.bytes = 0
        self._whole_count = K + parity_count(node_count)

    @property
    def count(self) -> int:
        """All objects."""
        return sum(self.counts.values())

    def add(self, manifest: Manifest, damaged: Collection[int] = ()) -> None:
        """Count an object.

        Args:
            damaged: parts of it that are known not to be right.
        Cost: a microsecond.
        """
        self.bytes += manifest.size_bytes
        nodes, up = manifest.nodes, self.up
        if not damaged and len(nodes) >= self._whole_count and up.issuperset(nodes):
            self.counts["whole"] += 1
            return
        readable = sum(
            node in up and part not in damaged for part, node in enumerate(nodes) if node != NOWHERE
        )
        missing = max(0, self._whole_count - readable)
        self.counts["unreadable" if readable < K else CONDITIONS[missing]] += 1


def parity_note(m: int) -> str:
    """What more nodes would give, in words; "" if nothing."""
    return _NOTES[m] if m < len(_NOTES) else ""


def node_members(member: Member, now_s: float) -> dict[str, object]:
    """A node: who it is, and since when it is up or gone; what it said last of its fill."""
    record, fill, is_up = member.record, member.fill, member.is_up(now_s)
    capacity_bytes = fill.capacity_bytes if fill else record.capacity_bytes
    since_s = now_s - (member.up_since_s if is_up else member.heard_s)
    return {
        "number": record.number,
        "id": record.id,
        "address": record.address,
        "incarnation": record.incarnation,
        "is_up": is_up,
        "since_s": round(since_s, 3),
        "silent_s": None if fill is None else round(now_s - member.heard_s, 3),
        "capacity_bytes": capacity_bytes,
        "used_bytes": fill.used_bytes if fill else None,
        "live_bytes": fill.live_bytes if fill else None,
        "free_bytes": fill.free_bytes if fill else None,
        "fill": round(fill.live_bytes / capacity_bytes, 4) if fill and capacity_bytes else None,
        "registered_s": record.registered_s,
    }


def repair_members(progress: Progress | None) -> dict[str, object] | None:
    """What is to be repaired, and how long that will take; None: nothing is said of it."""
    if progress is None:
        return None
    eta_s = progress.eta_s
    return {
        "waiting": {str(spare): count for spare, count in sorted(progress.waiting.items())},
        "left_out": progress.left_out_count,
        "bytes": progress.bytes,
        "unreadable": progress.unreadable_count,
        "is_paused": progress.is_paused,
        "bytes_s": round(progress.bytes_s, 1),
        "eta_s": None if eta_s is None else round(eta_s, 1),
    }


def manifest_members(manifest: Manifest) -> dict[str, object]:
    """Where an object's parts are; a part that no node has has the number 0."""
    return {
        "key": manifest.key,
        "generation": manifest.generation,
        "size_bytes": manifest.size_bytes,
        "part_bytes": manifest.part_bytes,
        "k": manifest.k,
        "nodes": list(manifest.nodes),
    }


def figures(
    tally: Tally, found_count: int, mended_count: int, progress: Progress | None
) -> list[Figure]:
    """What is measured of a cluster, for /metrics.

    Args:
        tally: of its objects.
        found_count, mended_count: parts, since the start.
        progress: of its repair, if it has one.
    """
    nodes = {"up": len(tally.up), "gone": tally.node_count - len(tally.up)}
    waiting_bytes = progress.bytes if progress else 0
    parts = {"found": found_count, "mended": mended_count}
    return [
        Figure("cluster_nodes", "Registered storage nodes.", "state", nodes),
        Figure("cluster_objects", "Objects by parts that can be had.", "parts", tally.counts),
        Figure("cluster_repair_bytes", "To be written by repairs.", "", {"": waiting_bytes}),
        Figure(
            "cluster_damaged_parts", "Parts that were not right.", "event", parts, is_counter=True
        ),
    ]
