"""Bits are flipped on the nodes' disks, and each of them is found and repaired.

FLIPS says how many, each in another object. Whose part a bit belongs to is read from the volumes: a
part's record says so of itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
import trio

from chunkstore.cluster.stripe import HEADER_BYTES
from tests.faults.cluster import Cluster
from tests.faults.test_cluster import get, put

pytestmark = pytest.mark.real

FLIPS = int(os.environ.get("FLIPS", "20"))
NODES = 7
FIND_S = 120.0
_HEADER = re.compile(rb"CSu1([\x00-\x06])\x00\x00\x00(.{8})\x00\x00\x00\x00(.{4})", re.DOTALL)
_END = b"CSd1"


class Lying(NamedTuple):
    """A part of one record, as it lies on a disk."""

    generation: int
    path: Path
    start: int
    stop: int


def lying(folder: Path) -> Iterator[Lying]:
    """All of them."""
    for path in sorted(folder.glob("node-*/**/*.vol")):
        data = path.read_bytes()
        for found in _HEADER.finditer(data):
            behind = found.start() + HEADER_BYTES + int.from_bytes(found[3], "little")
            stop = data.index(_END, behind) + len(_END)
            yield Lying(int.from_bytes(found[2], "little"), path, found.start(), stop)


def flip(part: Lying, chance: Random) -> None:
    """One bit of it: of its record's header, its unit, or its description."""
    with part.path.open("r+b", buffering=0) as file:
        file.seek(position := chance.randrange(part.start, part.stop))
        byte = file.read(1)[0] ^ 1 << chance.randrange(8)
        file.seek(position)
        file.write(bytes([byte]))


async def test_each_flipped_bit_is_found_and_repaired(tmp_path: Path) -> None:
    chance = Random(5)
    contents = {f"/{n}": chance.randbytes(chance.randrange(1, 200_000)) for n in range(FLIPS)}
    whole = re.compile(b"%d parts of %d objects .*: 0 of them" % (NODES * FLIPS, FLIPS))
    async with Cluster.open(tmp_path, NODES, "--scrub-parts", "1s") as cluster:
        for key, data in contents.items():
            assert await put(cluster, key, data) == (201, "7/7")
        await cluster.gateway.until(whole.pattern)
        async with trio.open_nursery() as nursery:
            for node in cluster.nodes.values():  # they would read what they have in memory
                nursery.start_soon(node.end)
        parts: dict[int, list[Lying]] = {}
        for part in lying(tmp_path):
            parts.setdefault(part.generation, []).append(part)
        assert [len(found) for found in parts.values()] == [NODES] * FLIPS
        for found in parts.values():
            flip(chance.choice(found), chance)
        for number in list(cluster.nodes):
            await cluster.start_node(number)
        with trio.fail_after(FIND_S):
            await cluster.gateway.until(b" %d damaged ones were met" % FLIPS)
        found_at = len(cluster.gateway.said)
        with trio.fail_after(FIND_S):  # a round that reads all, and meets no damage
            while not whole.search(cluster.gateway.said, found_at):  # noqa: ASYNC110 - real processes
                await trio.sleep(0.2)
        assert all([await get(cluster, key) == data for key, data in contents.items()])
        met = re.findall(rb"(\d+) damaged ones were met", cluster.gateway.said)
        assert max(map(int, met)) == FLIPS, "what was right is taken for damaged"
        print(f"{FLIPS} flipped bits, all of them found and repaired")
