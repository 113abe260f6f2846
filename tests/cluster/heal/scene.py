"""A gateway with a mover and nodes in memory, some of which join late; and what must hold of it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import trio

from chunkstore.cluster.heal.mover import LOOK_S, Mover
from chunkstore.cluster.meta import Manifest
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.placement import spread
from chunkstore.cluster.store import ClusterStore
from chunkstore.config import Settings
from tests.cluster.gateway import Gateway, put

__all__ = ["CAPACITY_BYTES", "RATE_BYTES", "Scene"]

RATE_BYTES = 1 << 20
CAPACITY_BYTES = 10 << 20


class Scene:
    """A gateway with a mover, of which nodes join later; and what its objects have.

    Attributes:
        notes: what an operator was told.
        is_settled: nothing is more urgent than moves.
    """

    def __init__(self, gateway: Gateway, store: ClusterStore) -> None:
        self.gateway = gateway
        self.store = store
        self.data: dict[str, bytes] = {}
        self.notes: list[str] = []
        self.is_settled = True
        self.mover = Mover(
            store, Settings(move_rate_bytes=RATE_BYTES), lambda: self.is_settled, self.notes.append
        )
        self.scope = trio.CancelScope()

    @classmethod
    @asynccontextmanager
    async def open(cls, before: int, joining: int = 0) -> AsyncIterator[Scene]:
        """With nodes 1 to `before`, and heartbeats; the mover isn't at work yet."""
        async with Gateway.open(before + joining) as gateway:
            gateway.absent = set(range(before + 1, before + joining + 1))
            gateway.capacities = dict.fromkeys(gateway.nodes.sites, CAPACITY_BYTES)
            async with gateway.life(stall_s=5.0) as store, trio.open_nursery() as nursery:
                nursery.start_soon(gateway.beat)
                yield cls(gateway, store)
                nursery.cancel_scope.cancel()

    async def fill(self, count: int, seed: int = 0) -> None:
        """So many objects, of any size up to 100 KB."""
        source = random.Random(seed)
        for number in range(count):
            await self.put(f"/{number}", source.randbytes(source.randint(1, 100_000)))
        await trio.sleep(3)

    async def put(self, key: str, data: bytes) -> None:
        """An object, new or instead of another."""
        await put(self.store, key, data)
        self.data[key] = data

    async def delete(self, key: str) -> None:
        """An object goes."""
        done = trio.Event()
        self.store.delete(key, lambda _: done.set())
        await done.wait()
        del self.data[key]

    async def join(self) -> None:
        """All that are absent come."""
        for number in sorted(self.gateway.absent):
            await self.gateway.come(self.store, number)

    @asynccontextmanager
    async def moving(self) -> AsyncIterator[None]:
        """The mover is at work, and meanwhile somebody reads one object after the other."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._move)
            yield
            nursery.cancel_scope.cancel()

    async def _move(self) -> None:
        with self.scope:
            await self.mover.run()

    async def _read(self) -> None:
        source = random.Random(0)
        while True:
            is_moving = self.mover.progress.is_moving
            await trio.sleep(0.2 if is_moving else 1.0)
            if is_moving and self.data:
                await self.read(source.choice(list(self.data)))

    async def read(self, *keys: str) -> None:
        """These objects are there and right."""
        for key in keys:
            data = self.data[key]
            stored = self.store.stored(key)
            if self.data.get(key) == data and stored is not None:
                source = self.store.source(key, stored.generation)
                source.hold()
                assert await source.read() == data, key
                source.let_go()

    async def settle(self) -> None:
        """Let what is to be moved be moved, and what is to be taken away."""
        with trio.fail_after(3600):
            while True:
                before = self.mover.progress
                await trio.sleep(2 * LOOK_S)
                if not before.is_moving and self.mover.progress == before:
                    return

    async def audit(self, but: Collection[str] = ()) -> None:
        """Each part is on the node that the metadata names, nothing else is on any, and all is
        right; nothing is under way, or counts as if it were."""
        await self.read(*self.data.keys() - but)
        assert await self.store.scribe.ask(lambda meta: meta.swaps()) == []
        manifests = await self.store.scribe.ask(lambda meta: meta.page(0, 10_000))
        assert sorted(one.key for one in manifests) == sorted(self.data)
        for manifest in manifests:
            assert manifest == self.store.manifest(manifest.key)
            assert len(set(manifest.nodes)) == len(manifest.nodes), "two parts on a node"
        for number, names in self.named().items():
            if number not in self.gateway.nodes.down:
                site = self.gateway.nodes.sites[number]
                assert set(site.origin.catalog.namespace._entries) == names
        assert not +self.store.fleet._expected
        assert not -self.store.fleet._expected

    def manifest(self, key: str) -> Manifest:
        """Where an object is."""
        found = self.store.manifest(key)
        assert found is not None
        return found

    def generation(self, key: str) -> int:
        """Of an object."""
        return self.manifest(key).generation

    def named(self) -> dict[int, set[str]]:
        """The parts that nodes should have."""
        named: dict[int, set[str]] = {number: set() for number in self.gateway.nodes.sites}
        for manifest in map(self.manifest, self.data):
            for index, node in enumerate(manifest.nodes):
                named[node].add(part_path(Part(manifest.generation, index)))
        return named

    async def part(self, manifest: Manifest, index: int) -> bytes:
        """A part where the manifest says."""
        part = Part(manifest.generation, index)
        found = await self.gateway.nodes.content(manifest.nodes[index], part)
        assert found is not None
        return found

    def spread(self) -> float:
        """Of the fill that the nodes know of."""
        return spread(self.store.fleet.nodes())

    def live_bytes(self, number: int) -> int:
        """Of a node's parts."""
        disk = self.gateway.nodes.sites[number].origin._disk
        assert disk is not None
        return disk.live_bytes()
