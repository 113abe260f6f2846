"""What lies on the nodes: five equal parts on five of them, joined here and not by the gateway."""

from __future__ import annotations

from collections.abc import Callable

from chunkstore.client import expect
from chunkstore.cluster.check.cases import (
    PARTED_SIZES,
    content,
    expect_equal,
    expect_same,
    join,
)
from chunkstore.cluster.check.peer import Peer, expect_taken
from chunkstore.cluster.inquiry import Inquiry
from chunkstore.cluster.links import Links
from chunkstore.cluster.meta import NOWHERE
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.stripe import K
from chunkstore.errors import CheckError

__all__ = ["parts_on_nodes"]


async def parts_on_nodes(
    peer: Peer, inquiry: Inquiry, link: Callable[[Callable[[int], str | None]], Links]
) -> None:
    """An object is cut in five parts of identical length on nodes of their own, parity beside.

    Args:
        inquiry: knows where they are.
        link: makes links to nodes, whose addresses it is given.
    Raises:
        CheckError, FetchError: it isn't, or can't be seen to be.
    """
    nodes = await inquiry.addresses()
    async with link(nodes.get) as links:
        for size in PARTED_SIZES:
            name = f"parts-{size}"
            data = content(name, size)
            put = await peer.put(name, data, is_length_known=size % 2 == 0)
            expect_taken(name, put)
            await _hold_against(data, peer.key(name), inquiry, links)


async def _hold_against(data: bytes, key: str, inquiry: Inquiry, links: Links) -> None:
    manifest = await inquiry.manifest(key)
    nodes, generation = manifest.nodes, manifest.generation
    expect_equal(f"data parts of {key}", K, manifest.k)
    expect_equal(f"size of {key} in its manifest", len(data), manifest.size_bytes)
    placed = [one for one in nodes if one != NOWHERE]
    if len(nodes) < K or NOWHERE in nodes[:K] or len(set(placed)) < len(placed):
        raise CheckError(f"parts of {key}: expected each on a node of its own, got {nodes}")
    parts = {
        index: await _part(links, node, Part(generation, index))
        for index, node in enumerate(nodes)
        if node != NOWHERE
    }
    lengths = sorted({len(part) for part in parts.values()})
    expect_equal(f"lengths of the parts of {key}", [manifest.part_bytes], lengths)
    joined = join([parts[index] for index in range(K)], key, generation, len(data))
    expect_same(f"{key} joined from its five data parts", data, joined)


async def _part(links: Links, node: int, part: Part) -> bytes:
    """All of a part, from its node."""
    path = part_path(part)
    async with links.request(node, "GET", path, generation=part.generation) as answer:
        await expect(answer, 200)
        return await answer.body()
