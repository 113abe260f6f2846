"""Real processes: a gateway ends within its drain, whatever its nodes do, and whatever is under
way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from chunkstore.config import Settings
from chunkstore.errors import FetchError
from tests.faults.cluster import Cluster
from tests.faults.test_cluster import put

pytestmark = pytest.mark.real


async def test_sigterm_while_all_nodes_are_stopped(tmp_path: Path) -> None:
    flags = "--heal-after", "1s", "--scrub-parts", "60s"
    async with Cluster.open(tmp_path, 8, *flags) as cluster, trio.open_nursery() as nursery:
        data = bytes(3_000_000)
        for number in range(10):
            assert await put(cluster, f"/{number}", data) == (201, "7/7")
        await cluster.nodes[3].kill()  # repair begins

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield bytes(100_000)
                await trio.sleep(0.01)

        async def upload(number: int) -> None:
            async with cluster.client() as client:
                try:
                    answer = await client.request("PUT", f"/open/{number}", body=endless())
                    await answer.body()
                except FetchError:
                    return

        for number in range(4):
            nursery.start_soon(upload, number)
        await cluster.gateway.until(rb"node \d+ at \S+ is gone")
        await trio.sleep(1.5)
        for number, node in cluster.nodes.items():
            if number != 3:
                node.stop()
        with trio.fail_after(4 * Settings().drain_s):
            assert await cluster.gateway.end() == 0
        nursery.cancel_scope.cancel()
        assert b"Traceback" not in cluster.gateway.said
