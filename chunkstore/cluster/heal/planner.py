"""Which parts are to be made, and which of them first. Pure: time comes in as an argument.

::

    look(states, now)          what can be read, written and must be made anew, as of now
    assess(manifest, outlook)  what that means for one object
    Backlog                    what was found to do, the objects with the fewest parts left first

A node that is gone has its parts made elsewhere after `heal_after_s`, since most come back before.
More than m nodes that vanish together are a switch or a power strip rather than disks, and some of
what they have can't be made without them: everything waits for them, but not for ever.

An object is whole when it has the parity that the cluster affords now. So what was written with too
few nodes, and what was written before there were as many, are repairs as any other.

The caller goes through all manifests whenever `look` says something new, and re-reads a manifest
and assesses it again before it acts: the backlog may be late, and it says only where to look.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from chunkstore.cluster.meta import NOWHERE
from chunkstore.cluster.placement import Placed, parity_count
from chunkstore.cluster.stripe import K

__all__ = [
    "PAUSE_FACTOR",
    "Backlog",
    "NodeState",
    "Outlook",
    "Plan",
    "assess",
    "look",
    "readable_parts",
]

PAUSE_FACTOR = 6
"""So many `heal_after_s` are nodes waited for that vanished together: an hour of ten minutes each.
After that what can be made without them is, for whoever should have mended the switch is asleep."""


class NodeState(NamedTuple):
    """A registered node.

    Attributes:
        number: what manifests call it.
        is_up: its parts can be had, and it may be given more.
        since_s: when it came up, or when it was heard of last.
    """

    number: int
    is_up: bool
    since_s: float


class Outlook(NamedTuple):
    """What is to be thought of all nodes for now.

    Attributes:
        m: parity parts that the cluster affords an object.
        up: nodes whose parts can be had, and that may be given more.
        given_up: nodes whose parts are to be made elsewhere.
        is_paused: too many vanished together: nothing is to be made.
        until_s: when time alone will change this; infinite if it won't.
    """

    m: int
    up: frozenset[int]
    given_up: frozenset[int]
    is_paused: bool
    until_s: float


def look(states: Collection[NodeState], now_s: float, heal_after_s: float) -> Outlook:
    """What is to be thought of the nodes.

    Args:
        states: of all registered nodes.
        now_s: the time, on the clock of the states.
        heal_after_s: how long a node is waited for.
    """
    m = parity_count(len(states))
    gone = [one for one in states if not one.is_up]
    resume_s = _resumes_at(sorted(one.since_s for one in gone), m, heal_after_s)
    changes_s = [one.since_s + heal_after_s for one in gone]
    return Outlook(
        m,
        frozenset(one.number for one in states if one.is_up),
        frozenset(one.number for one in gone if one.since_s + heal_after_s <= now_s),
        now_s < resume_s,
        min((at for at in (*changes_s, resume_s) if at > now_s), default=math.inf),
    )


def _resumes_at(vanished_s: list[float], m: int, heal_after_s: float) -> float:
    """When nodes that vanished at these times, in order, aren't waited for any more."""
    together = [
        last
        for first, last in zip(vanished_s, vanished_s[m:], strict=False)
        if last - first <= heal_after_s
    ]
    return max(together) + PAUSE_FACTOR * heal_after_s if together else -math.inf


class Plan(NamedTuple):
    """What can be done for an object now.

    Attributes:
        generation: the object.
        sources: parts that can be read, at least K.
        mend: parts to be written again where they are, for they are damaged there, or missing.
        make: parts to be put on nodes that have none of this object; as many as there are such.
    """

    generation: int
    part_bytes: int
    sources: tuple[int, ...]
    mend: tuple[int, ...]
    make: tuple[int, ...]

    @property
    def spare_count(self) -> int:
        """So many more can be lost; the fewer, the more urgent."""
        return len(self.sources) - K

    @property
    def bytes(self) -> int:
        """To be written."""
        return (len(self.mend) + len(self.make)) * self.part_bytes


def assess(placed: Placed, outlook: Outlook, damaged: Collection[int] = ()) -> Plan | None:
    """What can be done for an object now; None: nothing, because it is whole, waits, or is lost.

    Args:
        placed: its manifest.
        damaged: parts that are not on their nodes, or not right there.
    """
    nodes = placed.nodes
    sources = readable_parts(placed, outlook, damaged)
    if outlook.is_paused or len(sources) < K:
        return None
    mend = [part for part in damaged if nodes[part] in outlook.up]
    homeless = [
        part for part, number in enumerate(nodes) if number == NOWHERE or number in outlook.given_up
    ]
    homeless += range(len(nodes), K + outlook.m)
    make = homeless[: len(outlook.up.difference(nodes))]
    if not mend and not make:
        return None
    return Plan(placed.generation, placed.part_bytes, sources, tuple(sorted(mend)), tuple(make))


def readable_parts(
    placed: Placed, outlook: Outlook, damaged: Collection[int] = ()
) -> tuple[int, ...]:
    """The parts of an object that can be had; with fewer than K it can't be read."""
    return tuple(
        part
        for part, number in enumerate(placed.nodes)
        if number in outlook.up and part not in damaged
    )


class Backlog:
    """What is to be done under one outlook; never more than so many repairs of it in memory.

    Args:
        outlook: of the nodes; with the next one a new backlog is begun.
        most: repairs kept; beyond that the least urgent are left out, to be found by going through
            the manifests again when this is empty.

    Attributes:
        left_out_count: repairs that were.
        bytes: to be written for all that was considered and not taken, what was left out included.
    """

    __slots__ = (
        "_by_spare",
        "_kept_count",
        "_most",
        "bytes",
        "left_out_count",
        "outlook",
    )

    def __init__(self, outlook: Outlook, most: int = 10_000) -> None:
        self.outlook = outlook
        self.left_out_count = 0
        self.bytes = 0
        self._by_spare: defaultdict[int, deque[Plan]] = defaultdict(deque)
        self._kept_count = 0
        self._most = most

    @property
    def counts(self) -> dict[int, int]:
        """Repairs that are kept, by the number of parts that can still be lost."""
        return {spare: len(kept) for spare, kept in sorted(self._by_spare.items()) if kept}

    def consider(self, placed: Placed, damaged: Collection[int] = ()) -> bool:
        """See to an object, if there is need; the same one again is taken for another.

        Args:
            placed, damaged: as `assess` takes them.
        Returns:
            false: it can't be read now.
        Cost: O(parts).
        """
        outlook = self.outlook
        if not damaged and len(placed.nodes) >= K + outlook.m:
            if outlook.up.issuperset(placed.nodes):
                return True  # as nearly all are: no need to look closer
        repair = assess(placed, outlook, damaged)
        if repair is None:
            return len(readable_parts(placed, outlook, damaged)) >= K
        self.bytes += repair.bytes
        self._by_spare[repair.spare_count].append(repair)
        self._kept_count += 1
        if self._kept_count > self._most:
            self._kept(max).pop()
            self._kept_count -= 1
            self.left_out_count += 1
        return True

    def take(self) -> Plan | None:
        """The most urgent one, which is the caller's from now on; None: there is none."""
        if not self._kept_count:
            return None
        repair = self._kept(min).popleft()
        self._kept_count -= 1
        self.bytes -= repair.bytes
        return repair

    def _kept(self, end: Callable[[Iterable[int]], int]) -> deque[Plan]:
        """The most (min) or the least (max) urgent repairs; there are some."""
        return self._by_spare[end(spare for spare, kept in self._by_spare.items() if kept)]
