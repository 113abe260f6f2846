"""Every bit that is not what was written is found, and nothing else is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.cluster.heal import scrub as scrub_module
from chunkstore.cluster.heal.scrub import Scrub
from chunkstore.cluster.meta import Manifest
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.store import ClusterStore
from chunkstore.cluster.stripe import STRIPE_BYTES
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, put
from tests.cluster.nodes import signed
from tests.examples import examples

SIZES = [0, 1, 70_000, STRIPE_BYTES + 77]
PERIOD_S = 200.0


class Read(NamedTuple):
    """What a node was asked for."""

    at_s: float
    node: int
    path: str
    size_bytes: int


@dataclass
class World:
    """A cluster that has an object of each size, and what was asked of its nodes."""

    gateway: Gateway
    store: ClusterStore
    folder: Path
    notes: list[str] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def manifest(self, number: int) -> Manifest:
        found = self.store.manifest(f"/{number}")
        assert found is not None
        return found

    async def lay(self, number: int, index: int, change: Callable[[bytes], bytes]) -> None:
        """Have a part be another one on its node."""
        manifest = self.manifest(number)
        part, node = Part(manifest.generation, index), manifest.nodes[index]
        data = await self.gateway.nodes.content(node, part)
        assert data is not None
        data, path = change(data), part_path(part)
        site = self.gateway.nodes.sites[node]
        assert (await site.put(path, data, signed(path, len(data)))).status == 200

    @property
    def noted(self) -> set[tuple[int, int]]:
        """The objects, by their numbers, and the parts that were noted on their nodes."""
        found = set()
        for number in range(len(SIZES)):
            manifest = self.manifest(number)
            parts = self.store.damage.of(manifest.generation, manifest.nodes)
            found |= {(number, part) for part in parts}
        assert len(found) == self.store.damage.part_count
        return found

    @property
    def total_bytes(self) -> int:
        manifests = map(self.manifest, range(len(SIZES)))
        return sum(one.part_bytes * len(one.nodes) for one in manifests)

    def scrub(self, period_s: float = 1.0) -> Scrub:
        return Scrub(self.store, period_s, self.folder / "scrub", self.notes.append)

    async def whole_round(self, period_s: float = 1.0) -> Scrub:
        """Run one to the end of its round."""
        over = trio.CancelScope(deadline=trio.current_time() + 10 * PERIOD_S)

        def note(text: str) -> None:
            self.notes.append(text)
            over.cancel()

        scrub = Scrub(self.store, period_s, self.folder / "scrub", note)
        with over:
            await scrub.run()
        assert scrub.round_count == 1
        return scrub

    async def note(self, exchange: Exchange, handler: Handler) -> None:
        """A mishap that is none: reads are written down."""
        if exchange.request.method == "GET":
            span = re.fullmatch(r"bytes=(\d+)-(\d+)", exchange.request.fields.get("range") or "")
            assert span is not None
            node = next(
                number
                for number, site in self.gateway.nodes.sites.items()
                if site.origin.server is exchange.connection.server
            )
            size = int(span[2]) + 1 - int(span[1])
            self.reads.append(Read(trio.current_time(), node, exchange.request.path, size))
        await handler(exchange)

    def watch(self) -> None:
        self.gateway.nodes.mishaps = dict.fromkeys(self.gateway.nodes.sites, self.note)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with Gateway.open(7) as gateway, gateway.life() as store:
        for number, size in enumerate(SIZES):
            await put(store, f"/{number}", Random(size).randbytes(size))
        yield World(gateway, store, gateway._path.parent)


class Flip(NamedTuple):
    """A bit of a part."""

    number: int
    part: int
    where: float
    bit: int

    def of(self, data: bytes) -> bytes:
        changed = bytearray(data)
        changed[int(self.where * len(data))] ^= 1 << self.bit
        return bytes(changed)


FLIPS = st.builds(
    Flip,
    st.integers(0, len(SIZES) - 1),
    st.integers(0, 6),
    # Where most of what isn't payload is: at both ends.
    st.floats(0, 1, exclude_max=True)
    | st.floats(0, 0.001)
    | st.floats(0.9999, 1, exclude_max=True),
    st.integers(0, 7),
)


def test_each_flipped_bit_is_found_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub_module, "SPAN_STRIPES", 1)

    async def main(flips: list[Flip]) -> None:
        async with world() as one:
            for flip in flips:
                await one.lay(flip.number, flip.part, flip.of)
            scrub = await one.whole_round()
            flawed = {(flip.number, flip.part) for flip in flips}
            assert one.noted == flawed
            assert scrub.last is not None
            assert scrub.last.flaw_count == len(flawed)
            assert scrub.last.part_count == 7 * len(SIZES)
            assert scrub.last.left_out_count == 0

    @examples(15, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(FLIPS, max_size=8, unique_by=lambda flip: flip[:2]))
    def test(flips: list[Flip]) -> None:
        trio.run(main, flips, clock=MockClock(autojump_threshold=0))

    test()


@pytest.mark.parametrize("number", [0, 2, 3])
async def test_each_byte_of_a_description_and_a_header_counts(number: int) -> None:
    """Though the description is as long as before, and the magic, and the checksum are right."""
    async with world() as one:
        other = one.manifest(1)
        data = await one.gateway.nodes.content(other.nodes[0], Part(other.generation, 0))
        assert data is not None
        await one.lay(number, 0, lambda part: part[: -len(data) // 2] + data[-len(data) // 2 :])
        await one.lay(number, 1, lambda part: part + b"more")
        await one.lay(number, 2, lambda part: part[:-1])
        await one.lay(number, 3, lambda _: data)
        await one.whole_round()
        assert one.noted == {(number, index) for index in range(4)}


@pytest.mark.parametrize("kind", [404, 410, 500, "cut"])
async def test_what_a_node_cannot_read_is_a_flaw_of_that_part(kind: int | str) -> None:
    async def refuse(exchange: Exchange, handler: Handler) -> None:
        if exchange.request.path != path:
            await handler(exchange)
        elif isinstance(kind, int):
            await exchange.refuse(kind, "as told")
        else:
            size = manifest.part_bytes
            fields = f"Content-Range: bytes 0-{size - 1}/{size}\r\n".encode()
            await exchange.send([exchange.head(206, fields, size), b"CSu1"])
            raise trio.BrokenResourceError("as told")

    async with world() as one:
        manifest = one.manifest(2)
        path = part_path(Part(manifest.generation, 5))
        one.gateway.nodes.mishaps[manifest.nodes[5]] = refuse
        scrub = await one.whole_round()
        assert one.noted == {(2, 5)}
        assert scrub.last is not None
        assert scrub.last.left_out_count == 0


@pytest.mark.parametrize("kind", ["ending", "down", "stopped", "503", "once"])
async def test_a_node_that_does_not_say_is_left_out(kind: str) -> None:
    count = 0

    async def fail(exchange: Exchange, handler: Handler) -> None:
        nonlocal count
        count += 1
        if kind == "503":
            await exchange.refuse(503, "as told")
        elif count == 1:
            raise trio.BrokenResourceError("as told")
        else:
            await handler(exchange)

    async with world() as one:
        if kind == "ending":
            one.gateway.membership.members[3].is_ending = True
        elif kind == "stopped":
            one.gateway.nodes.stopped.add(3)
        else:
            one.gateway.nodes.mishaps[3] = fail  # on the connections that are kept, if it is down
            one.gateway.nodes.down |= {3} if kind == "down" else set()
        scrub = await one.whole_round()
        assert one.noted == set()
        assert scrub.last is not None
        assert scrub.last.left_out_count == (0 if kind == "once" else len(SIZES))
        assert scrub.last.part_count + scrub.last.left_out_count == 7 * len(SIZES)
        assert len(one.notes) == 1


async def test_a_node_that_goes_down_in_the_middle_is_left_out_from_then_on() -> None:
    async with world() as one:
        one.watch()
        scrub = one.scrub(PERIOD_S)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scrub.run)
            await trio.sleep(PERIOD_S / 2)
            counts = Counter(read.node for read in one.reads)
            node = min(one.gateway.nodes.sites, key=lambda number: counts[number])
            one.gateway.membership.members[node].is_ending = True
            asked = [read for read in one.reads if read.node == node]
            await trio.sleep(PERIOD_S / 2 + 10)
            assert scrub.last is not None
            assert 0 < scrub.last.left_out_count < len(SIZES)
            assert asked == [read for read in one.reads if read.node == node]
            assert one.noted == set()
            nursery.cancel_scope.cancel()


async def test_the_pace_is_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub_module, "SPAN_STRIPES", 1)
    async with world() as one:
        one.watch()
        one.gateway.membership.members[4].is_ending = True  # its time passes as the others' does
        began_s, total_bytes = trio.current_time(), one.total_bytes
        await one.whole_round(PERIOD_S)
        assert trio.current_time() - began_s == pytest.approx(PERIOD_S, rel=0.02)
        largest = 7 * max(read.size_bytes for read in one.reads) / total_bytes
        read_bytes = 0.0
        for read in one.reads:
            share = (read.at_s - began_s) / PERIOD_S
            assert abs(read_bytes * 7 / 6 / total_bytes - share) <= largest
            read_bytes += read.size_bytes


async def test_at_a_tiny_period_it_is_as_fast_as_it_can_and_empty_costs_nothing() -> None:
    async with Gateway.open(7) as gateway, gateway.life() as store:
        one = World(gateway, store, gateway._path.parent)
        async with trio.open_nursery() as nursery:
            nursery.start_soon((scrub := one.scrub(1.0)).run)
            await trio.sleep(300)
            assert scrub.round_count == 0
            assert one.notes == []
            await put(store, "/a", b"x")
            await trio.sleep(20)
            assert 18 <= scrub.round_count <= 28  # a throttle begins with a little saved up
            nursery.cancel_scope.cancel()
        never = Scrub(store, None, one.folder / "scrub", one.notes.append)
        await never.run()


async def test_what_is_replaced_or_deleted_meanwhile_is_no_flaw() -> None:
    async with world() as one:
        scrub = one.scrub(PERIOD_S)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scrub.run)
            await trio.sleep(1)
            for number in range(2, len(SIZES)):
                await put(one.store, f"/{number}", b"new")
            await trio.sleep(PERIOD_S)
            one.store.delete("/0", lambda _: None)
            await trio.sleep(3 * PERIOD_S)
            nursery.cancel_scope.cancel()
        assert scrub.round_count >= 2
        assert one.store.damage.found_count == 0


async def test_after_a_restart_it_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub_module, "REMEMBER_S", 0.0)
    async with world() as one:
        place = one.folder / "scrub"
        with trio.move_on_after(PERIOD_S * 0.5):
            await one.scrub(PERIOD_S).run()
        reached = int(place.read_text())
        assert one.manifest(2).generation <= reached < one.manifest(3).generation
        one.watch()
        await one.whole_round(PERIOD_S)
        generations = {int(read.path[7:23], 16) for read in one.reads}
        assert generations == {one.manifest(3).generation}
        one.reads.clear()
        place.write_text("whatever")
        await one.whole_round(PERIOD_S)
        assert len({read.path for read in one.reads}) == 7 * len(SIZES)
