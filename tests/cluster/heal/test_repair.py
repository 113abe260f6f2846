"""Objects are as redundant as the cluster affords, sooner or later, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.cluster.heal.planner import PAUSE_FACTOR
from chunkstore.cluster.heal.repair import Repair
from chunkstore.cluster.heal.retries import LONGEST_S
from chunkstore.cluster.membership import GONE_S
from chunkstore.cluster.names import Part
from chunkstore.cluster.store import ClusterStore
from chunkstore.cluster.stripe import STRIPE_BYTES
from chunkstore.errors import DiskError
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, put
from tests.cluster.nodes import Mishap
from tests.cluster.test_upload import parts_of, payload, read
from tests.examples import examples

HEAL_S = 60.0
SIZES = [0, 1, 65_536, STRIPE_BYTES, 2 * STRIPE_BYTES + 7]


class Shift(Repair):
    """A repair, and what it said.

    Attributes:
        lines: that.
    """

    def __init__(self, gateway: Gateway, store: ClusterStore, rate_bytes: int | None) -> None:
        self.lines: list[str] = []
        super().__init__(
            store,
            gateway.membership,
            self.lines.append,
            heal_after_s=HEAL_S,
            rate_bytes=rate_bytes,
            draw=Random(0).random,
        )

    async def settle(self, after_s: float = 0.0) -> None:
        """Wait until it has nothing to do."""
        await trio.sleep(after_s + 2)
        with trio.fail_after(2_000):
            while not self.is_settled:  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(1)


@asynccontextmanager
async def working(
    count: int, rate_bytes: int | None = None, **timeouts: float
) -> AsyncIterator[tuple[Gateway, ClusterStore, Shift]]:
    """A gateway over so many nodes, whose repair works."""
    async with Gateway.open(count) as gateway, gateway.life(**timeouts) as store:
        async with trio.open_nursery() as nursery:
            repair = Shift(gateway, store, rate_bytes)
            nursery.start_soon(repair.run)
            yield gateway, store, repair
            nursery.cancel_scope.cancel()


async def contents(gateway: Gateway, store: ClusterStore, key: str) -> dict[int, bytes | None]:
    """Each part as it lies where the manifest says."""
    manifest = store.manifest(key)
    assert manifest is not None
    return {
        index: await gateway.nodes.content(node, Part(manifest.generation, index))
        for index, node in enumerate(manifest.nodes)
        if node and node not in gateway.nodes.down
    }


def refusing(method: str, status: int) -> Mishap:
    """A node that refuses what is asked so."""

    async def refuse(exchange: Exchange, handler: Handler) -> None:
        if exchange.request.method == method:
            await exchange.refuse(status, "as told")
        else:
            await handler(exchange)

    return refuse


@pytest.mark.parametrize("dead", [[1], [2, 5]])
async def test_what_dead_nodes_had_is_made_elsewhere(
    autojump_clock: MockClock, dead: list[int]
) -> None:
    async with working(9) as (gateway, store, repair):
        for size in SIZES:
            await put(store, f"/{size}", payload(size))
        before = {size: await contents(gateway, store, f"/{size}") for size in SIZES}
        for number in dead:
            gateway.lose(number)
        await trio.sleep(HEAL_S - 5)
        assert any(dead[0] in store.manifest(f"/{size}").nodes for size in SIZES)  # type: ignore[union-attr]
        await repair.settle(10)
        for size in SIZES:
            manifest = store.manifest(f"/{size}")
            assert manifest is not None
            assert not {0, *dead}.intersection(manifest.nodes)
            assert len(set(manifest.nodes)) == 7
            assert await contents(gateway, store, f"/{size}") == before[size]
        assert gateway.strays(store, [f"/{size}" for size in SIZES]) == set()
        assert [line.split(":")[0] for line in repair.lines] == ["repair begins", "repair ends"]
        for number in {1, 2, 3, 4, 6} - set(dead):
            gateway.nodes.down.add(number)
            if len(gateway.nodes.down) == len(dead) + 2:
                break
        for size in SIZES:
            assert await read(store, f"/{size}") == payload(size)


async def test_parity_is_added_when_nodes_join(autojump_clock: MockClock) -> None:
    async with working(5) as (gateway, store, repair):
        for size in SIZES:
            await put(store, f"/{size}", payload(size))
        for count in (6, 7):
            assert await gateway.join() == count
            await repair.settle()
            for size in SIZES:
                assert len(await parts_of(gateway, store, f"/{size}")) == count
        gateway.nodes.down = {1, 2}
        for size in SIZES:
            assert await read(store, f"/{size}") == payload(size)


@pytest.mark.parametrize("harm", ["spoilt", 404, 500])
async def test_damage_that_a_reader_met_is_mended(
    autojump_clock: MockClock, harm: str | int
) -> None:
    data = payload(2 * STRIPE_BYTES)
    async with working(7) as (gateway, store, repair):
        await put(store, "/a", data)
        before = await contents(gateway, store, "/a")
        manifest = store.manifest("/a")
        assert manifest is not None
        node, part = manifest.nodes[3], Part(manifest.generation, 3)
        if isinstance(harm, int):
            gateway.nodes.mishaps[node] = until_written(harm)
        else:
            await gateway.nodes.spoil(node, part)
        assert await read(store, "/a") == data
        assert store.damage.of(manifest.generation, manifest.nodes) == (3,)
        await repair.settle()
        assert store.damage.part_count == 0
        assert store.manifest("/a") == manifest
        assert await contents(gateway, store, "/a") == before


def until_written(status: int) -> Mishap:
    """A node that can't give what it has until that is written again."""
    is_written = False

    async def answer(exchange: Exchange, handler: Handler) -> None:
        nonlocal is_written
        is_written |= exchange.request.method == "PUT"
        await (handler(exchange) if is_written else exchange.refuse(status, "as told"))

    return answer


@pytest.mark.parametrize("status", [410, 507, 500, 503])
async def test_a_node_that_takes_nothing_is_not_waited_for(
    autojump_clock: MockClock, status: int
) -> None:
    """A part to be mended there goes elsewhere; one to be put there, too."""
    async with working(9) as (gateway, store, repair):
        await put(store, "/a", payload(1000))
        manifest = store.manifest("/a")
        assert manifest is not None
        spare = set(range(1, 10)) - set(manifest.nodes)
        gateway.nodes.mishaps[manifest.nodes[2]] = refusing("PUT", status)
        gateway.nodes.mishaps[min(spare)] = refusing("PUT", status)
        store.damage.note(manifest.generation, 2, manifest.nodes[2])
        await repair.settle()
        now = store.manifest("/a")
        assert now == manifest.moved(2, max(spare))
        assert len(await parts_of(gateway, store, "/a")) == 7


async def test_it_is_tried_again_until_it_can_be(autojump_clock: MockClock) -> None:
    async with working(7) as (gateway, store, repair):
        await put(store, "/a", payload(1000))
        manifest = store.manifest("/a")
        assert manifest is not None
        gateway.nodes.mishaps[manifest.nodes[2]] = refusing("PUT", 507)
        store.damage.note(manifest.generation, 2, manifest.nodes[2])
        settled = []
        for seconds in (10, 2_990):  # nothing else waits for it then: perhaps a move makes room
            await trio.sleep(seconds)
            settled.append(repair.is_settled)
        assert settled == [False, True]
        assert repair.progress.left_out_count == 1
        tried = [one for one in gateway.nodes.asked if one[1] == "PUT"]
        assert 10 < len(tried) < 40
        gateway.nodes.mishaps.clear()
        await trio.sleep(LONGEST_S + 1)
        assert store.damage.part_count == 0
        assert repair.progress.left_out_count == 0


async def test_with_as_many_nodes_as_parts_it_waits_for_the_node(autojump_clock: MockClock) -> None:
    async with working(7) as (gateway, store, repair):
        await put(store, "/a", payload(1000))
        manifest = store.manifest("/a")
        gateway.lose(3)
        await repair.settle(2 * HEAL_S)
        assert store.manifest("/a") == manifest
        await put(store, "/b", payload(1000))
        gateway.find(3)
        await repair.settle()
        assert len(await parts_of(gateway, store, "/a")) == 7
        assert len(await parts_of(gateway, store, "/b")) == 7


async def test_it_waits_when_too_many_vanish_together(autojump_clock: MockClock) -> None:
    async with working(9) as (gateway, store, repair):
        await put(store, "/a", payload(1000))
        manifest = store.manifest("/a")
        assert manifest is not None
        for number in manifest.nodes[:3]:
            gateway.lose(number)
        await trio.sleep(PAUSE_FACTOR * HEAL_S - 5)
        assert repair.progress.is_paused
        assert not repair.is_settled
        assert repair.progress.unreadable_count == 1
        assert store.manifest("/a") == manifest
        gateway.find(manifest.nodes[0])
        await repair.settle()
        assert await read(store, "/a") == payload(1000)
        assert len(await parts_of(gateway, store, "/a")) == 7
        assert repair.progress.unreadable_count == 0
        assert repair.lines[0].startswith("repair waits: ")
        assert sum("/a can't be read" in line for line in repair.lines) == 1


async def test_a_start_begins_nothing_before_nodes_had_time_to_come(
    autojump_clock: MockClock,
) -> None:
    async with Gateway.open(8) as gateway, gateway.life() as store:
        await put(store, "/a", payload(1000))
        manifest = store.manifest("/a")
        assert manifest is not None
        for member in gateway.membership.members.values():
            member.fill, member.heard_s = None, 0.0
        gateway.nodes.down.add(missing := manifest.nodes[0])
        async with trio.open_nursery() as nursery:
            repair = Shift(gateway, store, None)
            nursery.start_soon(repair.run)
            await trio.sleep(GONE_S / 2)
            for number in gateway.nodes.sites.keys() - {missing}:
                gateway.find(number)
            await trio.sleep(HEAL_S - GONE_S)
            assert store.manifest("/a") == manifest
            assert repair.lines == []
            await repair.settle(GONE_S)
            assert missing not in (store.manifest("/a") or manifest).nodes
            nursery.cancel_scope.cancel()


async def test_a_rate_is_kept(autojump_clock: MockClock) -> None:
    """The lowest that there is: nodes give up a writer who falls silent."""
    async with working(9, rate_bytes=2**16) as (gateway, store, repair):
        for key in ("/a", "/b", "/c"):
            await put(store, key, payload(5_000_000))
        manifest = store.manifest("/a")
        assert manifest is not None
        for number in manifest.nodes[:2]:
            gateway.lose(number)
        await trio.sleep(HEAL_S + 32)
        progress = repair.progress
        assert sum(progress.waiting.values()) >= 2
        assert 2**16 * 0.8 <= progress.bytes_s <= 2**16 * 1.3
        assert progress.eta_s is not None
        await repair.settle()
        for key in ("/a", "/b", "/c"):
            assert len(await parts_of(gateway, store, key)) == 7
        assert not any("again" in line for line in repair.lines)


async def overwrite(_: Gateway, store: ClusterStore) -> None:
    """Another object has the name."""
    with suppress(DiskError):
        await put(store, "/a", payload(3000))


async def delete(_: Gateway, store: ClusterStore) -> None:
    """The object goes."""
    store.delete("/a", lambda _: None)
    await trio.lowlevel.checkpoint()


async def back(gateway: Gateway, _: ClusterStore) -> None:
    """Whoever was gone is there again."""
    for number in list(gateway.nodes.down):
        gateway.find(number)
    await trio.lowlevel.checkpoint()


async def lose(gateway: Gateway, _: ClusterStore) -> None:
    """One more node is gone."""
    if len(gateway.nodes.down) < 2:
        gateway.lose(min(gateway.nodes.sites.keys() - gateway.nodes.down))
    await trio.lowlevel.checkpoint()


async def fail(gateway: Gateway, _: ClusterStore) -> None:
    """A node refuses writes for a while."""
    number = max(gateway.nodes.sites.keys() - gateway.nodes.down)
    gateway.nodes.mishaps[number] = refusing("PUT", 500)
    await trio.lowlevel.checkpoint()


Deed = Callable[[Gateway, ClusterStore], Awaitable[None]]
DEEDS: list[Deed] = [overwrite, delete, back, lose, fail]


@examples(20, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(DEEDS), st.floats(0, 40)), max_size=5),
    st.sampled_from([1000, 4 * STRIPE_BYTES]),
)
def test_whatever_happens_meanwhile(deeds: list[tuple[Deed, float]], size: int) -> None:
    async def main() -> None:
        async with working(9, rate_bytes=2**16, stall_s=5.0) as (gateway, store, repair):
            await put(store, "/a", payload(size))
            await put(store, "/b", payload(size + 1))
            manifest = store.manifest("/b")
            assert manifest is not None
            gateway.lose(manifest.nodes[0])
            store.damage.note(manifest.generation, 4, manifest.nodes[4])
            await trio.sleep(HEAL_S)
            for deed, after_s in deeds:
                await trio.sleep(after_s)
                await deed(gateway, store)
            gateway.nodes.mishaps.clear()
            await repair.settle(PAUSE_FACTOR * HEAL_S)
            # A node refuses late writes of what it lost for two minutes, and what has failed so
            # often by then is tried again ten minutes later, without being waited for.
            await repair.settle(1300)
            assert gateway.meta.swaps() == []
            for key in ("/a", "/b"):
                if (now := store.manifest(key)) is not None:
                    assert len(await parts_of(gateway, store, key)) == 7
                    assert not gateway.nodes.down.intersection(now.nodes)
                    assert len(await read(store, key)) == now.size_bytes
            if not any(deed is back for deed, _ in deeds):  # else a survey finds what is left
                assert gateway.strays(store, ["/a", "/b"]) == set()

    trio.run(main, clock=MockClock(autojump_threshold=0))
