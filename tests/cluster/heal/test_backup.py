"""Copies of the metadata: how many there are, when they are made, and what one is good for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from chunkstore.cluster.heal.backup import LOOK_S, RETRY_S, Backup
from chunkstore.cluster.names import BACKUPS, parse_backup
from chunkstore.cluster.store import ClusterStore
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, inline, put
from tests.cluster.recover.test_recovery import recovered
from tests.origin.drive import WALL_S

EVERY_S = 1000.0


class Scene:
    """A cluster that makes copies."""

    def __init__(self, gateway: Gateway, store: ClusterStore) -> None:
        self.gateway = gateway
        self.store = store
        self.notes: list[str] = []

    def held(self) -> dict[int, set[int]]:
        """Numbers of the copies, and who has each."""
        held: dict[int, set[int]] = {}
        for node, site in self.gateway.nodes.sites.items():
            for one in site.origin.catalog.namespace.page(BACKUPS, "", "", 99).items:
                found = parse_backup(one if isinstance(one, str) else one.key)
                assert found is not None
                assert found[0] == self.gateway.meta.cluster_id
                held.setdefault(found[1], set()).add(node)
        return held


@asynccontextmanager
async def scene(gateway: Gateway, folder: Path) -> AsyncIterator[Scene]:
    """A life in which copies are made every 1000 s."""
    async with gateway.life() as store, trio.open_nursery() as nursery:
        one = Scene(gateway, store)
        backup = Backup(
            store, gateway.meta, folder, EVERY_S, one.notes.append,
            wall_s=lambda: WALL_S + trio.current_time(),
        )  # fmt: skip
        nursery.start_soon(backup.run)
        yield one
        nursery.cancel_scope.cancel()
    assert not list(folder.iterdir())  # noqa: ASYNC240 - a test's own


async def test_three_nodes_have_the_newest_two_and_no_older_ones(tmp_path: Path) -> None:
    async with Gateway.open(7) as gateway, scene(gateway, tmp_path) as it:
        await put(it.store, "/a", b"1")
        await trio.sleep(LOOK_S + 1)
        [first] = it.held()
        assert len(it.held()[first]) == 3
        await trio.sleep(3 * EVERY_S)
        assert list(it.held()) == [first]  # nothing has changed
        numbers = [first]
        for i in range(3):
            await put(it.store, "/a", b"%d" % i)
            await trio.sleep(EVERY_S + LOOK_S + 1)
            numbers.append(max(it.held()))
            assert sorted(it.held()) == numbers[-2:]
            assert all(len(nodes) == 3 for nodes in it.held().values())
        assert numbers == sorted(set(numbers))
        assert not it.notes


async def test_a_node_that_refuses_is_done_without(tmp_path: Path) -> None:
    async def refuse(exchange: Exchange, handler: Handler) -> None:
        if exchange.request.path.startswith(BACKUPS):
            await exchange.refuse(507, "full")
        else:
            await handler(exchange)

    async with Gateway.open(7) as gateway:
        gateway.nodes.mishaps = dict.fromkeys((1, 2, 3, 4), refuse)
        async with scene(gateway, tmp_path) as it:
            await trio.sleep(LOOK_S + 1)
            assert list(it.held().values()) == [{5, 6, 7}]
            assert not it.notes


async def test_what_goes_on_is_said_once(tmp_path: Path) -> None:
    async def refuse(exchange: Exchange, _: Handler) -> None:
        await exchange.refuse(507, "full")

    async with Gateway.open(5) as gateway:
        gateway.nodes.mishaps = dict.fromkeys(range(1, 6), refuse)
        async with scene(gateway, tmp_path) as it:
            await trio.sleep(10 * RETRY_S)
            assert it.held() == {}
            [said] = it.notes
            assert "0 of 3 nodes" in said
            assert "507" in said
            gateway.nodes.mishaps.clear()
            await trio.sleep(RETRY_S + LOOK_S + 1)
            [nodes] = it.held().values()
            assert len(nodes) == 3
            assert it.notes[1:] == ["the metadata is copied to 3 nodes again"]


@pytest.mark.parametrize("damage", ["none", "newest", "all"])
async def test_a_copy_saves_asking_parts_and_knows_what_was_deleted(
    tmp_path: Path, damage: str
) -> None:
    async with Gateway.open(7) as gateway:
        async with scene(gateway, tmp_path) as it:
            await put(it.store, "/a", b"first")
            await put(it.store, "/b", b"b")
            await trio.sleep(LOOK_S + 1)
            await put(it.store, "/a", b"second")
            await trio.sleep(EVERY_S + LOOK_S + 1)
            await put(it.store, "/a", b"third")
            await put(it.store, "/c", b"c")
            numbers = sorted(it.held())
            for number in {"none": [], "newest": numbers[1:], "all": numbers}[damage]:
                for node in it.held()[number]:
                    await spoil(it, node, number)
            before = {key: it.store.manifest(key) for key in ("/a", "/b", "/c")}
        report, after = await recovered(gateway, tmp_path / "new", range(1, 7))
        # Node 7 is away, and is believed to have what it had, as far as anybody knows.
        if damage == "all":
            assert set(after) == set(before)
            assert report.described_count == 3
        else:
            assert after["/b"] == before["/b"]
            assert report.described_count == 2
            assert report.gone_count == 1
        for key, one in before.items():
            assert one is not None
            assert after[key].generation == one.generation
            assert after[key].facts == one.facts


async def spoil(it: Scene, node: int, number: int) -> None:
    """Have a node have something else in place of a copy."""

    async def body() -> AsyncIterator[bytes]:
        yield b"no copy"

    path = f"{BACKUPS}{it.gateway.meta.cluster_id}.{number:016x}"
    async with it.store.fetcher.links.request(
        node, "PUT", path, generation=None, body=body(), length=7
    ) as answer:
        await answer.body()
        assert answer.status in (200, 201)


async def test_a_folder_that_can_not_be_used_is_no_end(tmp_path: Path) -> None:
    async with Gateway.open(7) as gateway, scene(gateway, tmp_path) as it:
        (tmp_path / "backup.sqlite").mkdir()
        await trio.sleep(LOOK_S + 1)
        assert it.held() == {}
        [note] = it.notes
        assert note.startswith("the metadata is copied to 0 of 3 nodes: ")
        (tmp_path / "backup.sqlite").rmdir()
        await trio.sleep(RETRY_S + LOOK_S)
        assert len(it.held()) == 1
        assert it.notes[1:] == ["the metadata is copied to 3 nodes again"]


async def test_a_file_that_goes_meanwhile_is_no_end(tmp_path: Path) -> None:
    async def losing(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
        made = await inline(call)
        if getattr(call, "__name__", "") == "_pack":
            (tmp_path / "backup.sqlite.z").unlink()
            it.store.in_thread = inline
        return made

    async with Gateway.open(7) as gateway, scene(gateway, tmp_path) as it:
        it.store.in_thread = losing
        await trio.sleep(LOOK_S + 1)
        assert it.held() == {}
        await trio.sleep(RETRY_S + LOOK_S)
        assert len(it.held()) == 1
        assert len(it.notes) == 2
