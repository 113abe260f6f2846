"""Reading from nodes with disks over real sockets, on the real clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from chunkstore.client import Client as HttpClient
from chunkstore.client import Timeouts, parse_url
from chunkstore.cluster.fetch import Fetcher
from chunkstore.cluster.links import Links
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.source import ClusterSource
from chunkstore.cluster.windows import Windows
from chunkstore.config import parse_listen
from chunkstore.errors import ConnectError, DamagedError
from chunkstore.origin import Origin
from chunkstore.server import Log, bind
from chunkstore.store.disk import DataDir, DiskStore, Engine, Files
from tests.cluster.nodes import SIGNER, Trusting, parts_of
from tests.cluster.test_source import LONG
from tests.jumping import run_for_real
from tests.origin.drive import WALL_S, make_settings

COUNT = 7
RUN = run_for_real


class Node:
    """An origin with a disk, until it dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.scope = trio.CancelScope()
        self.address = ""

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until killed."""
        listener = bind(parse_listen("127.0.0.1:0"), backlog=99, send_buffer_bytes=1 << 18)
        host, port = listener.raw.getsockname()
        self.address = f"{host}:{port}"
        with closing(listener), closing(DataDir(self._folder)) as data, self.scope:
            with closing(Engine(data, Files())) as engine:
                disk, guard = DiskStore(engine), Trusting()
                origin = Origin(make_settings(), Log("off"), disk=disk, guard=guard)
                await origin.run((listener,), task_status=task_status)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[tuple[list[Node], Links, ClusterSource]]:
    """Nodes with an object, links to them, and its source, held."""
    async with trio.open_nursery() as nursery:
        nodes = [Node(folder / str(index)) for index in range(COUNT)]
        for index, (node, part) in enumerate(zip(nodes, parts_of(LONG, 7, 2), strict=True)):
            await nursery.start(node.live)

            async def body(part: bytes = part) -> AsyncIterator[bytes]:
                yield part

            async with HttpClient(parse_url(f"http://{node.address}/")) as client:
                path = part_path(Part(7, index))
                answer = await client.request("PUT", path, body=body(), length=len(part))
                assert answer.status == 201
        async with Links(
            lambda number: nodes[number - 1].address,
            SIGNER,
            wall_s=lambda: WALL_S,
            timeouts=Timeouts(connect_s=5.0),
        ) as links:
            windows = Windows(Fetcher(links))
            await nursery.start(windows.run)
            source = ClusterSource(windows, "/a", 7, lambda: tuple(range(1, COUNT + 1)), len(LONG))
            source.hold()
            yield nodes, links, source
            source.let_go()
        nursery.cancel_scope.cancel()


async def read(source: ClusterSource) -> bytes:
    """All of it."""
    found = b""
    while len(found) < len(LONG):
        found += await source.range(len(found), len(LONG) - len(found))
    return found


async def test_nodes_die_one_after_the_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as (nodes, links, source):
        assert await read(source) == LONG
        for number in (2, 6):
            nodes[number - 1].scope.cancel()
            assert await read(source) == LONG
            assert not links.busy(number)
        nodes[0].scope.cancel()
        with pytest.raises(DamagedError, match=r"1 \(node 2\)"):
            await read(source)


async def test_a_connection_that_its_node_closed_is_not_used_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as (nodes, links, _):
        path = part_path(Part(7, 0))
        async with links.request(1, "GET", path, generation=7) as answer:
            assert await answer.body()
        assert len(links._peers[1].idle) == 1
        nodes[0].scope.cancel()
        await trio.sleep(0.05)
        with pytest.raises(ConnectError):  # and not that one broke off
            async with links.request(1, "PUT", path, generation=7, body=_nothing(), length=0):
                pass


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
