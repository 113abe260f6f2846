"""An origin with a real disk behind it: what memory may keep, and what a name shows."""

from __future__ import annotations

import errno
import math
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.errors import CapacityError
from chunkstore.policy import Policy
from chunkstore.store.disk import DataDir, DiskStore, Engine, Files
from chunkstore.store.disk.files import Buffer
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
            yield await Site.open(nursery, disk=disk, data=str(folder), **changes)
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


class FailingFiles(Files):
    """A disk that syncs when its gate is open, and fails to write when told to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.fails = False

    def sync(self, fd: int) -> None:
        assert self.gate.wait(DEADLINE_S)
        super().sync(fd)

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        if self.fails:
            raise OSError(errno.EIO, "Input/output error")
        super().write(fd, pieces, position)


def go_on(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Unix time goes on by so much."""
    later = SimpleNamespace(time=lambda: time.time() + seconds)
    monkeypatch.setattr("chunkstore.live.shelf.time", later)


EVICT = {"match": "/evict/*", "evict": True}


async def test_commits_that_are_told_together_evict_once(tmp_path: Path) -> None:
    files = FailingFiles()
    async with opened(tmp_path, files, limit_bytes=60 * MIB, policies=[EVICT]) as site:
        for number in range(38):  # 0.65 of 60 are 39
            assert (await site.put(f"/evict/{number}", bytes(MIB))).status == 201
        files.gate.clear()
        clients = [site.connect() for _ in range(8)]
        for number, client in enumerate(clients):
            await client.request("PUT", f"/evict/new{number}", body=bytes(MIB))
        await wait_all_tasks_blocked()
        files.gate.set()
        for client in clients:
            assert (await client.read("PUT")).status == 201
        assert 7 <= site.origin.metrics.evicted <= 9
        assert len(await site.list("/evict/new")) == 8


async def test_what_may_go_goes_when_a_start_finds_too_much(tmp_path: Path) -> None:
    async with opened(tmp_path, policies=[EVICT]) as site:
        for number in range(10):
            assert (await site.put(f"/evict/{number}", bytes(MIB))).status == 201
        assert (await site.put("/stay", bytes(MIB))).status == 201
    async with opened(tmp_path, limit_bytes=9 * MIB, policies=[EVICT]) as site:
        assert (await site.put("/new", bytes(MIB))).status == 507
        names = await site.list()
        assert "/stay" in names
        assert 3 <= len(names) <= 6


async def test_what_stays_makes_what_may_go_leave(tmp_path: Path) -> None:
    async with opened(tmp_path, limit_bytes=16 * MIB, policies=[EVICT]) as site:
        for number in range(10):
            assert (await site.put(f"/evict/{number}", bytes(MIB))).status == 201
        assert (await site.put("/stay", bytes(2 * MIB))).status == 201
        assert site.origin.metrics.evicted == 2


async def test_a_start_shows_nothing_whose_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, ttl_s=60) as site:
        assert (await site.put("/a", b"x")).status == 201
    go_on(monkeypatch, 61)
    async with opened(tmp_path) as site:
        shelf = site.origin.catalog.shelf
        assert shelf is not None
        assert not list(shelf.load())
        await wait_all_tasks_blocked()
    go_on(monkeypatch, 0)
    async with opened(tmp_path) as site:
        assert not await site.list()


async def test_what_expired_does_not_come_back_when_an_overwrite_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FailingFiles()
    async with opened(tmp_path, files, ttl_s=60) as site:
        assert (await site.put("/a", b"old")).status == 201
        files.fails = True
        assert (await site.put("/a", b"new")).status == 500
        assert (await site.get("/a")).body == b"old"
        go_on(monkeypatch, 61)
        assert (await site.put("/a", b"new")).status == 500
        assert (await site.get("/a")).status == 404
        files.fails = False


async def test_what_a_failed_delete_left_still_expires(tmp_path: Path) -> None:
    files = FailingFiles()
    async with opened(tmp_path, files, ttl_s=60) as site:
        assert (await site.put("/a", b"x")).status == 201
        files.fails = True
        assert (await site.ask("DELETE", "/a")).status == 500
        files.fails = False
        due = site.origin.catalog.store.expired(math.inf)
        assert [name for name, _ in due] == ["/a"]
