"""After a survey nothing that something needs is gone, and nothing else is left."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.cluster.heal import survey as survey_module
from chunkstore.cluster.heal.survey import PERIOD_S, RETRY_S, Survey
from chunkstore.cluster.meta import Manifest, Meta, Open, Swap
from chunkstore.cluster.names import Part, parse_part, part_path
from chunkstore.cluster.store import ClusterStore
from chunkstore.cluster.swap import swap
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, put
from tests.cluster.nodes import signed
from tests.examples import examples

COUNT = 8
"""One more than an object has parts: there is somewhere for those that don't belong."""
NODES = range(1, COUNT + 1)
OBJECTS = 5
UNUSED = 3000
"""Generations from here on are reserved, and no object's."""
BEYOND = 100_000
"""No generation is reserved from here on."""
KINDS = ["missing", "other size", "stale", "read", "orphan", "beyond", "open", "swap", "replaced"]
ACTS = ["nothing", "put", "replace", "delete", "swap"]


@dataclass
class World:
    """What was made of a cluster.

    Attributes:
        wrong: parts that should be noted, with their nodes.
        needed: parts that must stay though no manifest has them there, with their nodes.
    """

    gateway: Gateway
    store: ClusterStore
    wrong: set[tuple[Part, int]] = field(default_factory=set)
    needed: set[tuple[Part, int]] = field(default_factory=set)
    acts: list[str] = field(default_factory=list)

    def manifest(self, key: str) -> Manifest:
        found = self.store.manifest(key)
        assert found is not None
        return found

    def spare(self, key: str) -> int:
        """The node that has nothing of an object."""
        [node] = set(NODES).difference(self.manifest(key).nodes)
        return node

    async def lay(self, node: int, part: Part, data: bytes) -> None:
        """Have a node have this."""
        path = part_path(part)
        answer = await self.gateway.nodes.sites[node].put(path, data, signed(path, len(data)))
        assert answer.status in (200, 201)

    def laid(self, node: int) -> set[Part]:
        """All parts that a node has."""
        namespace = self.gateway.nodes.sites[node].origin.catalog.namespace
        parts = {parse_part(path) for path in namespace._entries if namespace.visible(path)}
        return {part for part in parts if part is not None}

    async def have(self, number: int, index: int, kind: str) -> None:
        """Something is the matter with a part of an object; each object has it once."""
        key = f"/{number}"
        manifest, spare = self.manifest(key), self.spare(key)
        part, node = Part(manifest.generation, index), manifest.nodes[index]
        if kind == "missing":
            path = part_path(part)
            site = self.gateway.nodes.sites[node]
            assert (await site.ask("DELETE", path, signed(path, 0, "DELETE"))).status == 200
            self.wrong.add((part, node))
        elif kind == "other size":
            await self.lay(node, part, b"short")
            self.wrong.add((part, node))
        elif kind in ("stale", "read"):
            await self.lay(spare, part, b"old")
            if kind == "read":
                self.store.source(key, manifest.generation).hold()
                self.needed.add((part, spare))
        elif kind in ("orphan", "beyond"):
            generation = number + (UNUSED if kind == "orphan" else BEYOND)
            await self.lay(node, Part(generation, index), b"nobody's")
            if kind == "beyond":
                self.needed.add((Part(generation, index), node))
        elif kind == "open":
            opened = Open(UNUSED + number, "/open", (node,))
            await self.change(lambda meta: meta.begin_open(opened))
            await self.lay(spare, part := Part(UNUSED + number, index), b"on its way")
            self.needed.add((part, spare))
        elif kind == "swap":
            await self.change(lambda meta: meta.begin_swap(Swap(part, node, spare)))
            await self.lay(spare, part, b"on its way")
            self.needed.add((part, spare))
        else:
            self.store.source(key, manifest.generation).hold()
            self.needed |= {(Part(manifest.generation, i), n) for i, n in enumerate(manifest.nodes)}
            await put(self.store, key, b"new")

    async def change(self, change: Callable[[Meta], None]) -> None:
        await self.store.scribe.ask(change)

    async def act(self) -> None:
        """What happens while a survey is between its two looks."""
        act = self.acts.pop() if self.acts else "nothing"
        if act == "put":
            await put(self.store, f"/put-{len(self.acts)}", b"x" * 1000)
        elif act == "replace":
            await put(self.store, "/lively", b"y" * 2000)
        elif act == "delete":
            self.store.delete("/lively", lambda _: None)
        elif act == "swap" and self.store.manifest("/lively") is not None:
            manifest, target = self.manifest("/lively"), self.spare("/lively")
            part = Part(manifest.generation, 2)
            data = await self.gateway.nodes.content(manifest.nodes[2], part)
            assert data is not None
            assert await swap(
                self.store, manifest, 2, target, partial(self.lay, target, part, data)
            )

    def check(self) -> None:
        """Everything is as it should be."""
        noted = {
            (Part(generation, index), node)
            for generation, known in self.store.damage._parts.items()
            for index, node in known.items()
        }
        assert noted == self.wrong
        for manifest in self.gateway.meta.page(0, 1000):
            for index, node in enumerate(manifest.nodes):
                part = Part(manifest.generation, index)
                assert part in self.laid(node) or (part, node) in self.wrong
        assert all(part in self.laid(node) for part, node in self.needed)
        for node in NODES:
            [left] = self.gateway.meta.batch([methodcaller("orphans", node, self.laid(node))])
            assert isinstance(left, list)
            assert {(part, node) for part in left} <= self.needed


class Disturbed(Survey):
    """Something happens between each list and the manifests after it."""

    world: World

    async def _manifests(self, after: int) -> list[Manifest]:
        await self.world.act()
        return await super()._manifests(after)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with Gateway.open(COUNT) as gateway, gateway.life() as store:
        for number in range(OBJECTS):
            await put(store, f"/{number}", b"z" * (number * 300))
        await put(store, "/lively", b"x" * 1000)
        yield World(gateway, store)


async def surveyed(survey: Survey, nodes: int = COUNT) -> None:
    """Run it until it has been everywhere."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(survey.run)
        with trio.fail_after(600):
            while survey.survey_count < nodes:  # noqa: ASYNC110 - a clock that jumps
                await trio.sleep(1)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()


def make(world: World, notes: list[str] | None = None) -> Survey:
    told = [] if notes is None else notes
    return Survey(world.store, world.gateway.membership, told.append)


@pytest.mark.parametrize("page_count", [3, 500])
def test_whatever_is_there_what_is_needed_stays(
    page_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey_module, "PAGE_COUNT", page_count)

    async def main(kinds: list[tuple[int, str]], acts: list[str]) -> None:
        async with world() as one:
            for number, (index, kind) in enumerate(kinds):
                await one.have(number, index, kind)
            one.acts = list(acts)
            survey = Disturbed(one.store, one.gateway.membership, lambda _: None)
            survey.world = one
            await surveyed(survey)
            one.check()

    @examples(15, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(st.integers(0, 6), st.sampled_from(KINDS)), max_size=OBJECTS),
        st.lists(st.sampled_from(ACTS), max_size=12),
    )
    def test(kinds: list[tuple[int, str]], acts: list[str]) -> None:
        trio.run(main, kinds, acts, clock=MockClock(autojump_threshold=0))

    test()


async def test_what_was_found_is_counted_and_told() -> None:
    notes: list[str] = []
    async with world() as one:
        for number, kind in enumerate(["missing", "other size", "stale", "orphan"]):
            await one.have(number, 0, kind)
        survey = make(one, notes)
        assert not survey.is_surveyed(1)
        await surveyed(survey)
        assert (survey.collected_count, survey.flaw_count) == (2, 2)
        assert all(survey.is_surveyed(node) and node in survey.surveyed_s for node in NODES)
        told = " ".join(notes)
        assert "1 missing" in told
        assert "1 of another size" in told
        assert sum(map(int, re.findall(r"(\d+) taken away", told))) == 2


async def test_what_a_power_cut_made_forgotten_goes_within_seconds() -> None:
    async with Gateway.open(7) as gateway:
        async with gateway.life() as store:
            await put(store, "/a", b"x")
            parts = {node: Part(UNUSED, index) for index, node in enumerate(range(1, 8))}
        async with gateway.life() as store:
            one = World(gateway, store)
            for node, part in parts.items():
                await one.lay(node, part, b"nobody knows of it")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(make(one).run)
                await trio.sleep(20)
                nursery.cancel_scope.cancel()
            assert all(part not in one.laid(node) for node, part in parts.items())
            assert all(len(one.laid(node)) == 1 for node in parts)


def listing(world: World, node: int) -> int:
    """How often a node was asked for all that it has."""
    return sum(
        number == node and method == "LIST" for number, method, _ in world.gateway.nodes.asked
    )


async def running(world: World, act: Callable[[Survey], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        survey = make(world)
        nursery.start_soon(survey.run)
        await trio.sleep(30)
        await act(survey)
        nursery.cancel_scope.cancel()


async def test_who_comes_back_is_surveyed_again_and_all_every_hour() -> None:
    async with world() as one:

        async def act(survey: Survey) -> None:
            assert [listing(one, node) for node in NODES] == [1] * COUNT
            member = one.gateway.membership.members[3]
            member.is_ending = True
            await trio.sleep(10)
            assert not survey.is_surveyed(3)
            member.is_ending = False
            await trio.sleep(10)
            assert survey.is_surveyed(3)
            five = one.gateway.membership.members[5]
            five.record = five.record._replace(incarnation="another")
            await trio.sleep(10)
            assert [listing(one, node) for node in NODES] == [1, 1, 2, 1, 2, 1, 1, 1]
            await trio.sleep(PERIOD_S)
            assert [listing(one, node) for node in NODES] == [2, 2, 3, 2, 3, 2, 2, 2]

        await running(one, act)


@pytest.mark.parametrize("method", ["LIST", "HEAD", "DELETE"])
async def test_one_that_broke_off_is_begun_again(method: str) -> None:
    async def fail(exchange: Exchange, handler: Handler) -> None:
        if exchange.request.method == method:
            raise trio.BrokenResourceError("as told")
        await handler(exchange)

    async with world() as one:
        await one.have(0, 0, "missing")
        await one.have(1, 0, "orphan")
        nodes = [one.manifest(f"/{number}").nodes[0] for number in range(2)]
        one.gateway.nodes.mishaps = dict.fromkeys(nodes, fail)

        async def act(survey: Survey) -> None:
            assert not all(survey.is_surveyed(node) for node in nodes)
            one.gateway.nodes.mishaps.clear()
            await trio.sleep(2 * RETRY_S)
            assert all(survey.is_surveyed(node) for node in NODES)
            one.check()

        await running(one, act)


async def test_a_part_that_is_written_again_meanwhile_is_left() -> None:
    async def again(exchange: Exchange, handler: Handler) -> None:
        if exchange.request.method == "DELETE":
            one.gateway.nodes.mishaps.clear()
            await one.lay(spare, part, b"this is new")
        await handler(exchange)

    async with world() as one:
        await one.have(1, 4, "stale")
        part, spare = Part(one.manifest("/1").generation, 4), one.spare("/1")
        one.gateway.nodes.mishaps[spare] = again
        await surveyed(survey := make(one))
        assert await one.gateway.nodes.content(spare, part) == b"this is new"
        assert survey.collected_count == 0


async def test_that_the_metadata_is_an_old_copy_is_said() -> None:
    notes: list[str] = []
    async with world() as one:
        await one.have(1, 4, "beyond")
        await surveyed(Survey(one.store, one.gateway.membership, notes.append))
        [note] = notes
        assert "1 newer than the metadata, which must be an old copy" in note


async def test_what_a_node_had_goes_though_another_part_comes_there() -> None:
    async with world() as one:
        await one.have(1, 4, "stale")
        manifest, spare = one.manifest("/1"), one.spare("/1")
        coming = Swap(Part(manifest.generation, 2), manifest.nodes[2], spare)
        await one.change(lambda meta: meta.begin_swap(coming))
        await surveyed(make(one))
        assert Part(manifest.generation, 4) not in one.laid(spare)
