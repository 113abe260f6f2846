"""Connections to nodes: kept after a whole answer, closed after any other, never more than due."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.cluster import links as links_module
from chunkstore.cluster.links import IDLE_S, Links
from chunkstore.errors import ConnectError, StalledError
from tests.cluster.nodes import Nodes

PATH = "/parts/0000000000000007.0"


@pytest.fixture
async def nodes(nursery: trio.Nursery) -> Nodes:
    """Two nodes; the first has a part."""
    nodes = await Nodes.open(nursery, 2)
    await nodes.put([b"part"], 7)
    return nodes


async def body_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body."""
    for piece in pieces:
        await trio.lowlevel.checkpoint()
        yield piece


async def get(links: Links, node: int = 1) -> bytes:
    """GET the part, whole."""
    async with links.request(node, "GET", PATH, generation=7) as answer:
        assert answer.status == 200
        return await answer.body()


async def test_requests_are_signed_and_a_connection_is_kept(nodes: Nodes) -> None:
    async with nodes.links() as links:
        for length in (4, None):
            body = body_of(b"more")
            async with links.request(
                2, "PUT", PATH, generation=7, body=body, length=length
            ) as answer:
                assert answer.status in (200, 201, 204)
                await answer.body()
        assert await get(links, 2) == b"more"
        assert await get(links, 1) == b"part"
        async with links.request(1, "GET", PATH, generation=8) as answer:
            assert answer.status == 403
            await answer.body()
        assert len(nodes.made) == 2
        assert not links.busy(1)
    await wait_all_tasks_blocked()
    assert not nodes.open_count


async def test_side_by_side_each_has_its_own(nodes: Nodes) -> None:
    async with nodes.links() as links:
        async with links.request(1, "GET", PATH, generation=7) as one:
            assert await get(links) == b"part"
            assert links.busy(1) == 1
            assert await one.body() == b"part"
        assert await get(links) == b"part"
        assert len(nodes.made) == 2


async def test_an_answer_that_was_not_read_costs_its_connection_alone(nodes: Nodes) -> None:
    async with nodes.links() as links:
        assert await get(links) == b"part"
        async with links.request(1, "GET", PATH, generation=7) as answer:
            assert answer.status == 200
        await wait_all_tasks_blocked()
        assert (nodes.open_count, links.busy(1)) == (0, 0)


async def test_cancelled_at_any_moment_it_leaves_no_connection_open(nodes: Nodes) -> None:
    nodes.stopped.add(1)
    async with nodes.links() as links, trio.open_nursery() as nursery:
        nursery.start_soon(get, links)
        await wait_all_tasks_blocked()
        assert (nodes.open_count, links.busy(1)) == (1, 1)
        nursery.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    assert (nodes.open_count, links.busy(1)) == (0, 0)


async def test_who_cannot_be_asked_says_so(nodes: Nodes) -> None:
    async with nodes.links() as links:
        with pytest.raises(ConnectError, match="node 9 has no address"):
            await get(links, 9)
        nodes.down.add(2)
        with pytest.raises(ConnectError, match="Connection refused"):
            await get(links, 2)
        nodes.stopped.add(1)
        with pytest.raises(StalledError):
            await get(links)
        assert not links.busy(1)


async def test_there_is_a_bound(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "LINKS_MAX", 2)
    monkeypatch.setattr(links_module, "IDLE_MAX", 1)
    async with nodes.links() as links:
        async with (
            links.request(1, "GET", PATH, generation=7) as one,
            links.request(1, "GET", PATH, generation=7) as other,
        ):
            with pytest.raises(ConnectError, match="has 2 connections"):
                await get(links)
            await one.body()
            await other.body()
        await wait_all_tasks_blocked()
        assert nodes.open_count == 1  # kept


async def test_what_is_idle_for_long_is_closed(nodes: Nodes) -> None:
    async with nodes.links() as links:
        await get(links)
        await trio.sleep(IDLE_S + 1)
        await get(links)
        await wait_all_tasks_blocked()
        assert (len(nodes.made), nodes.open_count) == (2, 1)
