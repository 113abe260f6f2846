"""Room: what has none waits visibly, comes once there is some, and takes nobody down with it."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from chunkstore.testing import Content, Fault, Storage
from chunkstore.worker import (
    ChunkManager,
    DataChunk,
    Fetching,
    FileRecord,
    State,
    WorkerConfig,
    open_manager,
)
from chunkstore.worker.fetch import file as file_module
from chunkstore.worker.fetch import retry as retry_module
from tests.worker.flaky import FlakyFiles, Threads

SIZE_BYTES = 1000
LONG_S = 1e6


class Stage:
    """A manager over a storage and a disk, both of which do as they are told."""

    def __init__(self, manager: ChunkManager, storage: Storage, files: FlakyFiles) -> None:
        self.manager = manager
        self.storage = storage
        self.files = files

    def want(self, number: int, *, is_declared: bool = True) -> DataChunk:
        """Ask for a chunk of 1000 bytes."""
        path = f"/{number}"
        self.storage.put(path, Content(number, SIZE_BYTES))
        record = FileRecord(f"http://x.test{path}", SIZE_BYTES if is_declared else None)
        chunk = DataChunk(bytes([number]) * 32, b"d" * 32, range(number, number + 1), {"a": record})
        self.manager.download_chunk(chunk)
        return chunk

    async def rest(self) -> dict[State, int]:
        """How it stands, once nothing is under way."""
        with trio.fail_after(LONG_S):
            await self.manager.settled()
        return self.manager.status().counts


@asynccontextmanager
async def stage(folder: Path, **limits: Any) -> AsyncGenerator[Stage]:  # noqa: ANN401 - of a config
    """As long as the context lasts."""
    storage, files, threads = Storage(), FlakyFiles(), Threads(Random(1))
    config = WorkerConfig(**{"reserve_bytes": 0, "backoff_s": 0.1, **limits})
    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        making = partial(Fetching, connect=storage.connect, files=files, in_thread=threads)
        async with open_manager(
            folder / "data", config, fetching=making, files=files, in_thread=threads
        ) as manager:
            yield Stage(manager, storage, files)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_declared", [True, False])
async def test_over_quota_a_chunk_waits_visibly_until_another_goes(
    is_declared: bool, tmp_path: Path
) -> None:
    async with stage(tmp_path, quota_bytes=2500, chunks_max=1) as there:
        chunks = [there.want(number, is_declared=is_declared) for number in range(4)]
        assert await there.rest() == {State.READY: 2, State.WAITING: 2}
        status = there.manager.status()
        assert (status.stored_bytes, status.claimed_bytes) == (2000, 0)
        assert {one.state for one in status.others} == {State.WAITING}
        asked = len(there.storage.asked)
        await trio.sleep(1000)
        assert len(there.storage.asked) == asked
        there.manager.delete_chunk(chunks[0].id)
        assert await there.rest() == {State.READY: 2, State.WAITING: 1}
        there.manager.set_desired(chunks[1:3])
        assert await there.rest() == {State.READY: 2}


async def test_a_smaller_one_goes_before_it(tmp_path: Path) -> None:
    async with stage(tmp_path, quota_bytes=1500) as there:
        there.storage.put("/big", Content(9, 1600))
        record = FileRecord("http://x.test/big", 1600)
        there.manager.download_chunk(DataChunk(b"b" * 32, b"d" * 32, range(99, 100), {"a": record}))
        there.want(1)
        assert await there.rest() == {State.READY: 1, State.WAITING: 1}


async def test_one_that_does_not_say_its_size_goes_no_further_than_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "WRITE_BYTES", 10_000)
    async with stage(tmp_path, quota_bytes=50_000) as there:
        there.storage.put("/big", Content(9, 10**6))
        there.storage.trouble("/big", Fault.SHORT)
        url = "http://x.test/big"
        there.manager.download_chunk(DataChunk(b"b" * 32, b"d" * 32, range(9), {"a": url}))
        assert await there.rest() == {State.WAITING: 1}
        (one,) = there.manager.status().others
        assert one.error.endswith("and there is no room for them")
        assert 0 < one.written_bytes <= 50_000 + 2 * 64 * 1024


async def test_who_is_asked_to_wait_for_long_holds_up_nobody_and_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_module, "ASKED_MOST_S", 1.0)
    async with stage(tmp_path, chunks_max=1) as there:
        there.storage.trouble("/1", Fault.BUSY)
        patient, other = there.want(1), there.want(2)
        await there.manager.wait_for(other.id)
        assert [one.id for one in there.manager.list_chunks()] == [other.id]
        await there.manager.wait_for(patient.id)
        assert trio.current_time() >= 2
        assert len(there.storage.asked) == 3


@pytest.mark.parametrize("is_assigned", [False, True])
async def test_asked_for_again_it_may_have_another_size(is_assigned: bool, tmp_path: Path) -> None:
    async with stage(tmp_path, quota_bytes=2500) as there:
        there.storage.put("/big", Content(9, 5000))
        chunk = DataChunk(b"b" * 32, b"d" * 32, range(9), {"a": "http://x.test/big"})
        there.manager.download_chunk(chunk)
        assert await there.rest() == {State.WAITING: 1}
        there.storage.put("/big", Content(9, 1000))
        if is_assigned:
            there.manager.set_desired([replace(chunk, files={"a": "http://y.test/big"})])
        else:
            there.manager.download_chunk(chunk)
        await trio.sleep(60)
        assert await there.rest() == {State.READY: 1}


async def test_what_lies_there_of_the_last_life_counts(tmp_path: Path) -> None:
    async with stage(tmp_path) as there:
        there.want(1)
        await there.rest()
        there.storage.trouble("/2", Fault.CUT, *[Fault.STALL] * 9)
        there.want(2)
        await trio.sleep(5)
        came = there.manager.status().claimed_bytes
        assert came
    async with stage(tmp_path, quota_bytes=2000) as there:
        there.want(3)
        await trio.sleep(5)
        await there.rest()
        status = there.manager.status()
        assert (
            status.stored_bytes + status.claimed_bytes
            == 1000 + os.stat(next((tmp_path / "data" / "incoming").rglob(".a.part"))).st_size
        )
        assert status.counts == {State.READY: 1, State.WAITING: 1}
        there.manager.delete_chunk(b"\x02" * 32)
        assert await there.rest() == {State.READY: 2}


async def test_a_full_disk_is_looked_at_again(tmp_path: Path) -> None:
    async with stage(tmp_path, reserve_bytes=500) as there:
        there.files.free = 1499
        there.want(1)
        assert await there.rest() == {State.WAITING: 1}
        await trio.sleep(1000)
        assert await there.rest() == {State.WAITING: 1}
        there.files.free = 1500  # somebody else's files went
        await trio.sleep(11)
        assert await there.rest() == {State.READY: 1}


@pytest.mark.parametrize("kind", ["write", "sync", "make_folder", "rename", "sync_folder"])
async def test_no_space_left_pauses_admission_and_nobody_dies(kind: str, tmp_path: Path) -> None:
    async with stage(tmp_path) as there:
        chunk = there.want(1)
        await there.rest()
        reference = there.manager.find_chunk(chunk.dataset_id, 1)
        assert reference is not None
        there.files.due.extend([(kind, errno.ENOSPC)] * 2)
        there.want(2)
        await trio.sleep(0.9)
        assert (reference.path / "a").read_bytes() == Content(1, SIZE_BYTES).data
        await trio.sleep(100)
        reference.close()
        assert await there.rest() == {State.READY: 2}
        assert there.files.failed == 2


async def test_what_can_not_be_noted_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path, quota_bytes=500) as there:
        there.files.due.extend([("create", errno.ENOSPC)] * 3)
        there.want(1)
        await trio.sleep(7)
        assert there.manager.status().notes_error.endswith("No space left on device")
        assert await there.rest() == {State.WAITING: 1}
        assert there.manager.status().notes_error == ""
        assert len(os.listdir(tmp_path / "data" / "wanted")) == 1


async def test_removals_that_fail_are_tried_again_and_keep_nobody(tmp_path: Path) -> None:
    async with stage(tmp_path) as there:
        chunks = [there.want(number) for number in range(4)]
        await there.rest()
        there.files.due.extend([("rename", errno.EIO)] * 2)
        there.manager.set_desired(chunks[3:])
        await trio.sleep(2)
        status = there.manager.status()
        assert status.counts == {State.READY: 1, State.REMOVING: 2}
        assert {one.error for one in status.others} == {"it can't be removed: Input/output error"}
        assert await there.rest() == {State.READY: 1}
        assert there.manager.status().stored_bytes == SIZE_BYTES


async def test_an_end_does_not_wait_for_downloads(tmp_path: Path) -> None:
    async with stage(tmp_path) as there:
        there.storage.trouble("/1", Fault.STALL)
        there.want(1)
        await trio.sleep(5)
        ended_s = trio.current_time()
    assert trio.current_time() - ended_s < 2


async def test_a_publish_that_fails_behind_its_rename_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as there:
        plain: Callable[[Path], None] = there.files.sync_folder
        failures = [1, 1]

        def sync_folder(folder: Path) -> None:
            if folder.name == (b"d" * 32).hex() and failures:
                failures.pop()
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            plain(folder)

        monkeypatch.setattr(there.files, "sync_folder", sync_folder)
        chunk = there.want(1)
        with trio.fail_after(LONG_S):
            await there.manager.wait_for(chunk.id)
        assert not failures
        assert there.storage.sent_bytes("/1") == SIZE_BYTES
        assert await there.rest() == {State.READY: 1}


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_a_note_that_was_half_taken_back_is_made_again(failures: int, tmp_path: Path) -> None:
    """Its file is gone, and that wasn't durable, when the chunk is asked for once more."""
    async with stage(tmp_path) as there:
        chunk = there.want(1)
        there.storage.trouble("/1", *[Fault.LOST] * 2)
        assert await there.rest() == {State.FAILED: 1}
        there.files.due += [("sync_folder", errno.ENOSPC)] * failures
        there.manager.delete_chunk(chunk.id)
        await trio.sleep(1)
        there.manager.download_chunk(chunk)
        await there.rest()
        assert len(os.listdir(tmp_path / "data" / "wanted")) == 1
