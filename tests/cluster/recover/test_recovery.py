"""Metadata made from nodes in memory: what was there is there again, with a copy or without."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
import trio

from chunkstore.cluster.links import Links
from chunkstore.cluster.meta import NOWHERE, Manifest, NodeRecord
from chunkstore.cluster.names import Part, parse_part, part_path
from chunkstore.cluster.recover import recovery
from chunkstore.cluster.recover.build import Report
from chunkstore.cluster.recover.recovery import Recovery
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.cluster.unit import Description
from chunkstore.errors import ChunkstoreError, FetchError
from tests.cluster.gateway import Gateway, inline, put
from tests.cluster.nodes import SIGNER
from tests.origin.drive import WALL_S

CLUSTER = "c" * 32


async def recovered(
    gateway: Gateway, folder: Path, here: Sequence[int], *, drops_incomplete: bool = False
) -> tuple[Report, dict[str, Manifest]]:
    """Recover with some of the nodes; what was found, and the manifests by name."""
    # They come in another order than they registered in.
    came = [
        NodeRecord(i, f"{n:032x}", f"node{n}.test:80", 9, "i" * 16, 1.0)
        for i, n in enumerate(reversed(here), 1)
    ]

    def links_to(address: object) -> Links:
        links = gateway.nodes.links()
        links._addresses = address  # type: ignore[assignment]
        return links

    make(folder)
    said: list[str] = []
    job = Recovery(folder, gateway.meta.cluster_id, came, links_to, said.append, inline)
    report = await job.run(drops_incomplete=drops_incomplete)
    with closing(SqliteMeta(folder / "new" / "meta.sqlite")) as meta:
        assert meta.cluster_id == gateway.meta.cluster_id
        ids = {one.number: int(one.id, 16) for one in meta.nodes()}
        return report, {
            one.key: one._replace(nodes=tuple(ids.get(n, NOWHERE) for n in one.nodes))
            for one in meta.page(0, 10_000)
        }


def make(folder: Path) -> None:
    """Have it be there."""
    folder.mkdir(exist_ok=True)


async def fill(gateway: Gateway, count: int = 3) -> dict[str, Manifest]:
    """Objects, one of them replaced and one deleted; their manifests."""
    async with gateway.life() as store:
        for i in range(count):
            await put(store, f"/{i}", random.Random(i).randbytes(10 ** (2 + i % 5)))
        await put(store, "/0", b"newer")
        await put(store, "/gone", b"deleted")
        store.delete("/gone", lambda _: None)
        await trio.sleep(5.0)  # and it is collected
    return {one.key: one for one in [store.manifest(f"/{i}") for i in range(count)] if one}


@pytest.mark.parametrize("count", [5, 6, 7])
async def test_all_that_was_is_there_again(tmp_path: Path, count: int) -> None:
    async with Gateway.open(count) as gateway:
        before = await fill(gateway)
        report, after = await recovered(gateway, tmp_path, range(1, count + 1))
    assert after == before
    assert (report.object_count, report.described_count) == (3, 3)
    assert not report.incomplete


async def test_what_two_nodes_had_is_nowhere(tmp_path: Path) -> None:
    async with Gateway.open(7) as gateway:
        before = await fill(gateway)
        _, after = await recovered(gateway, tmp_path, range(1, 6))
    for key, one in before.items():
        nodes = tuple(node if node < 6 else NOWHERE for node in one.nodes)
        assert after[key] == one._replace(nodes=nodes)


async def test_too_few_nodes_are_refused_and_nothing_is_dropped_unasked(tmp_path: Path) -> None:
    async with Gateway.open(7) as gateway:
        before = await fill(gateway)
        with pytest.raises(ChunkstoreError, match=r"too few parts .* /0 \(generation \d+\)"):
            await recovered(gateway, tmp_path / "one", range(1, 5))
        report, after = await recovered(
            gateway, tmp_path / "two", range(1, 5), drops_incomplete=True
        )
    assert after == {}
    assert {one.key for one in report.incomplete} == set(before)


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_description_that_is_damaged_or_long_is_had_all_the_same(
    tmp_path: Path, is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "TAIL_BYTES", 32)
    async with Gateway.open(7) as gateway:
        before = await fill(gateway)
        for one in before.values():
            part = Part(one.generation, 0)
            data = await gateway.nodes.content(one.nodes[0], part)
            assert data is not None
            worse = data if is_whole else data[:-1] + b"?"
            async with gateway.nodes.links() as links:
                await write(links, one.nodes[0], part, worse)
        _, after = await recovered(gateway, tmp_path, range(1, 8))
    assert after == before


async def test_a_node_that_is_lost_on_the_way_ends_it(tmp_path: Path) -> None:
    async with Gateway.open(7) as gateway:
        await fill(gateway)
        gateway.nodes.down.add(3)
        with pytest.raises(FetchError, match=r"node3\.test"):
            await recovered(gateway, tmp_path, range(1, 8))


async def write(links: Links, node: int, part: Part, data: bytes) -> None:
    """Have a node have this."""

    async def body() -> object:
        yield data

    async with links.request(
        node,
        "PUT",
        part_path(part),
        generation=part.generation,
        body=body(),  # type: ignore[arg-type]
        length=len(data),
    ) as answer:
        await answer.body()
        assert answer.status in (200, 201)


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 0},
        {"k": 255},
        {"m": 255},
        {"m": 0},
        {"part": 7},
        {"size_bytes": 2**64 - 1},
        {"size_bytes": 5},
        {"generation": 2**63},
        {"generation": 2**64 - 1},
        {"generation": 2**63 - 2},
        {"key": "no name at all"},
        {"key": ""},
        {"key": "/\udcff"},
        {"facts": b""},
    ],
    ids=str,
)
async def test_what_a_part_says_of_itself_may_be_anything(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    told = Description("/x", 900, 5, 2, 3, 0, bytes(32), b"facts")._replace(**changes)
    async with Gateway.open(8) as gateway:
        manifests = await fill(gateway)
        path = part_path(Part(told.generation, told.part))
        data = encoded(told)
        is_part = parse_part(path) is not None
        generation = told.generation if is_part else None
        name, value = SIGNER.field(
            "PUT", path, now_s=WALL_S + trio.current_time(), length=len(data), generation=generation
        )
        answer = await gateway.nodes.sites[4].put(path, data, f"{name}: {value}")
        assert answer.status == 201
        report, found = await recovered(gateway, tmp_path, range(1, 9), drops_incomplete=True)
        assert found == manifests
        assert report.object_count == len(manifests)


def encoded(told: Description) -> bytes:
    """As `Description.encode`, also with a key that is none."""
    if not told.key.isascii():
        plain = told._replace(key="/" * len(told.key.encode("utf-8", "surrogateescape"))).encode()
        body = plain.replace(b"/" * 2, b"/\xff", 1)[:-8]
        return body + struct.pack("<I", google_crc32c.value(body)) + plain[-4:]
    return told.encode()
