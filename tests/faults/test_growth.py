"""Real processes: servers have all there is, another joins and takes its share."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio

from tests.faults.cluster import Cluster
from tests.faults.test_cluster import get, put

pytestmark = pytest.mark.real

OBJECTS = 12
SIZE_BYTES = 200_000


@pytest.mark.parametrize(("before", "part_count"), [(5, 6), (7, 7)])
async def test_a_server_that_joins_takes_its_share(
    tmp_path: Path, before: int, part_count: int
) -> None:
    """Before and after every object is there; no server has two parts of one.

    What five servers have gets a part of parity with the sixth, so that any of them may be lost.
    """
    random = Random(6)
    data = {f"/films/{number}": random.randbytes(SIZE_BYTES) for number in range(OBJECTS)}
    async with Cluster.open(tmp_path, before) as cluster:
        for key, content in data.items():
            assert await put(cluster, key, content) == (201, f"{before}/{before}")
        await cluster.start_node(before + 1)
        await cluster.all_up()
        with trio.fail_after(60):  # what was moved is taken away behind its last reader
            while not is_even(found := await cluster.parts(), part_count):
                await trio.sleep(0.2)
                for key, content in data.items():
                    assert await get(cluster, key) == content
        for number, parts in found.items():
            print(f"server {number}: {len(parts)} parts, {sum(parts.values())} bytes")
        for parts in found.values():
            assert len({name.rpartition(".")[0] for name in parts}) == len(parts)
        await cluster.nodes[2].kill()
        for key, content in data.items():
            assert await get(cluster, key) == content
        assert await cluster.gateway.end() == 0


def is_even(found: dict[int, dict[str, int]], part_count: int) -> bool:
    """All have as many parts, but for what one move more would not mend; and no object lacks any.

    Of two servers that differ by two parts none gives one to the other where they would change
    places, by the bytes that they say they have.
    """
    counts = [len(parts) for parts in found.values()]
    distinct = {name for parts in found.values() for name in parts}
    is_whole = len(distinct) == sum(counts) == part_count * OBJECTS
    return is_whole and max(counts) - min(counts) <= 2
