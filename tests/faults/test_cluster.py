"""Real processes: five equal parts on five servers, and a gateway that is killed in mid-PUT."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import trio

from chunkstore.cluster.names import parse_part
from chunkstore.errors import FetchError
from tests.faults.cluster import Cluster
from tests.faults.running import reading
from tests.faults.traffic import sha256_field

pytestmark = pytest.mark.real

KILLS = int(os.environ.get("KILLS", "6"))
"""Times that the gateway is killed; more of them are for a long run."""
COLLECTED_S = 60.0
"""What a killed gateway left behind is gone so soon after the start of the next."""


async def put(cluster: Cluster, key: str, data: bytes) -> tuple[int, str]:
    """Status, and how many parts are kept; or why none are."""

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65_536):
            yield data[start : start + 65_536]

    async with cluster.client() as client:
        answer = await client.request("PUT", key, body=body())
        said = await answer.body()
    return answer.status, answer.fields.get("chunkstore-redundancy", said.decode())


async def get(cluster: Cluster, key: str) -> bytes | None:
    """What a name has."""
    async with cluster.client() as client:
        return await reading(client, key)


async def test_a_file_in_five_equal_parts_on_five_servers_and_out(tmp_path: Path) -> None:
    data = Random(1).randbytes(3_000_001)
    async with Cluster.open(tmp_path, 5) as cluster:
        assert await put(cluster, "/films/one.mp4", data) == (201, "5/5")
        assert await get(cluster, "/films/one.mp4") == data
        async with cluster.client() as client:
            head = await client.request("HEAD", "/films/one.mp4")
        assert head.fields["repr-digest"] == sha256_field(data)
        parts = await cluster.parts()
        for number, names in parts.items():
            print(f"server {number}: {names}")
        assert [len(names) for names in parts.values()] == [1] * 5
        sizes = {size for names in parts.values() for size in names.values()}
        assert len(sizes) == 1
        assert 0 < 5 * sizes.pop() - len(data) < 5 * 1000
        indices = sorted(name[-1] for names in parts.values() for name in names)
        assert indices == ["0", "1", "2", "3", "4"]
        assert await cluster.gateway.end() == 0
        await cluster.start_gateway()
        await cluster.all_up()
        assert await get(cluster, "/films/one.mp4") == data
        await cluster.nodes[3].kill()
        for size in (100, len(data)):
            status, said = await put(cluster, "/films/two.mp4", data[:size])
            assert status == 503
            assert "takes 5 storage nodes, and 4 are up: 1 of them is missing" in said
        for number in (1, 2):  # these say that they end
            assert await cluster.nodes[number].end() == 0
        status, said = await put(cluster, "/films/two.mp4", data)
        assert status == 503
        assert re.search("[23] are up: [23] of them are missing", said)
        assert await get(cluster, "/films/two.mp4") is None


async def test_a_gateway_killed_in_mid_put_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    random = Random(2)
    async with Cluster.open(tmp_path, 7) as cluster:
        old = random.randbytes(2_000_000)
        assert (await put(cluster, "/a", old))[0] == 201
        kills = new_count = with_orphans = 0
        while kills < KILLS:
            new = random.randbytes(4_000_000)
            # Half of them while it comes, half while it is being made durable.
            share = random.choice([random.random(), 1.0])
            told = await put_and_kill(cluster, new, share, random.uniform(0.0, 0.06))
            kills += not told  # else it was late
            with_orphans += len(await generations(cluster)) > 1
            await cluster.start_gateway()
            await cluster.all_up()
            found = await get(cluster, "/a")
            assert found in ([new] if told else [old, new])
            new_count += not told and found == new
            old = found
        with trio.fail_after(COLLECTED_S):
            began_s = trio.current_time()
            while len(left := await generations(cluster)) > 1:  # noqa: ASYNC110 - others' doing
                await trio.sleep(0.2)
        gone_s = trio.current_time() - began_s
        print(f"{kills} killed in mid-PUT: {new_count} times the new version, else the old;")
        print(f"{with_orphans} left parts that nobody needs; {left} are left after {gone_s:.1f} s")
        assert await get(cluster, "/a") == old


async def put_and_kill(cluster: Cluster, data: bytes, share: float, later_s: float) -> bool:
    """Kill the gateway once it was sent this share of a PUT; whether that was acknowledged."""
    is_due = trio.Event()
    told: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65_536):
            if start + 65_536 >= share * len(data):
                is_due.set()
            yield data[start : start + 65_536]

    async def upload() -> None:
        with suppress(FetchError):
            async with cluster.client() as client:
                told.append((await client.request("PUT", "/a", body=body())).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload)
        await is_due.wait()
        await trio.sleep(later_s if share == 1.0 else later_s / 10)
        await cluster.gateway.kill()
    assert told in ([], [200])
    return bool(told)


async def generations(cluster: Cluster) -> dict[int, int]:
    """What objects nodes have parts of, and how many."""
    parts = [parse_part(path) for names in (await cluster.parts()).values() for path in names]
    return dict(Counter(part.generation for part in parts if part))


@pytest.mark.parametrize(("count", "kept"), [(7, "6/7"), (8, "7/7")])
@pytest.mark.parametrize("size", [50_000, 60_000_000])
async def test_a_node_that_stops_in_a_put_is_done_without(
    tmp_path: Path, count: int, kept: str, size: int
) -> None:
    data = Random(3).randbytes(size)
    async with Cluster.open(tmp_path, count) as cluster:
        cluster.nodes[4].stop()
        for number in range(2):
            with trio.fail_after(20):
                status, told = await put(cluster, f"/{number}", data)
            assert (status, told) == (201, kept)
            assert await get(cluster, f"/{number}") == data
