"""What is left of an object, and where. Pure.

Where its parts are is for the nodes to say, for parts move and are made anew; what the object is
says a copy of the metadata, or any of its parts. Only of a node that isn't there is it believed
that it has what the metadata said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from enum import Enum

from chunkstore.cluster.codec import MAX_M
from chunkstore.cluster.ledger import with_digest
from chunkstore.cluster.meta import NOWHERE, Manifest
from chunkstore.cluster.recover.merge import Found
from chunkstore.cluster.stripe import K, Layout
from chunkstore.cluster.unit import Description

__all__ = ["Verdict", "decide", "described"]


class Verdict(Enum):
    """What can be had of an object; the value is for people."""

    WHOLE = "it can be read"
    AWAITED = "it can be read once nodes that are not here are back"
    INCOMPLETE = "fewer of its parts are known of than it takes to read it"
    GONE = "none of its parts is where it was"


def described(description: Description, size_bytes: int) -> Manifest | None:
    """The manifest of an object, without places, by what one of its parts says.

    Args:
        size_bytes: of that part; None comes back where it can't be that of a whole one.
    """
    _, _, k, m, part, *_ = description
    if k != K or m > MAX_M or part >= K + MAX_M:
        return None
    layout = Layout(description.size_bytes)
    if size_bytes != layout.records_bytes + len(description.encode()):
        return None
    return Manifest(
        description.key,
        description.generation,
        description.size_bytes,
        size_bytes,
        description.k,
        (NOWHERE,) * (description.k + description.m),
        with_digest(description.sha256, description.facts),
    )


def decide(found: Found, expected: Manifest, absent: Collection[int]) -> tuple[Verdict, Manifest]:
    """What is left of an object, and the manifest that says where it is.

    Args:
        found: its parts on nodes that are here.
        expected: its manifest as it was.
        absent: registered nodes that are not here.
    """
    assert found.generation == expected.generation
    holders: defaultdict[int, list[int]] = defaultdict(list)
    for copy in found.copies:
        if copy.size_bytes == expected.part_bytes:
            holders[copy.part.index].append(copy.node)
    nodes = [NOWHERE] * max(len(expected.nodes), *(index + 1 for index in holders), 0)
    for index, node in enumerate(expected.nodes):
        if node in absent and index not in holders:
            nodes[index] = node
    awaited_count = len(nodes) - nodes.count(NOWHERE)
    _place(holders, expected, nodes)
    manifest = expected._replace(nodes=tuple(nodes))
    if len(holders) >= expected.k:
        return Verdict.WHOLE, manifest
    if len(holders) + awaited_count >= expected.k:
        return Verdict.AWAITED, manifest
    return Verdict.INCOMPLETE if holders else Verdict.GONE, manifest


def _place(holders: dict[int, list[int]], expected: Manifest, nodes: list[int]) -> None:
    """Choose among those that have a part; no node for two, unless the object needs them."""

    def is_where_it_was(index: int) -> bool:
        return expected.node(index) in holders[index]

    # What was moved lies in two places for a while, and what was to be collected may still lie.
    for index in sorted(holders, key=lambda one: (not is_where_it_was(one), len(holders[one]))):
        free = [node for node in holders[index] if node not in nodes]
        nodes[index] = (
            expected.node(index) if expected.node(index) in free else min(free, default=NOWHERE)
        )
    for index in sorted(holders):
        if nodes[index] == NOWHERE and len(nodes) - nodes.count(NOWHERE) < expected.k:
            nodes[index] = min(holders[index])
