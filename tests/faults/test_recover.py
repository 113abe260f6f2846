"""Real processes: the gateway's folder is gone, and what was in it comes back from the nodes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import trio

from chunkstore.client import Client
from chunkstore.cluster.links import Links
from chunkstore.cluster.listing import list_page
from chunkstore.cluster.names import BACKUPS
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.sqlite import SqliteMeta
from tests.faults.cluster import ROOT, START_S, Cluster

pytestmark = pytest.mark.real

SIZES = [0, 1, 70_000, 1_400_000, 3_000_000]
FIELDS = ("content-type", "etag", "repr-digest", "content-length", "last-modified")

Told = tuple[int, bytes, dict[str, str]]


async def put(client: Client, key: str, data: bytes) -> None:
    """Have a name have this, with a type that nobody would guess."""

    async def body() -> AsyncIterator[bytes]:
        yield data

    answer = await client.request(
        "PUT", key, [("Content-Type", f"x/y{len(data)}")], body=body(), length=len(data)
    )
    await answer.body()
    assert answer.status in (200, 201)
    assert answer.fields["chunkstore-redundancy"] == "7/7"


async def get(client: Client, key: str) -> Told:
    """All that a client sees of a name."""
    answer = await client.request("GET", key)
    body = await answer.body()
    return answer.status, body, {name: answer.fields.get(name, "") for name in FIELDS}


async def until_copied(cluster: Cluster, folder: Path) -> None:
    """Wait for three copies of the metadata."""
    meta = SqliteMeta(folder / "listed.sqlite")  # any: it is about the secret alone
    meta.close()
    secret = (folder / "secret").read_bytes().strip()
    addresses: dict[int, str] = {}
    for number, node in cluster.nodes.items():
        [url] = await node.until(rb"listening on http://(\S+)")
        addresses[number] = url.decode()
    async with Links(addresses.get, Signer(secret), wall_s=time.time) as links:
        with trio.fail_after(START_S):
            while True:
                pages = [await list_page(links, number, BACKUPS) for number in addresses]
                if sum(len(page.rows) for page in pages) == 3:
                    assert max(len(page.rows) for page in pages) == 1
                    return
                await trio.sleep(0.2)


async def recover(cluster: Cluster, folder: Path, data: Path, *flags: str) -> tuple[int, str]:
    """Run the command; its exit code and all it says."""
    words = ["cluster", "recover", "--data", str(data), "--secret-file", str(folder / "secret")]
    words += ["--cluster-listen", cluster.nodes_at, *flags]
    with trio.fail_after(START_S):
        done = await trio.run_process(
            [sys.executable, "-m", "chunkstore", *words],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=ROOT,
        )
    print(done.stdout.decode())
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize("is_copied", [False, True])
async def test_metadata_that_was_deleted_comes_back(tmp_path: Path, is_copied: bool) -> None:
    random = Random(5)
    async with Cluster.open(tmp_path, 7) as cluster:
        keys = [f"/films/é {size}.mp4" for size in SIZES]
        async with cluster.client() as client:
            for key, size in zip(keys, SIZES, strict=True):
                await put(client, key.replace("é ", "%C3%A9%20"), random.randbytes(size))
            keys = [key.replace("é ", "%C3%A9%20") for key in keys]
            await put(client, keys[1], random.randbytes(90_000))
            await put(client, "/gone", b"deleted")
            assert (await client.request("DELETE", "/gone")).status == 200
        if is_copied:
            await until_copied(cluster, tmp_path)
        async with cluster.client() as client:
            await put(client, "/later", random.randbytes(200_000))
            await put(client, keys[2], random.randbytes(10))
            there = [*keys, "/later", *(["/gone"] if is_copied else [])]  # else it may be back
            told = {key: await get(client, key) for key in there}
        await cluster.gateway.kill()
        shutil.rmtree(tmp_path / "gateway")
        await cluster.nodes[4].kill()

        code, said = await recover(cluster, tmp_path, tmp_path / "gateway", "--nodes", "6")
        assert code == 0, said
        objects = re.search(r"^objects: (\d+), 0 of them", said, re.MULTILINE)
        assert objects
        assert int(objects[1]) == len(keys) + 1
        read = re.search(r"^read from parts: (\d+)", said, re.MULTILINE)
        assert read
        assert (int(read[1]) < len(keys)) == is_copied
        code, again = await recover(cluster, tmp_path, tmp_path / "gateway", "--nodes", "6")
        assert code == 2
        assert "expected a new or an empty folder" in again
        assert "Traceback" not in again

        await cluster.start_gateway()
        await cluster.gateway.until(rb"node (\d+) at \S+ is up", 6)
        async with cluster.client() as client:
            for key, before in told.items():
                assert await get(client, key) == before
        await cluster.start_node(4)
        await cluster.all_up()
        async with cluster.client() as client:
            for key in (keys[0], "/new"):
                data = random.randbytes(1_500_000)
                await put(client, key, data)
                assert (await get(client, key))[1] == data
            for key in (*keys[1:], "/later"):
                assert await get(client, key) == told[key]
