"""A part is put on another node: whatever happens, none is lost, and none is left that nothing
names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.cluster.meta import Swap
from chunkstore.cluster.names import Part
from chunkstore.cluster.store import EXPIRE_S, ClusterStore
from chunkstore.cluster.swap import deliver, swap
from chunkstore.errors import DiskFullError, StatusError
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, put
from tests.cluster.test_upload import parts_of, payload, read
from tests.examples import examples

DATA = payload(20_000)
Deed = Callable[[ClusterStore], Awaitable[None]]


async def body(data: bytes) -> AsyncIterator[bytes]:
    """Of a request, in one piece."""
    yield data


async def move(gateway: Gateway, store: ClusterStore, index: int, target: int) -> bool:
    """Copy a part of "/a" to another node, as a mover does."""
    manifest = store.manifest("/a")
    assert manifest is not None
    part = Part(manifest.generation, index)
    data = await gateway.nodes.content(manifest.nodes[index], part)
    assert data is not None

    write = partial(deliver, store.fetcher.links, part, target, body(data), len(data))
    return await swap(store, manifest, index, target, write)


async def settle(gateway: Gateway, store: ClusterStore, data: bytes | None) -> None:
    """What must hold when all that was begun is over."""
    await trio.sleep(60)
    assert gateway.meta.swaps() == []
    assert gateway.strays(store, ["/a"]) == set()
    if data is None:
        assert store.manifest("/a") is None
        return
    assert store.manifest("/a") == gateway.meta.manifest("/a")
    assert len(await parts_of(gateway, store, "/a")) == 7
    assert await read(store, "/a") == data


async def nothing(_: ClusterStore) -> None:
    """Nothing else happens."""


async def overwrite(store: ClusterStore) -> None:
    """It is replaced."""
    await put(store, "/a", DATA[::-1])


async def delete(store: ClusterStore) -> None:
    """It goes."""
    done = trio.Event()
    store.delete("/a", lambda _: done.set())
    await done.wait()


LEFT: dict[Deed, bytes | None] = {nothing: DATA, overwrite: DATA[::-1], delete: None}


@examples(40, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 120), st.integers(0, 60), st.sampled_from(list(LEFT)), st.integers(0, 6))
def test_cancelled_anywhere_whatever_else_happens(
    steps: int, deed_at: int, deed: Deed, index: int
) -> None:
    async def main() -> None:
        async with Gateway.open(8) as gateway, gateway.life() as store:
            await put(store, "/a", DATA)
            manifest = store.manifest("/a")
            assert manifest is not None
            [target] = set(range(1, 9)) - set(manifest.nodes)

            async def act() -> None:
                for _ in range(deed_at):
                    await trio.lowlevel.checkpoint()
                await deed(store)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(act)
                with trio.CancelScope() as scope:

                    async def cancel() -> None:
                        for _ in range(steps):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                    nursery.start_soon(cancel)
                    await move(gateway, store, index, target)
            await settle(gateway, store, LEFT[deed])

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_readers_under_way_have_the_old_one_to_their_end(autojump_clock: MockClock) -> None:
    async with Gateway.open(8) as gateway, gateway.life() as store:
        await put(store, "/a", DATA)
        manifest = store.manifest("/a")
        assert manifest is not None
        source, old = manifest.nodes[2], Part(manifest.generation, 2)
        [target] = set(range(1, 9)) - set(manifest.nodes)
        reader = store.source("/a", manifest.generation)
        reader.hold()
        assert await move(gateway, store, 2, target)
        await delete(store)
        await trio.sleep(60)
        assert old in gateway.nodes.listed(source)
        reader.let_go()
        await settle(gateway, store, None)


@pytest.mark.parametrize("status", [410, 507, 500])
async def test_a_write_that_fails_changes_nothing(autojump_clock: MockClock, status: int) -> None:
    async def refuse(exchange: Exchange, handler: Handler) -> None:
        if exchange.request.method == "PUT":
            await exchange.refuse(status, "as told")
        else:
            await handler(exchange)

    async with Gateway.open(8) as gateway, gateway.life() as store:
        await put(store, "/a", DATA)
        manifest = store.manifest("/a")
        assert manifest is not None
        [target] = set(range(1, 9)) - set(manifest.nodes)
        gateway.nodes.mishaps[target] = refuse
        with pytest.raises(StatusError):
            await move(gateway, store, 0, target)
        assert store.manifest("/a") == manifest
        await settle(gateway, store, DATA)


async def test_of_two_that_want_a_place_one_writes_nothing(autojump_clock: MockClock) -> None:
    async with Gateway.open(8) as gateway, gateway.life() as store:
        await put(store, "/a", DATA)
        manifest = store.manifest("/a")
        assert manifest is not None
        [target] = set(range(1, 9)) - set(manifest.nodes)
        made: list[bool] = []

        async def run(index: int) -> None:
            made.append(await move(gateway, store, index, target))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, 0)
            nursery.start_soon(run, 1)
        assert sorted(made) == [False, True]
        await settle(gateway, store, DATA)


async def test_what_a_dead_gateway_began_is_taken_away(autojump_clock: MockClock) -> None:
    async with Gateway.open(8) as gateway:
        async with gateway.life() as store:
            await put(store, "/a", DATA)
            manifest = store.manifest("/a")
            assert manifest is not None
            [target] = set(range(1, 9)) - set(manifest.nodes)
            part = Part(manifest.generation, 3)
            intent = Swap(part, manifest.nodes[3], target)
            await store.scribe.ask(lambda meta: meta.begin_swap(intent))
            data = await gateway.nodes.content(manifest.nodes[3], part)
            assert data is not None
            await deliver(store.fetcher.links, part, target, body(data), len(data))
        async with gateway.life() as store:
            await settle(gateway, store, DATA)


async def test_what_cannot_be_noted_is_tidied_up_later(autojump_clock: MockClock) -> None:
    """Else that part could never be moved again, nor made anew."""

    def full(*_: object, **__: object) -> list[object]:
        raise DiskFullError("as told")

    async with Gateway.open(8) as gateway, gateway.life() as store:
        await put(store, "/a", DATA)
        manifest = store.manifest("/a")
        assert manifest is not None
        [spare] = gateway.nodes.sites.keys() - set(manifest.nodes)
        batch = gateway.meta.batch

        async def fail() -> None:
            gateway.meta.batch = full  # type: ignore[assignment,method-assign]
            raise StatusError(500, "as told")

        with pytest.raises(StatusError):
            await swap(store, manifest, 3, spare, fail)
        await trio.sleep(20)
        gateway.meta.batch = batch  # type: ignore[method-assign]
        assert len(gateway.meta.swaps()) == 1
        await trio.sleep(EXPIRE_S + 1)
        assert gateway.meta.swaps() == []
        assert await move(gateway, store, 3, spare)
        await settle(gateway, store, DATA)
