"""Real processes: servers have all there is, another joins and takes its share."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
import trio

from tests.faults.cluster import Cluster
from tests.faults.test_cluster import get, lying, put

OBJECTS = 12
SIZE_BYTES = 200_000


@pytest.mark.trio
@pytest.mark.parametrize(("before", "part_counts"), [(5, (5, 6)), (7, (7,))])
async def test_a_server_that_joins_takes_its_share(
    tmp_path: Path, before: int, part_counts: tuple[int, ...]
) -> None:
    """Before and after every object is there; no server has two parts of one."""
    random = Random(6)
    data = {f"/films/{number}": random.randbytes(SIZE_BYTES) for number in range(OBJECTS)}
    async with Cluster.open(tmp_path, before) as cluster:
        for key, content in data.items():
            assert await put(cluster, key, content) == (201, f"{before}/{before}")
        await cluster.start_node(before + 1)
        await cluster.all_up()
        with trio.fail_after(60):  # what was moved is taken away behind its last reader
            while not is_even(found := await lying(tmp_path, addresses(cluster)), part_counts):
                await trio.sleep(0.2)
                for key, content in data.items():
                    assert await get(cluster, key) == content
        for number, parts in found.items():
            print(f"server {number}: {len(parts)} parts, {sum(parts.values())} bytes")
        for parts in found.values():
            assert len({name.rpartition(".")[0] for name in parts}) == len(parts)
        # Here: of five servers' objects each has a part of parity by now (6 parts), and a GET goes
        # well with one server dead.
        for key, content in data.items():
            assert await get(cluster, key) == content
        assert await cluster.gateway.end() == 0


def addresses(cluster: Cluster) -> dict[int, str]:
    """Where nodes listen."""
    said = re.findall(rb"node (\d) at (\S+) is up", cluster.gateway.said)
    return {int(number): address.decode() for number, address in sorted(said)}


def is_even(found: dict[int, dict[str, int]], part_counts: tuple[int, ...]) -> bool:
    """All have as many parts, give or take one, and each part lies on one of them.

    Args:
        part_counts: of an object: with more servers it may get another one.
    """
    counts = [len(parts) for parts in found.values()]
    distinct = {name for parts in found.values() for name in parts}
    is_whole = len(distinct) == sum(counts) in [count * OBJECTS for count in part_counts]
    return is_whole and max(counts) - min(counts) <= 1
