"""Real processes: what a dead node had is made on the others, and then two more may die."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from tests.faults.cluster import Cluster
from tests.faults.test_cluster import get, put

pytestmark = pytest.mark.real

SIZES = [0, 5, 70_000, 1_310_721, 9_000_000]


async def test_redundancy_is_whole_again_behind_a_dead_node(tmp_path: Path) -> None:
    random = Random(1)
    data = {f"/{number}": random.randbytes(size) for number, size in enumerate(SIZES * 3)}
    async with Cluster.open(tmp_path, 8, "--heal-after", "1s") as cluster:
        for key, content in data.items():
            assert await put(cluster, key, content) == (201, "7/7")
        await cluster.nodes[3].kill()
        shutil.rmtree(tmp_path / "node-3")
        await cluster.gateway.until(rb"repair ends: \d+ parts made")
        for number in (1, 6):
            await cluster.nodes[number].kill()
        for key, content in data.items():
            assert await get(cluster, key) == content
