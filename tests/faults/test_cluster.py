"""Real processes: five equal parts on five servers, and a gateway that is killed in mid-PUT."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import trio

from chunkstore.cluster.links import Links
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.errors import FetchError
from tests.faults.cluster import Cluster
from tests.faults.running import reading

KILLS = 6
"""Times that the gateway is killed; more of them are for a long run."""


async def put(cluster: Cluster, key: str, data: bytes) -> tuple[int, str]:
    """Status, and how many parts are kept."""

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65_536):
            yield data[start : start + 65_536]

    async with cluster.client() as client:
        answer = await client.request("PUT", key, body=body())
        await answer.body()
    return answer.status, answer.fields.get("chunkstore-redundancy", "")


async def get(cluster: Cluster, key: str) -> bytes | None:
    """What a name has."""
    async with cluster.client() as client:
        return await reading(client, key)


async def listed(folder: Path, node_count: int) -> dict[int, dict[str, int]]:
    """What each node has: its parts, and their sizes; asked as a gateway asks."""
    meta = SqliteMeta(folder / "gateway" / "meta.sqlite")
    addresses = {record.number: record.address for record in meta.nodes()}
    meta.close()
    return await lying(folder, {number: addresses[number] for number in range(1, node_count + 1)})


async def lying(folder: Path, addresses: dict[int, str]) -> dict[int, dict[str, int]]:
    """The same of nodes at these addresses."""
    secret = (folder / "secret").read_bytes().strip()
    found: dict[int, dict[str, int]] = {}
    async with Links(addresses.get, Signer(secret), wall_s=time.time) as links:
        for number in addresses:
            async with links.request(
                number, "LIST", "/parts/", generation=None, fields=[("Accept", "application/json")]
            ) as answer:
                assert answer.status == 200
                rows = json.loads(await answer.body())["objects"]
                found[number] = {row["path"]: row["size"] for row in rows}
    return found


@pytest.mark.trio
async def test_a_file_in_five_equal_parts_on_five_servers_and_out(tmp_path: Path) -> None:
    data = Random(1).randbytes(3_000_001)
    async with Cluster.open(tmp_path, 5) as cluster:
        assert await put(cluster, "/films/one.mp4", data) == (201, "5/5")
        assert await get(cluster, "/films/one.mp4") == data
        async with cluster.client() as client:
            head = await client.request("HEAD", "/films/one.mp4")
        digest = b64encode(hashlib.sha256(data).digest()).decode()
        assert head.fields["repr-digest"] == f"sha-256=:{digest}:"
        assert await cluster.gateway.end() == 0
        parts = await listed(tmp_path, 5)
        for number, names in parts.items():
            print(f"server {number}: {names}")
        assert [len(names) for names in parts.values()] == [1] * 5
        sizes = {size for names in parts.values() for size in names.values()}
        assert len(sizes) == 1
        assert 0 < 5 * sizes.pop() - len(data) < 5 * 1000
        indices = sorted(name[-1] for names in parts.values() for name in names)
        assert indices == ["0", "1", "2", "3", "4"]
        await cluster.start_gateway()
        await cluster.all_up()
        assert await get(cluster, "/films/one.mp4") == data
        await cluster.nodes[3].kill()
        status, _ = await put(cluster, "/films/two.mp4", data)
        assert status == 503
        assert await get(cluster, "/films/two.mp4") is None


@pytest.mark.trio
async def test_a_gateway_killed_in_mid_put_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    random = Random(2)
    async with Cluster.open(tmp_path, 7) as cluster:
        old = random.randbytes(2_000_000)
        assert (await put(cluster, "/a", old))[0] == 201
        for _ in range(KILLS):
            new = random.randbytes(4_000_000)
            told: list[int] = []

            async def upload(data: bytes = new, told: list[int] = told) -> None:
                with suppress(FetchError):
                    told.append((await put(cluster, "/a", data))[0])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(upload)
                await trio.sleep(random.uniform(0.0, 0.15))
                await cluster.gateway.kill()
            await cluster.start_gateway()
            await cluster.all_up()
            found = await get(cluster, "/a")
            assert found in ([new] if told in ([200], [201]) else [old, new])
            old = found
        with trio.fail_after(60):
            while True:
                await trio.sleep(1)
                assert await cluster.gateway.end() == 0
                if all(len(names) == 1 for names in (await listed(tmp_path, 7)).values()):
                    break
                await cluster.start_gateway()
                await cluster.all_up()
        assert isinstance(old, bytes)


@pytest.mark.trio
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
