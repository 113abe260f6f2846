"""Newcomers get their share, and at every moment every object can be read, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.cluster.heal.mover import UNEVEN
from chunkstore.cluster.meta import Swap
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.placement import EVEN
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, put
from tests.cluster.heal.scene import CAPACITY_BYTES, RATE_BYTES, Scene
from tests.cluster.nodes import Mishap, signed
from tests.examples import examples


@pytest.mark.parametrize(("before", "joining"), [(5, 1), (7, 1), (7, 3)])
async def test_newcomers_get_their_share(before: int, joining: int) -> None:
    async with Scene.open(before, joining) as scene:
        await scene.fill(60)
        total = sum(map(scene.live_bytes, range(1, before + 1)))
        await scene.join()
        assert scene.spread() > UNEVEN
        began_s = trio.current_time()
        async with scene.moving():
            await scene.settle()
            assert scene.spread() <= EVEN
            progress = scene.mover.progress
            share = joining * total / (before + joining)
            assert progress.moved_bytes <= 1.03 * share, "more was moved than they lacked"
            assert progress.moving_count == progress.left_bytes == 0
            took_s = trio.current_time() - began_s
            assert took_s >= progress.moved_bytes / RATE_BYTES
            await trio.sleep(700)
            assert scene.mover.progress == progress, "it goes on for ever"
        await scene.audit()
        assert "will be moved" in scene.notes[0]
        assert scene.notes[1].startswith(f"moved {progress.moved_count} parts")
        assert len(scene.notes) == 2


async def test_what_readers_keep_on_its_old_node_counts_as_moved() -> None:
    """Else the old nodes would look as full as before, and the newcomer would get too much."""
    async with Scene.open(7, 1) as scene:
        await scene.fill(60)
        total = sum(map(scene.live_bytes, range(1, 8)))
        held = [scene.store.source(key, scene.generation(key)) for key in scene.data]
        for source in held:
            source.hold()
        await scene.join()
        async with scene.moving():
            await scene.settle()
            assert scene.spread() <= EVEN
            assert scene.mover.progress.moved_bytes <= 1.03 * total / 8
            assert sum(map(scene.live_bytes, range(1, 9))) > total, "it lies on both"
            for source in held:
                source.let_go()
            await trio.sleep(30)
            assert scene.spread() <= EVEN
            assert sum(map(scene.live_bytes, range(1, 9))) == total
        await scene.audit()


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["overwrite", "delete", "new", "wait", "down", "up"]), st.integers(0, 30)
    ),
    max_size=12,
)


def test_whatever_happens_meanwhile() -> None:
    async def main(
        before: int, capacities: list[int], seed: int, events: list[tuple[str, int]]
    ) -> None:
        source = random.Random(seed)
        async with Scene.open(before, 2) as scene:
            scene.gateway.capacities[before + 1] = CAPACITY_BYTES * capacities[0]
            scene.gateway.capacities[before + 2] = CAPACITY_BYTES * capacities[1]
            await scene.fill(20, seed)
            await scene.join()
            down = scene.gateway.nodes.down
            async with scene.moving():
                await trio.sleep(1)
                for what, which in events:
                    await trio.sleep(source.random() * 0.2)
                    key = f"/{which}"
                    if what in ("overwrite", "new") and not down:
                        await scene.put(key, source.randbytes(source.randint(1, 100_000)))
                    elif what == "delete" and key in scene.data:
                        await scene.delete(key)
                    elif what == "down" and before > 5:
                        down.add(before + 1 + which % 2)
                    elif what == "up":
                        down.clear()
                down.clear()
                await trio.sleep(60)
                await scene.settle()
                progress = scene.mover.progress
                await trio.sleep(100)
                assert scene.mover.progress == progress
            await scene.audit()

    @examples(10, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.integers(5, 8),
        st.lists(st.integers(1, 4), min_size=2, max_size=2),
        st.integers(0, 10**6),
        EVENTS,
    )
    def test(before: int, capacities: list[int], seed: int, events: list[tuple[str, int]]) -> None:
        act = partial(main, before, capacities, seed, events)
        trio.run(act, clock=MockClock(autojump_threshold=0))

    test()


async def test_it_waits_for_what_is_more_urgent() -> None:
    async with Scene.open(6, 1) as scene:
        await scene.fill(20)
        await scene.join()
        scene.is_settled = False
        async with scene.moving():
            await trio.sleep(600)
            assert scene.mover.progress.moved_count == 0
            scene.is_settled = True
            await scene.settle()
            assert scene.mover.progress.moved_count > 0
        await scene.audit()


# --- what goes wrong with a move -----------------------------------------------------------------


HARMS: dict[str, Callable[[list[bytes], int], bytes]] = {
    "flipped": lambda parts, i: parts[i][:99] + bytes([parts[i][99] ^ 1]) + parts[i][100:],
    "short": lambda parts, i: parts[i][:-1],
    "another's": lambda parts, i: parts[i - 1],
    "no description": lambda parts, i: parts[i][:-20] + bytes(20),
}


@pytest.mark.parametrize("harm", [*HARMS, "gone"])
async def test_what_is_not_right_is_not_moved(harm: str) -> None:
    async with Scene.open(5, 1) as scene:
        for key in ("/a", "/b", "/c", "/d"):
            await scene.put(key, random.Random(key).randbytes(1_500_000))
        old = scene.manifest("/a")
        if harm == "gone":
            scene.gateway.nodes.mishaps = dict.fromkeys(range(1, 6), gone(old.generation))
        else:
            parts = [await scene.part(old, index) for index in range(5)]
            for index, node in enumerate(old.nodes):
                path, data = part_path(Part(old.generation, index)), HARMS[harm](parts, index)
                answer = await scene.gateway.nodes.sites[node].put(
                    path, data, signed(path, len(data))
                )
                assert answer.status in (200, 201)
        del scene.data["/a"]
        await trio.sleep(3)
        await scene.join()
        async with scene.moving():
            await scene.settle()
        assert scene.mover.progress.moved_count >= 1, "the others are moved"
        assert scene.manifest("/a") == old
        assert len(scene.store.damage.of(old.generation, old.nodes)) >= 1
        assert scene.store.damage.news() == [old.generation]
        scene.data["/a"] = b""
        await scene.audit(but={"/a"})


def gone(generation: int) -> Mishap:
    """A node that has nothing of this object."""

    async def answer(exchange: Exchange, handler: Handler) -> None:
        if f"/{generation:016x}" in exchange.request.path:
            await exchange.refuse(404, "as told")
        else:
            await handler(exchange)

    return answer


def on_put(act: Callable[[], Awaitable[None]], *, count: int = 1) -> Mishap:
    """Something happens in the middle of the first parts that come to a node."""
    left = count

    async def answer(exchange: Exchange, handler: Handler) -> None:
        nonlocal left
        if exchange.request.method == "PUT" and left:
            left -= 1
            await act()
        await handler(exchange)

    return answer


@pytest.mark.parametrize("what", ["cut", "stopped", "gone for good", 410, 507, 500])
async def test_a_target_that_fails_gets_nothing(what: str | int) -> None:
    """The other newcomer gets its share."""
    async with Scene.open(6, 2) as scene:
        nodes = scene.gateway.nodes
        await scene.fill(60)
        await scene.join()

        async def fail(exchange: Exchange, handler: Handler) -> None:
            if exchange.request.method != "PUT":
                await handler(exchange)
            elif what == "stopped":
                await trio.sleep_forever()
            elif isinstance(what, int):
                await exchange.refuse(what, "as told")
            else:
                if what == "gone for good":
                    nodes.down.add(7)
                raise trio.BrokenResourceError("as told")

        nodes.mishaps[7] = fail
        async with scene.moving():
            await scene.settle()
            named = scene.named()
            assert not named[7]
            assert len(named[8]) >= 20
            put_count = sum(one[:2] == (7, "PUT") for one in nodes.asked)
            if what != 410:
                assert put_count <= 4, "it is asked again and again"
            await scene.audit()
            if what not in ("gone for good", 410):
                del nodes.mishaps[7]
                await trio.sleep(60)
                await scene.settle()
                assert scene.spread() <= EVEN
        await scene.audit()


async def test_a_source_that_fails_keeps_what_it_has() -> None:
    async with Scene.open(7, 2) as scene:
        await scene.fill(60)
        await scene.join()

        async def cut(exchange: Exchange, handler: Handler) -> None:
            raise trio.BrokenResourceError("as told")

        scene.gateway.nodes.mishaps[3] = cut
        before = scene.named()[3]
        async with scene.moving():
            await scene.settle()
        assert scene.named()[3] == before
        assert not scene.store.damage.part_count
        scene.gateway.nodes.mishaps.clear()
        await scene.audit()


@pytest.mark.parametrize("what", ["deleted", "overwritten", "moved by another"])
async def test_an_object_that_changes_in_the_middle(what: str) -> None:
    async with Scene.open(5, 2) as scene:
        await scene.fill(40)
        gateway = scene.gateway
        await gateway.come(scene.store, 6)

        async def change() -> None:
            [intent, *_] = await scene.store.scribe.ask(lambda meta: meta.swaps())
            [key] = [k for k in scene.data if scene.generation(k) == intent.part.generation]
            if what == "deleted":
                await scene.delete(key)
            elif what == "overwritten":
                await scene.put(key, b"new")
            else:
                await scene.store.scribe.ask(lambda meta: meta.end_swap(intent))

        gateway.nodes.mishaps[6] = on_put(change)
        async with scene.moving():
            await scene.settle()
            assert scene.spread() <= 0.1
        await scene.audit()


async def test_cancelled_in_the_middle_it_leaves_nothing() -> None:
    async with Scene.open(5, 1) as scene:
        await scene.fill(40)
        await scene.join()
        came = trio.Event()

        async def hang() -> None:
            came.set()
            await trio.sleep_forever()

        scene.gateway.nodes.mishaps[6] = on_put(hang, count=100)
        async with scene.moving():
            await came.wait()
            scene.scope.cancel()
            await trio.sleep(10)
        await scene.audit()
        assert not scene.named()[6]


async def test_what_a_crash_left_is_taken_away() -> None:
    async with Gateway.open(8) as gateway:
        async with gateway.life() as store:
            await put(store, "/a", b"x" * 1000)
            manifest = store.manifest("/a")
            assert manifest is not None
            [target] = set(range(1, 9)).difference(manifest.nodes)
            intent = Swap(Part(manifest.generation, 0), manifest.nodes[0], target)
            await store.scribe.ask(lambda meta: meta.begin_swap(intent))
            data = await gateway.nodes.content(intent.source, intent.part)
            assert data is not None
            path = part_path(intent.part)
            await gateway.nodes.sites[target].put(path, data, signed(path, len(data)))
        async with gateway.life() as store:
            await trio.sleep(60)
            assert gateway.meta.swaps() == []
            assert await gateway.nodes.content(target, intent.part) is None
            assert await gateway.nodes.content(intent.source, intent.part) == data
            assert store.manifest("/a") == manifest


async def test_a_long_get_goes_on_while_parts_move() -> None:
    """Of five nodes' objects every part is needed, and who reads may know the old places alone."""
    async with Scene.open(5, 5) as scene:
        data = random.Random(9).randbytes(4_000_000)
        for key in ("/long", "/longer", "/longest"):
            await scene.put(key, data)
        old = scene.manifest("/long")
        source = scene.store.source("/long", old.generation)
        source.hold()
        found = bytes(await source.range(0, 200_000))
        await trio.sleep(3)
        await scene.join()
        async with scene.moving():
            await scene.settle()
            new = scene.manifest("/long")
            moved = [index for index in range(5) if new.nodes[index] != old.nodes[index]]
            assert len(moved) >= 2
            for index in moved:
                await scene.part(old, index)
                await scene.part(new, index)
            while len(found) < len(data):
                found += bytes(await source.range(len(found), 200_000))
            assert found == data
            source.let_go()
            await trio.sleep(3)
        await scene.audit()
