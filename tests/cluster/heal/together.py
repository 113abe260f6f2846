"""A cluster in memory in which everything goes on at once: load, mishaps, and all that heals.

What was acknowledged is known all the time, and so is how much of each object lies on disks: what
destroys something happens only while every object can bear it. Whatever else may happen does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from random import Random

import trio

from chunkstore.cluster.heal.mover import Mover
from chunkstore.cluster.heal.repair import Repair
from chunkstore.cluster.heal.scrub import Scrub
from chunkstore.cluster.heal.survey import Survey
from chunkstore.cluster.meta import Manifest, Meta
from chunkstore.cluster.store import ClusterStore
from chunkstore.cluster.stripe import STRIPE_BYTES, K
from chunkstore.config import Settings
from chunkstore.errors import DamagedError, DiskError
from tests.cluster.gateway import Gateway
from tests.cluster.heal.mortals import (
    Mortals,
    Name,
    broken,
    copy_meta,
    full,
    no_room,
    restore_meta,
    slow,
)

__all__ = ["Story"]

HEAL_S = 20.0
SCRUB_S = 60.0
CAPACITY_BYTES = 16 << 20
KEYS = [f"/{number}" for number in range(12)]
SIZES = [0, 1, 5_000, 65_536, 65_537, STRIPE_BYTES, 3 * STRIPE_BYTES + 7, 10 * STRIPE_BYTES]


class Crash(Exception):
    """The gateway is killed."""


class Story:
    """One course of things.

    Args:
        seed: decides all.
        gateway: what outlives the lives of a gateway.
    """

    def __init__(self, seed: int, gateway: Gateway) -> None:
        assert isinstance(gateway.nodes, Mortals)
        self.gateway = gateway
        self.nodes: Mortals = gateway.nodes
        self.random = Random(seed)
        self.names = {key: Name() for key in KEYS}
        self.lines: list[str] = []
        self.did: list[str] = []
        self._data: dict[int, bytes] = {}
        self._uploads: dict[int, float] = {}
        self._wiped_s = -1.0
        self._crash = trio.Event()

    @classmethod
    @asynccontextmanager
    async def begin(cls, seed: int, count: int) -> AsyncIterator[Story]:
        """With so many nodes, the last of which isn't there yet."""
        async with Gateway.open(count, Mortals) as gateway:
            gateway.absent = {count}
            gateway.capacities = dict.fromkeys(gateway.nodes.sites, CAPACITY_BYTES)
            yield cls(seed, gateway)

    # --- a life of the gateway -----------------------------------------------------------------

    async def live(self, seconds: float, *, is_killed: bool) -> None:
        """A life with a load and mishaps; then it is killed, or stopped."""
        self._crash = trio.Event()
        killed, then = False, self.names
        try:
            async with self._made() as store, trio.open_nursery() as nursery:
                await nursery.start(store.run)
                nursery.start_soon(self.gateway.beat)
                async with trio.open_nursery() as acting:
                    self._acting = acting
                    for _ in range(3):
                        acting.start_soon(self._write, store)
                    for _ in range(2):
                        acting.start_soon(self._read, store)
                    acting.start_soon(self._happen, store)
                    await trio.sleep(seconds)
                    if is_killed:
                        copy_meta(self.gateway._path)
                        then = deepcopy(self.names)
                        killed = True
                        self._crash.set()
                        await trio.sleep_forever()
                    acting.cancel_scope.cancel()
                nursery.cancel_scope.cancel()
        except* Crash:
            pass
        if killed:
            self.names = then
            restore_meta(self.gateway._path)
        self._uploads.clear()

    async def heal(self) -> None:
        """A life in which all nodes are there and well, until nothing is left to be done; then
        everything must be as it should."""
        for number in self.gateway.nodes.sites:
            self._cure(number)
        self.nodes.down.clear()
        self._crash = trio.Event()
        async with self._made() as store, trio.open_nursery() as nursery:
            await nursery.start(store.run)
            nursery.start_soon(self.gateway.beat)
            began_s = trio.current_time()
            await trio.sleep(120)
            with trio.fail_after(3_500):
                while not (  # noqa: ASYNC110 - nobody tells
                    self.repair.is_settled
                    and not self.mover.progress.is_moving
                    and (self.scrub.round_count >= 2 or not store.keys())
                    and min(self.survey.surveyed_s.values()) > began_s
                ):
                    await trio.sleep(1)
            await trio.sleep(30)  # what was collected by then is gone
            await self._audit(store)
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _made(self) -> AsyncIterator[ClusterStore]:
        gateway = self.gateway
        async with gateway.made(stall_s=5.0) as store:
            membership, note = gateway.membership, self.lines.append
            draw = self.random.random
            self.store = store
            self.repair = Repair(
                store, membership, note, heal_after_s=HEAL_S, rate_bytes=None, draw=draw
            )
            self.survey = Survey(store, membership, note)
            self.scrub = Scrub(store, SCRUB_S, gateway._path.with_name("scrub"), note)
            settings = Settings(move_rate_bytes=1 << 20)
            self.mover = Mover(store, settings, lambda: self.repair.is_settled, note)
            store.tasks = [
                self.repair.run,
                self.survey.run,
                self.scrub.run,
                self.mover.run,
                self._die,
            ]
            for number in self.nodes.down:
                gateway.membership.members[number].is_ending = True
            yield store

    async def _die(self) -> None:
        await self._crash.wait()
        raise Crash

    # --- the load ------------------------------------------------------------------------------

    async def _write(self, store: ClusterStore) -> None:
        while True:
            await trio.sleep(self.random.expovariate(0.5))
            key = self.random.choice(KEYS)
            chance = self.random.random()
            if chance < 0.15:
                await self._delete(store, key)
            else:
                await self._put(store, key, is_given_up=chance > 0.9, is_slow=chance > 0.6)

    async def _put(
        self, store: ClusterStore, key: str, *, is_given_up: bool, is_slow: bool
    ) -> None:
        data = self.random.randbytes(self.random.choice(SIZES))
        upload = store.begin(key)
        generation = upload.generation
        self._uploads[generation] = trio.current_time()
        self._data[generation] = data
        is_committed = False
        try:
            for start in range(0, len(data), 400_000):
                await upload.append([data[start : start + 400_000]])
                if is_slow:
                    await trio.sleep(self.random.random() * 3)
            if is_given_up:
                return
            done = trio.Event()
            number = self.names[key].ask(data)

            def on_done(error: DiskError | None) -> None:
                self.names[key].done(number, data, error)
                done.set()

            is_committed = True
            upload.commit(len(data), b"facts", on_done)
            await done.wait()
        finally:
            if not is_committed:
                upload.abandon()
            self._uploads.pop(generation, None)

    async def _delete(self, store: ClusterStore, key: str) -> None:
        done = trio.Event()
        number = self.names[key].ask(None)

        def on_done(error: DiskError | None) -> None:
            self.names[key].done(number, None, error)
            done.set()

        store.delete(key, on_done)
        await done.wait()

    async def _read(self, store: ClusterStore) -> None:
        while True:
            await trio.sleep(self.random.expovariate(0.5))
            key = self.random.choice(KEYS)
            if (stored := store.stored(key)) is None:
                continue
            source, data = store.source(key, stored.generation), self._data[stored.generation]
            source.hold()
            is_slow = self.random.random() < 0.5
            try:
                at = 0
                while at < len(data):
                    piece = bytes(await source.range(at, len(data) - at))
                    assert piece == data[at : at + len(piece)], "wrong bytes"
                    at += len(piece)
                    if is_slow:
                        await trio.sleep(self.random.random() * 2)
            except DamagedError as error:
                self.did.append(f"{trio.current_time():.0f} {error}")
                if len(self.nodes.down) + len(self.nodes.mishaps) + len(self.nodes.stopped) == 0:
                    self.did.append("!!! while all nodes are well")
            finally:
                source.let_go()

    async def _happen(self, store: ClusterStore) -> None:
        while True:
            await trio.sleep(self.random.expovariate(1 / 8))
            choices = [
                self._go_down,
                self._go_down,
                self._be_ill,
                self._be_ill,
                self._rot,
                self._be_wiped,
                self._fill_disk,
            ]
            if self.gateway.absent:
                choices.append(self._join)
            await self.random.choice(choices)(store)

    def _some(self) -> int | None:
        troubled = self.nodes.down | self.nodes.mishaps.keys() | self.nodes.stopped
        if len(troubled) >= (3 if self.random.random() < 0.1 else 2):
            return None
        well = self.nodes.sites.keys() - troubled - self.gateway.absent
        return self.random.choice(sorted(well))

    def _say(self, text: str) -> None:
        self.did.append(f"{trio.current_time():.0f} {text}")

    async def _join(self, store: ClusterStore) -> None:
        if "batch" not in vars(self.gateway.meta):
            await self.gateway.come(store, min(self.gateway.absent))

    async def _go_down(self, store: ClusterStore) -> None:
        if (number := self._some()) is None:
            return
        self._say(f"{number} down")
        self.nodes.kill(number)
        if self.random.random() < 0.5:
            self.gateway.membership.members[number].is_ending = True
        self._acting.start_soon(self._return, number, self.random.choice([2, 15, 40, 90]))

    async def _return(self, number: int, after_s: float) -> None:
        await trio.sleep(after_s)
        self._say(f"{number} back")
        self._rejoin(number)

    def _rejoin(self, number: int) -> None:
        self.nodes.down.discard(number)
        record = self.gateway.membership.members[number].record
        self.gateway.hear(record._replace(incarnation=f"{self.random.getrandbits(64):016x}"))

    async def _be_ill(self, store: ClusterStore) -> None:
        if (number := self._some()) is None:
            return
        what = self.random.choice(["full", "broken", "slow", "stopped"])
        self._say(f"{number} {what}")
        if what == "stopped":
            self.nodes.stopped.add(number)
        else:
            self.nodes.mishaps[number] = {"full": full, "broken": broken, "slow": slow}[what]
        self._acting.start_soon(self._recover, number, self.random.choice([3, 20, 60]))

    async def _fill_disk(self, store: ClusterStore) -> None:
        """The disk of the metadata is full for a while."""
        meta, seconds = self.gateway.meta, self.random.choice([1, 5, 20])
        if "batch" in vars(meta):
            return
        self._say("metadata full")
        meta.batch = no_room  # type: ignore[method-assign]
        self._acting.start_soon(self._empty_disk, meta, seconds)

    async def _empty_disk(self, meta: Meta, seconds: float) -> None:
        try:
            await trio.sleep(seconds)
        finally:
            vars(meta).pop("batch")

    async def _recover(self, number: int, after_s: float) -> None:
        await trio.sleep(after_s)
        self._cure(number)

    def _cure(self, number: int) -> None:
        self.nodes.mishaps.pop(number, None)
        self.nodes.stopped.discard(number)

    async def _may_destroy(self, store: ClusterStore) -> bool:
        """Whether every object can lose one more part."""
        if any(began_s <= self._wiped_s for began_s in self._uploads.values()):
            return False
        for key in KEYS:
            manifest = store.manifest(key)
            if (
                manifest is not None
                and len(await self.nodes.right(manifest, self._data[manifest.generation])) <= K
            ):
                return False
        return True

    async def _count(self, manifest: Manifest) -> int:
        return len(await self.nodes.right(manifest, self._data[manifest.generation]))

    async def _be_wiped(self, store: ClusterStore) -> None:
        if (
            (number := self._some()) is None
            or not await self._may_destroy(store)
            or number in self.nodes.down
        ):
            return
        self._say(f"{number} wiped")
        self._wiped_s = trio.current_time()
        self.nodes.kill(number)
        self.gateway.membership.members[number].is_ending = True
        await self.nodes.wipe(number)
        self._acting.start_soon(self._return, number, self.random.choice([2, 40]))

    async def _rot(self, store: ClusterStore) -> None:
        number = self._some()
        if number is None or not await self._may_destroy(store):
            return
        parts = [
            one
            for one in sorted(self.nodes.listed(number))
            if await self.nodes.kept(number, one) is not None
        ]
        if parts:
            self._wiped_s = trio.current_time()
            part = self.random.choice(parts)
            self._say(f"{part} rots on {number}")
            await self.nodes.spoil(number, part)

    async def _audit(self, store: ClusterStore) -> None:
        assert await store.scribe.ask(lambda meta: meta.swaps()) == []
        assert await store.scribe.ask(lambda meta: meta.opens()) == []
        assert await store.scribe.ask(lambda meta: meta.due(1e18, 10)) == []
        assert not store.leaving
        assert not store._uploads
        assert not store._readers._holds
        assert not store._readers._waiting
        assert not store.collector._jobs
        assert not +store.fleet._expected
        assert not -store.fleet._expected
        assert not store.damage.part_count
        assert not store.damage.has_news
        assert not store.windows.used_bytes
        m = store.fleet.m
        for key, name in self.names.items():
            manifest = store.manifest(key)
            data = None if manifest is None else self._data[manifest.generation]
            assert name.is_possible(data), key
            if manifest is not None:
                assert len(set(manifest.nodes)) == K + m == len(manifest.nodes), manifest
                assert (
                    len(await self.nodes.right(manifest, self._data[manifest.generation])) == K + m
                ), manifest
            name.settle(data)
        strays = self.gateway.strays(store, KEYS)
        assert strays == set(), strays
