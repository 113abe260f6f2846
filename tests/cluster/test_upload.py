"""What was acknowledged is there and right, and else what was there before, whatever nodes do."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from chunkstore.cluster.fleet import needed_count
from chunkstore.cluster.names import Part
from chunkstore.cluster.source import ClusterSource
from chunkstore.cluster.store import ClusterStore
from chunkstore.cluster.stripe import HEADER_BYTES, STRIPE_BYTES, K, Layout
from chunkstore.cluster.unit import Description, verify
from chunkstore.errors import DiskError, DiskFullError, QuorumError
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, put
from tests.cluster.nodes import Mishap
from tests.examples import examples

SIZES = [0, 1, 4, 5, 65_536, STRIPE_BYTES - 1, STRIPE_BYTES, STRIPE_BYTES + 1, 3_000_000]


def payload(size: int) -> bytes:
    """No two stripes of it are the same."""
    return random.Random(size).randbytes(size)


async def taken(source: ClusterSource, start: int, stop: int) -> bytes:
    """The bytes [start, stop), in whatever pieces they come."""
    found = b""
    while start + len(found) < stop:
        found += bytes(await source.range(start + len(found), stop - start - len(found)))
    return found


async def read(store: ClusterStore, key: str) -> bytes:
    """All that a name has, as a GET takes it."""
    stored = store.stored(key)
    assert stored is not None
    source = store.source(key, stored.generation)
    source.hold()
    found = await taken(source, 0, stored.size_bytes)
    source.let_go()
    assert stored.sha256 == hashlib.sha256(found).digest()
    return found


async def parts_of(gateway: Gateway, store: ClusterStore, key: str) -> list[bytes]:
    """Its parts, each whole where the manifest says that it is, and right."""
    manifest = store.manifest(key)
    assert manifest is not None
    layout, parts = Layout(manifest.size_bytes), []
    for index, node in enumerate(manifest.nodes):
        if node:
            part = await gateway.nodes.content(node, Part(manifest.generation, index))
            assert part is not None, f"node {node} has no part {index}"
            assert len(part) == manifest.part_bytes
            for stripe in range(layout.stripe_count):
                start, stop = layout.extent(range(stripe, stripe + 1))
                header, unit = part[start:][:HEADER_BYTES], part[start + HEADER_BYTES : stop]
                assert verify(header, unit, manifest.generation, index, stripe) == unit
            described = Description.parse(part)
            assert described is not None
            assert (described.key, described.part) == (key, index)
            parts.append(part)
    return parts


def test_five_equal_parts_whatever_the_size() -> None:
    async def main(count: int) -> None:
        async with Gateway.open(count) as gateway:
            async with gateway.life() as store:
                for size in SIZES:
                    await put(store, f"/{size}", payload(size))
                for size in SIZES:
                    assert len(await parts_of(gateway, store, f"/{size}")) == min(count, 7)
                    assert await read(store, f"/{size}") == payload(size)
            async with gateway.life() as store:
                for size in SIZES:
                    assert await read(store, f"/{size}") == payload(size)

    for count in (5, 6, 7, 9):
        trio.run(main, count, clock=MockClock(autojump_threshold=0))


async def test_what_is_written_is_read_while_the_rest_comes() -> None:
    data = payload(4 * STRIPE_BYTES + 77)
    async with Gateway.open(7) as gateway, gateway.life() as store:
        upload = store.begin("/a")
        upload.source.hold()
        seen = 0
        for start in range(0, len(data), 1 << 20):
            await upload.append([data[start : start + (1 << 20)]])
            await wait_all_tasks_blocked()
            assert upload.written_bytes == upload.handed_bytes // STRIPE_BYTES * STRIPE_BYTES
            assert (
                await taken(upload.source, seen, upload.written_bytes)
                == data[seen : upload.written_bytes]
            )
            seen = upload.written_bytes
        upload.commit(len(data), b"", lambda _: None)
        await wait_all_tasks_blocked()
        assert upload.source.is_committed
        assert upload.written_bytes == len(data)
        assert upload.receipt_fields == (("Chunkstore-Redundancy", "7/7"),)
        assert await taken(upload.source, seen, len(data)) == data[seen:]
        upload.source.let_go()


async def test_what_was_replaced_goes_when_nobody_reads_it() -> None:
    async with Gateway.open(7) as gateway, gateway.life() as store:
        await put(store, "/a", payload(1000))
        old = store.manifest("/a")
        assert old is not None
        source = store.source("/a", old.generation)
        source.hold()
        await put(store, "/a", payload(2000))
        await wait_all_tasks_blocked()
        assert await source.read() == payload(1000)
        source.let_go()
        await trio.sleep(1)
        for index, node in enumerate(old.nodes):
            assert await gateway.nodes.content(node, Part(old.generation, index)) is None
        assert gateway.meta.due(float("inf"), 10) == []
        assert await read(store, "/a") == payload(2000)


async def test_a_small_object_is_one_buffer_to_each_node() -> None:
    lengths: list[str | None] = []

    async def note(exchange: Exchange, handler: Handler) -> None:
        lengths.append(exchange.request.fields.get("content-length"))
        await handler(exchange)

    async with Gateway.open(7) as gateway, gateway.life() as store:
        gateway.nodes.mishaps = dict.fromkeys(range(1, 8), note)
        await put(store, "/a", payload(65_536))
        manifest = store.manifest("/a")
        assert manifest is not None
        assert lengths == [str(manifest.part_bytes)] * 7
        assert [method for _, method, _ in gateway.nodes.asked] == ["PUT"] * 7


# --- nodes that fail -----------------------------------------------------------------------------


class Fault(NamedTuple):
    """What befalls a node, so long after the upload began."""

    node: int
    kind: str
    at_s: float


FAULTS = st.builds(
    Fault,
    st.integers(1, 9),
    st.sampled_from(["down", "stopped", "cut", "full"]),
    st.sampled_from([0.0, 0.5, 1.5, 2.5]),
)


def mishap(kind: str, at_s: float) -> Mishap:
    """What a request to the node comes to."""

    async def answer(exchange: Exchange, handler: Handler) -> None:
        with trio.move_on_at(at_s):
            await handler(exchange)
            return
        if kind == "stopped":
            await trio.sleep_forever()
        if kind == "full" and not exchange.status:
            await exchange.refuse(507, "it is full")
            return
        raise trio.BrokenResourceError("as told")

    return answer


async def befall(gateway: Gateway, faults: list[Fault], count: int) -> set[int]:
    """Have it so from now on; the nodes that it befalls."""
    struck = set()
    for node, kind, at_s in faults:
        if node <= count:
            struck.add(node)
            gateway.nodes.mishaps[node] = mishap(kind, trio.current_time() + at_s)
            if kind == "down" and not at_s:
                gateway.nodes.down.add(node)
    return struck


@pytest.mark.parametrize("count", [5, 7, 9])
@pytest.mark.parametrize("size", [2000, 3 * STRIPE_BYTES + 5])
def test_whatever_befalls_nodes_in_a_put(count: int, size: int) -> None:
    async def main(faults: list[Fault]) -> None:
        async with Gateway.open(count) as gateway, gateway.life(stall_s=5.0) as store:
            await put(store, "/a", payload(1234))
            struck = await befall(gateway, faults, count)
            began_s = trio.current_time()
            error = await slowly_put(store, "/a", payload(size))
            assert trio.current_time() - began_s < 30.0
            m = min(count - K, 2)
            if error is None:
                manifest = store.manifest("/a")
                assert manifest is not None
                assert len(manifest.nodes) - manifest.nodes.count(0) >= needed_count(m)
            elif count - len(struck) >= needed_count(m):
                assert size > STRIPE_BYTES, "there were nodes enough to make it anew"
                assert len(struck) > m
            gateway.nodes.mishaps.clear()
            gateway.nodes.down.clear()
            parts = await parts_of(gateway, store, "/a")
            assert len(parts) >= needed_count(m)
            await trio.sleep(10)
            assert await read(store, "/a") == payload(size if error is None else 1234)

    @examples(12, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(FAULTS, max_size=3, unique_by=lambda one: one.node))
    def test(faults: list[Fault]) -> None:
        trio.run(partial(main, faults), clock=MockClock(autojump_threshold=0))

    test()


async def slowly_put(store: ClusterStore, key: str, data: bytes) -> DiskError | None:
    """A megabyte a second; what was told."""
    upload = store.begin(key)
    for start in range(0, len(data), 1 << 20):
        await upload.append([data[start : start + (1 << 20)]])
        await trio.sleep(1)
    done, told = trio.Event(), list[DiskError | None]()

    def on_done(error: DiskError | None) -> None:
        told.append(error)
        done.set()

    upload.commit(len(data), b"facts", on_done)
    with trio.fail_after(60):
        await done.wait()
    return told[0]


@pytest.mark.parametrize(
    ("kind", "struck", "error"),
    [("full", 2, DiskFullError), ("down", 2, QuorumError), ("full", 1, None), ("down", 1, None)],
)
async def test_too_few_nodes_say_what_is_lacking(
    kind: str, struck: int, error: type[DiskError] | None
) -> None:
    async with Gateway.open(7) as gateway, gateway.life(stall_s=5.0) as store:
        await befall(gateway, [Fault(node, kind, 0.0) for node in range(1, struck + 1)], 7)
        if error is None:
            await put(store, "/a", payload(1000))
            assert len(await parts_of(gateway, store, "/a")) == 6
        else:
            with pytest.raises(error):
                await put(store, "/a", payload(1000))
            assert store.stored("/a") is None


Step = Callable[[ClusterStore], Awaitable[None]]


@pytest.mark.parametrize("runs", [0, 1, 2, 4])
@pytest.mark.parametrize("ends", ["abandon", "stop"])
async def test_a_writer_that_is_gone_leaves_nothing(runs: int, ends: str) -> None:
    async with Gateway.open(7) as gateway:
        async with gateway.life() as store:
            await put(store, "/a", payload(1000))
            upload = store.begin("/a")
            for _ in range(runs):
                await upload.append([payload(1 << 20)])
                await wait_all_tasks_blocked()
            if ends == "abandon":
                upload.abandon()
                await trio.sleep(1)
                assert gateway.meta.opens() == []
        async with gateway.life() as store:
            await trio.sleep(1)
            assert gateway.meta.opens() == []
            assert await read(store, "/a") == payload(1000)
            manifest = store.manifest("/a")
            assert manifest is not None
            for number, site in gateway.nodes.sites.items():
                index = manifest.nodes.index(number)
                listed = list(site.origin.catalog.namespace._entries)
                assert listed == [f"/parts/{manifest.generation:016x}.{index}"]
