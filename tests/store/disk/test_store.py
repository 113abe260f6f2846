"""The engine behind tasks: who waits, who is told, and what a cancelled one leaves."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from chunkstore.errors import DamagedError, DiskError, DiskFullError
from chunkstore.store.disk import DataDir, DiskStore, DiskUpload, Engine, Files
from chunkstore.store.disk.engine import VOLUME_BYTES
from chunkstore.store.disk.files import Buffer
from chunkstore.store.disk.store import QUEUE_BYTES
from tests.store.disk.load import content_of

DEADLINE_S = 30
MIB = 2**20


class GatedFiles(Files):
    """A disk that waits before each sync, as long as the gate is shut, and fails when told to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.sync_count = 0
        self.write_error: OSError | None = None
        self.sync_error: OSError | None = None

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        if self.write_error is not None:
            raise self.write_error
        super().write(fd, pieces, position)

    def sync(self, fd: int) -> None:
        self.sync_count += 1
        self.waiting.set()
        assert self.gate.wait(DEADLINE_S)
        if self.sync_error is not None:
            error, self.sync_error = self.sync_error, None
            raise error
        super().sync(fd)

    def shut(self) -> None:
        """Let nothing through any more."""
        self.gate.clear()
        self.waiting.clear()

    async def until_waiting(self) -> None:
        """The thread stands before the gate."""
        assert await trio.to_thread.run_sync(self.waiting.wait, DEADLINE_S)


@asynccontextmanager
async def opened(
    folder: Path,
    files: Files | None = None,
    *,
    volume_bytes: int = VOLUME_BYTES,
) -> AsyncIterator[DiskStore]:
    """A store at work."""
    data = DataDir(folder)
    engine = Engine(data, files or Files(), volume_bytes=volume_bytes)
    store = DiskStore(engine)
    try:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(store.run)
                try:
                    yield store
                finally:
                    if isinstance(files, GatedFiles):
                        files.gate.set()
                nursery.cancel_scope.cancel()
    finally:
        store.engine.close()
        data.close()


async def commit(upload: DiskUpload, size_bytes: int) -> None:
    """Wait until an upload is what its name has.

    Raises:
        DiskError: it can't be.
    """
    done = trio.Event()
    errors: list[DiskError | None] = []

    def tell(error: DiskError | None) -> None:
        errors.append(error)
        done.set()

    upload.commit(size_bytes, b"", tell)
    await done.wait()
    for error in errors:
        if error is not None:
            raise error


async def put(store: DiskStore, key: str, content: bytes) -> None:
    """A whole upload."""
    upload = store.begin(key)
    for offset in range(0, len(content), MIB):
        await upload.append([content[offset : offset + MIB]])
    await commit(upload, len(content))


async def delete(store: DiskStore, key: str, *, is_urgent: bool = True) -> DiskError | None:
    """Wait until a name is gone; or why it isn't."""
    done = trio.Event()
    errors: list[DiskError | None] = []

    def tell(error: DiskError | None) -> None:
        errors.append(error)
        done.set()

    store.delete(key, tell, is_urgent=is_urgent)
    await done.wait()
    return errors[0]


async def contents(folder: Path) -> dict[str, bytes | None]:
    """What a start finds."""
    async with opened(folder) as store:
        return {key: content_of(store.engine, key) for key, *_ in store.objects()}


async def test_what_was_committed_is_there_after_a_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, "/a", b"x" * (MIB + 5))
        await put(store, "/b", b"two")
        await put(store, "/c", b"three")
        await delete(store, "/b")
    assert await contents(tmp_path) == {"/a": b"x" * (MIB + 5), "/c": b"three"}


async def test_commits_that_come_during_a_sync_share_the_next(tmp_path: Path) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store, trio.open_nursery() as nursery:
        files.shut()
        nursery.start_soon(put, store, "/first", b"x")
        await files.until_waiting()
        before = files.sync_count
        for number in range(63):
            nursery.start_soon(put, store, f"/{number}", b"x")
        await trio.testing.wait_all_tasks_blocked()
        files.gate.set()
    assert files.sync_count <= before + 1 + 1  # theirs, and that of the clean end
    assert len(await contents(tmp_path)) == 64


async def test_a_commit_is_not_told_before_it_is_durable(tmp_path: Path) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store, trio.open_nursery() as nursery:
        files.shut()
        told = trio.Event()

        async def commit() -> None:
            await put(store, "/a", b"x")
            told.set()

        nursery.start_soon(commit)
        await files.until_waiting()
        await trio.testing.wait_all_tasks_blocked()
        assert not told.is_set()
        files.gate.set()
        await told.wait()


async def test_uploads_wait_while_too_much_waits_for_the_disk(tmp_path: Path) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store, trio.open_nursery() as nursery:
        files.shut()
        nursery.start_soon(put, store, "/first", b"x")
        await files.until_waiting()
        upload, run = store.begin("/a"), bytes(MIB)
        with trio.move_on_after(0.2):
            while True:
                await upload.append([run])
        assert QUEUE_BYTES - 2 * MIB < upload.handed_bytes <= QUEUE_BYTES
        assert not upload.written_bytes
        files.gate.set()
        await upload.append([run])
        await commit(upload, upload.handed_bytes)
        assert upload.written_bytes == upload.handed_bytes


async def test_what_waits_for_the_disk_is_no_room_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = GatedFiles()
    monkeypatch.setattr(files, "free_bytes", lambda _: 100 * MIB)
    async with opened(tmp_path, files) as store, trio.open_nursery() as nursery:
        files.shut()
        nursery.start_soon(put, store, "/first", b"x")
        await files.until_waiting()
        before_bytes = store.free_bytes()
        await store.begin("/a").append([bytes(MIB)])
        assert store.free_bytes() == before_bytes - MIB
        files.gate.set()


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, DiskFullError), (errno.EIO, DiskError)])
async def test_an_upload_that_lost_a_run_does_not_become_complete(
    code: int, error: type[Exception], tmp_path: Path
) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store:
        await put(store, "/a", b"one")
        upload = store.begin("/a")
        told: list[int] = []
        upload.on_written = lambda: told.append(upload.written_bytes)
        await upload.append([b"kept"])
        await put(store, "/a", b"one")
        assert upload.generation in store.engine.ledger.open
        files.write_error = OSError(code, "no")
        await upload.append([b"two"])
        with pytest.raises(error):
            await put(store, "/b", b"x")
        assert isinstance(upload.error, error)
        assert told == [4, 4]
        files.write_error = None
        with pytest.raises(error):
            await commit(upload, 7)
        await put(store, "/c", b"three")
        assert not store.engine.ledger.open
    assert await contents(tmp_path) == {"/a": b"one", "/c": b"three"}


async def test_a_sync_that_fails_fails_all_that_relied_on_it(tmp_path: Path) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store:
        await put(store, "/a", b"one")
        upload = store.begin("/a")
        files.sync_error = OSError(errno.EIO, "no")
        await upload.append([b"two"])
        with pytest.raises(DiskError):
            await put(store, "/b", b"x")
        with pytest.raises(DiskError):
            await commit(upload, 3)
        await put(store, "/c", b"three")
    assert await contents(tmp_path) == {"/a": b"one", "/c": b"three"}


async def test_a_commit_whose_task_was_cancelled_is_whole_or_absent(tmp_path: Path) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store:
        files.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, store, "/a", b"one")
            await files.until_waiting()
            nursery.cancel_scope.cancel()
        files.gate.set()
        await put(store, "/b", b"two")
    assert await contents(tmp_path) == {"/a": b"one", "/b": b"two"}


async def test_the_end_waits_for_what_was_asked(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        upload = store.begin("/a")
        await upload.append([b"one"])
        upload.commit(3, b"", lambda _: None)
    assert await contents(tmp_path) == {"/a": b"one"}


async def test_what_is_read_is_checked_once_and_then_only_located(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        await put(first, "/a", b"x" * (MIB + 5))
    async with opened(tmp_path) as store:
        stored = store.stored("/a")
        assert stored is not None
        source = store.source("/a", stored.generation)
        source.hold()
        for offset, limit in ((0, 3 * MIB), (MIB - 1, 10), (MIB + 2, 100), (7, 9)):
            found = await source.range(offset, limit)
            within = MIB - offset if offset < MIB else MIB + 5 - offset
            assert found.size == min(limit, within)
            assert os.pread(found.fd, found.size, found.position) == b"x" * found.size
        assert await source.read() == b"x" * (MIB + 5)
        source.let_go()


async def test_what_was_deleted_is_read_to_its_end_by_who_holds_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, "/a", b"one")
        stored = store.stored("/a")
        assert stored is not None
        source = store.source("/a", stored.generation)
        source.hold()
        await delete(store, "/a")
        assert store.stored("/a") is None
        assert await source.read() == b"one"
        source.let_go()
        with pytest.raises(DamagedError, match="no volume has it any more"):
            source.hold()


async def test_what_went_with_its_file_is_still_checked_by_who_holds_it(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    store = DiskStore(Engine(data, Files(), own_after_bytes=10))
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        upload = store.begin("/a")
        for run in (b"0123456789", b"in a file of its own"):
            await upload.append([run])
        await commit(upload, 30)
        source = store.source("/a", upload.generation)
        source.hold()
        await delete(store, "/a")
        found = await source.range(10, 100)
        assert os.pread(found.fd, found.size, found.position) == b"in a file of its own"
        source.let_go()
        nursery.cancel_scope.cancel()
    store.engine.close()
    data.close()


async def test_what_goes_without_haste_is_told_when_it_is_gone(tmp_path: Path) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store:
        await put(store, "/a", b"one")
        files.sync_error = OSError(errno.EIO, "no")
        assert isinstance(await delete(store, "/a", is_urgent=False), DiskError)
        assert store.stored("/a") is not None
        assert await delete(store, "/a", is_urgent=False) is None
        assert store.stored("/a") is None
        await put(store, "/b", b"two")
        store.delete("/b", lambda _: None, is_urgent=False)
    assert not await contents(tmp_path)


async def test_a_run_that_is_moved_before_the_loop_hears_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path, volume_bytes=MIB + MIB // 2) as store:
        upload, other = store.begin("/a"), store.begin("/b")
        await upload.append([b"x" * MIB])
        await other.append([bytes(MIB)])  # in the next volume

        def compact(engine: Engine) -> None:
            compaction = engine.compaction(1)
            while compaction.step():
                engine.flush()

        compacted = trio.Event()
        store.put(compact, lambda *_: compacted.set())
        await compacted.wait()
        assert store.engine.volume(1) is None
        part = await upload.source.range(0, MIB)
        assert os.pread(part.fd, part.size, part.position) == b"x" * MIB
        upload.abandon()
        other.abandon()
