"""Nodes that die, stop, stutter, fill up and rot under a load: no acknowledged object is lost."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from random import Random

import pytest
import trio

from chunkstore.cluster.names import parse_part
from tests.faults.cluster import Cluster, Process
from tests.faults.test_cluster import get, put
from tests.faults.traffic import Traffic

pytestmark = pytest.mark.real

OBJECTS = int(os.environ.get("OBJECTS", "120"))
"""PUTs that are acknowledged; more of them are for a long run."""
DEADLINE_S = 120.0 + OBJECTS
STUTTER_S = 0.3


def refuses(port: int) -> bool:
    """Nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_two_of_eight_are_killed_under_load(tmp_path: Path) -> None:
    async with Cluster.open(tmp_path, 8) as cluster:
        traffic = Traffic(cluster, 1)
        ports = {number: await cluster.nodes[number].port() for number in (3, 6)}
        assert not any(map(refuses, ports.values()))
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(traffic.write, OBJECTS)
                for share, number in ((3, 3), (2, 6)):
                    await traffic.until(OBJECTS // share)
                    await cluster.nodes[number].kill()
                    assert refuses(ports[number])
            await traffic.read_all()
        assert traffic.counts["refused"] <= OBJECTS // 20
        print(f"{traffic.acknowledged} acknowledged, 0 lost; {dict(traffic.counts)}")


async def stutter(node: Process) -> None:
    """Stop and go on, again and again."""
    try:
        while True:
            node.stop()
            await trio.sleep(STUTTER_S)
            node.go_on()
            await trio.sleep(STUTTER_S / 3)
    finally:
        node.go_on()


def rot(folder: Path, random: Random, count: int) -> None:
    """Flip bytes of what a node has."""
    for path in sorted((folder / "volumes").iterdir()):
        with path.open("r+b") as file:
            size = path.stat().st_size
            for _ in range(count if size else 0):
                at = random.randrange(size)
                file.seek(at)
                [byte] = file.read(1) or b"\0"
                file.seek(at)
                file.write(bytes([byte ^ 0x40]))


async def test_whatever_is_wrong_with_two_of_seven_all_is_read(tmp_path: Path) -> None:
    async with Cluster.open(tmp_path, 7) as cluster:
        traffic = Traffic(cluster, 2)
        nodes = cluster.nodes
        with trio.fail_after(DEADLINE_S):
            await traffic.write(OBJECTS // 3)
            nodes[2].stop()
            await traffic.read_all()
            nodes[5].stop()
            await traffic.read_all()
            nodes[2].go_on()
            nodes[5].go_on()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stutter, nodes[4])
                await traffic.write(OBJECTS // 6)
                await traffic.read_all()
                nursery.cancel_scope.cancel()
            rot(tmp_path / "node-1", Random(3), 200)
            await traffic.read_all()
            await lose_parts(cluster, 7)
            await traffic.read_all()
        print(dict(traffic.counts))


async def lose_parts(cluster: Cluster, number: int) -> None:
    """Take all parts of a node away behind the gateway's back."""
    paths = (await cluster.parts())[number]
    assert paths
    async with cluster.links() as links:
        for path in paths:
            part = parse_part(path)
            assert part is not None
            generation = part.generation
            async with links.request(number, "DELETE", path, generation=generation) as answer:
                assert answer.status == 200
                await answer.body()


async def test_a_full_node_is_an_error_once_too_few_are_left(tmp_path: Path) -> None:
    data = Random(4).randbytes(3_000_000)
    for name, reserve_bytes in {"small": 60 << 20, "reserved": 1 << 50}.items():
        (tmp_path / name).write_text(f"disk_reserve = {reserve_bytes}\n", encoding="utf-8")
    async with Cluster.open(tmp_path, 5) as cluster:
        await cluster.start_node(6, "--disk", "64MiB", "--config", str(tmp_path / "small"))
        await cluster.all_up()
        stored: list[str] = []
        with trio.fail_after(DEADLINE_S):
            while (answer := await put(cluster, f"/{len(stored)}", data))[0] == 201:
                assert answer[1] == "6/6"  # it takes six
                stored.append(f"/{len(stored)}")
            assert answer[0] == 507
            assert "node 6 is full" in answer[1]
            assert 3 <= len(stored) <= 10
            await cluster.start_node(7, "--config", str(tmp_path / "reserved"))  # the whole disk
            await cluster.all_up()
            answer = await put(cluster, "/more", data)
            assert answer[0] == 507
            assert re.search("node 6 is full|nodes 6 and 7 are full", answer[1])
            await cluster.start_node(8)
            await cluster.all_up()
            assert await put(cluster, "/more", data) == (201, "6/7")
            for key in [*stored, "/more"]:
                assert await get(cluster, key) == data
