"""An origin with a real disk behind it: what memory may keep, and what a name shows."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.live import Upload
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
        upload: Upload = catalog.begin("/a", site.origin.server.settings.policy_table().for_key("/a"))
        upload.append([Data(bytes(MIB + 1), chunk_end=True)], max_bytes=2 * MIB)
        await upload.hand_over()
        catalog.delete("/a")
        await upload.hand_over(is_whole=True)
        assert (await site.put("/b", b"the disk works on")).status == 201
        assert catalog.shelf is not None
        assert catalog.shelf.usage()["live"] < 1000
