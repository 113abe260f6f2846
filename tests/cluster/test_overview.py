"""All objects are counted when somebody asks, not too often, and without stopping anybody."""

from __future__ import annotations

from typing import Any

import trio

from chunkstore.cluster.meta import Manifest
from chunkstore.cluster.overview import COST_FACTOR, FRESH_S, STEP_COUNT, Overview
from chunkstore.cluster.status import CONDITIONS
from chunkstore.cluster.store import ClusterStore
from tests.cluster.gateway import Gateway, put


def conditions(members: dict[str, Any]) -> dict[str, int]:
    """The objects of a status, by condition, where there are some."""
    return {name: members["objects"][name] for name in CONDITIONS if members["objects"][name]}


async def test_a_count_holds_for_a_while_unless_nodes_come_or_go() -> None:
    async with Gateway.open(7) as gateway, gateway.life() as store:
        overview = Overview(gateway.membership, store)
        await put(store, "/a", b"abc")
        members = await overview.status()
        assert (members["parity"], members["parity_note"], members["repair"]) == (2, "", None)
        assert conditions(members) == {"whole": 1}
        await put(store, "/b", b"")
        assert conditions(await overview.status()) == {"whole": 1}
        await trio.sleep(FRESH_S)
        members = await overview.status()
        assert conditions(members) == {"whole": 2}
        assert (members["objects"]["count"], members["objects"]["bytes"]) == (2, 3)
        gateway.membership.members[3].is_ending = True
        members = await overview.status()
        assert conditions(members) == {"one_short": 2}
        assert [row["number"] for row in members["nodes"] if not row["is_up"]] == [3]
        assert members["trouble"] == ["node 3 at node3.test:80 is gone"]


async def test_damage_counts_until_it_is_mended() -> None:
    async with Gateway.open(7) as gateway, gateway.life() as store:
        overview = Overview(gateway.membership, store)
        await put(store, "/a", b"abc")
        manifest = store.manifest("/a")
        assert manifest is not None
        store.damage.note(manifest.generation, 2, manifest.nodes[2])
        members = await overview.status()
        assert conditions(members) == {"one_short": 1}
        assert members["damaged_parts"] == {"known": 1, "found": 1, "mended": 0}
        store.damage.mended(manifest.generation, 2)
        await trio.sleep(FRESH_S)
        assert conditions(await overview.status()) == {"whole": 1}


class Many:
    """A store with many objects, one of which goes while they are counted."""

    def __init__(self, store: ClusterStore, count: int) -> None:
        self.damage, self.trouble = store.damage, store.trouble
        self.count = count
        self.passes = 0

    def keys(self) -> list[str]:
        """All names."""
        self.passes += 1
        return [str(number) for number in range(self.count)]

    def manifest(self, key: str) -> Manifest | None:
        """Of one that isn't the one that goes."""
        return None if key == "7" else Manifest(key, 1, 1, 1, 5, (1, 2, 3, 4, 5), b"")


async def test_others_run_while_many_are_counted_and_who_asks_meanwhile_waits() -> None:
    async with Gateway.open(5) as gateway, gateway.life() as store:
        many = Many(store, 20 * STEP_COUNT)
        overview = Overview(gateway.membership, many)  # type: ignore[arg-type]  # as much as is asked
        turns = 0

        async def run() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async def ask() -> None:
            members = await overview.status()
            assert conditions(members) == {"whole": many.count - 1}
            assert members["parity_note"] == "no parity: a sixth and seventh node add it"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async with trio.open_nursery() as asking:
                for _ in range(3):
                    asking.start_soon(ask)
            nursery.cancel_scope.cancel()
        assert turns >= 20
        assert many.passes == 1


async def test_what_takes_long_is_counted_rarely() -> None:
    async with Gateway.open(5) as gateway, gateway.life() as store:
        many = Many(store, 1)
        overview = Overview(gateway.membership, many)  # type: ignore[arg-type]  # as above

        async def slow(tally: object) -> object:
            many.passes += 1
            await trio.sleep(1)
            return tally

        overview._counted = slow  # type: ignore[method-assign,assignment]  # a count that takes a second
        for _ in range(2 * COST_FACTOR):
            for member in gateway.membership.members.values():
                member.heard_s = trio.current_time()
            await overview.figures()
            await trio.sleep(1)
        assert many.passes == 2


async def test_where_an_object_is() -> None:
    async with Gateway.open(7) as gateway, gateway.life() as store:
        overview = Overview(gateway.membership, store)
        await put(store, "/ü b&c", bytes(100))
        manifest = store.manifest("/ü b&c")
        assert manifest is not None
        members = await overview.manifest("key=%2F%C3%BC%20b%26c")
        assert members == {
            "key": "/ü b&c",
            "generation": manifest.generation,
            "size_bytes": 100,
            "part_bytes": manifest.part_bytes,
            "k": 5,
            "nodes": list(manifest.nodes),
        }
        for query in ("", "key=", "key=%2Fnone", "other=%2Fa", "key=%ff"):
            assert await overview.manifest(query) is None


async def test_what_works_by_itself_says_how_far_it_is() -> None:
    async with Gateway.open(5) as gateway, gateway.life() as store:
        overview = Overview(gateway.membership, store, others={"scrub": lambda: {"parts": 3}})
        members = await overview.status()
        assert (members["scrub"], members["move"], members["survey"]) == ({"parts": 3}, None, None)
