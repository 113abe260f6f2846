"""An origin with a real disk behind it: what memory may keep, and what a name shows."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.errors import CapacityError
from chunkstore.policy import Policy
from chunkstore.store.disk import DataDir, DiskStore, Engine, Files
from chunkstore.wire import Data
from tests.origin.drive import Site

DEADLINE_S = 30
MIB = 2**20


@asynccontextmanager
async def opened(
    folder: Path,
    files: Files | None = None,
    *,
    limit_bytes: int | None = None,
    **changes: Any,  # noqa: ANN401 - as the fields of Settings
) -> AsyncIterator[Site]:
    """An origin that keeps its objects in a folder."""
    data = DataDir(folder)
    engine = Engine(data, files or Files())
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            disk = DiskStore(engine, limit_bytes=limit_bytes)
            yield await Site.open(nursery, disk=disk, **changes)
            nursery.cancel_scope.cancel()
    engine.close()
    data.close()


async def test_an_endless_upload_that_falls_idle_is_stored_whole(tmp_path: Path) -> None:
    policy = {"match": "/endless", "on_idle": "complete", "upload_idle": "10ms"}
    async with opened(tmp_path, policies=[policy]) as site:
        upload = await site.upload("/endless")
        await upload.chunk(b"no last-chunk")
        assert (await upload.answer()).status == 201
    async with opened(tmp_path) as site:
        assert (await site.get("/endless")).body == b"no last-chunk"


async def test_what_is_handed_over_behind_a_delete_is_thrown_away(tmp_path: Path) -> None:
    # The delete and the upload's last bytes came at once: its task hears of one after the other.
    async with opened(tmp_path) as site:
        catalog = site.origin.catalog
        upload = catalog.begin("/a", Policy())
        upload.append([Data(bytes(MIB + 1), chunk_end=True)], max_bytes=2 * MIB)
        await upload.hand_over()
        catalog.delete("/a")
        await upload.hand_over(is_whole=True)
        assert (await site.put("/b", b"the disk works on")).status == 201
        assert catalog.shelf is not None
        assert catalog.shelf.usage()["live"] < 1000


async def test_reading_takes_no_more_memory_than_there_is(tmp_path: Path) -> None:
    names = [f"/{number}" for number in range(10)]
    async with opened(tmp_path) as site:
        for name in names:
            assert (await site.put(name, name.encode() * 50_000)).status == 201
    async with opened(tmp_path, memory_bytes=300_000) as site:
        for name in names:
            assert (await site.get(name)).body == name.encode() * 50_000
            assert 100_000 < site.used_bytes <= 300_000


async def test_knowing_of_objects_takes_no_more_memory_than_there_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as site:
        for number in range(20):
            assert (await site.put(f"/{number}", b"x")).status == 201
    async with opened(tmp_path, memory_bytes=10_000) as site:
        for number in range(20):
            assert (await site.ask("HEAD", f"/{number}")).status == 200
            assert site.used_bytes <= 10_000


async def test_a_small_object_is_sent_from_disk_while_memory_has_no_room(tmp_path: Path) -> None:
    async with opened(tmp_path) as site:
        assert (await site.put("/a", bytes(100_000))).status == 201
    async with opened(tmp_path, memory_bytes=150_000) as site:
        upload = await site.upload("/b")
        await upload.chunk(bytes(100_000))
        assert (await site.get("/a")).body == bytes(100_000)
        assert site.used_bytes <= 150_000
        assert (await upload.end()).status == 201


class GatedReads(Files):
    """A disk that waits before each read, as long as the gate is shut."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()

    def read(self, fd: int, size: int, position: int) -> bytes:
        self.waiting.set()
        assert self.gate.wait(DEADLINE_S)
        return super().read(fd, size, position)


async def test_a_playlist_whose_memory_is_wanted_while_it_is_read(tmp_path: Path) -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n"
    async with opened(tmp_path) as site:
        assert (await site.put("/a.m3u8", playlist)).status == 201
    files = GatedReads()
    async with opened(tmp_path, files) as site:
        files.gate.clear()
        files.waiting.clear()
        client = site.connect()
        await client.request("GET", "/a.m3u8?_HLS_msn=-")
        assert await trio.to_thread.run_sync(files.waiting.wait, DEADLINE_S)
        limit_bytes = site.origin.catalog.store.limit_bytes
        with pytest.raises(CapacityError):
            site.origin.catalog.make_room(limit_bytes)  # it has a reader
        files.gate.set()
        assert (await client.read()).status == 400  # it was looked into
        await wait_all_tasks_blocked()
        site.origin.catalog.make_room(limit_bytes)
        assert not site.used_bytes


async def test_a_small_object_that_lacks_bytes_is_told_as_damaged(tmp_path: Path) -> None:
    async with opened(tmp_path) as site:
        assert (await site.put("/a", b"y" * 1000)).status == 201
        assert (await site.put("/b", b"z" * 1000)).status == 201
    volume = tmp_path / "volumes" / "00000001.vol"
    data = bytearray(volume.read_bytes())
    data[data.index(b"y" * 1000) - 20] ^= 1  # in the head of its run
    volume.write_bytes(data)
    (tmp_path / "index.sqlite").unlink()
    async with opened(tmp_path) as site:
        assert (await site.get("/a")).status == 500
        assert site.origin.metrics.reads_failed == 1
        assert (await site.get("/b")).status == 200
