"""The engine behind tasks: who waits, who is told, and what a cancelled one leaves."""

from __future__ import annotations

import errno
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from chunkstore.errors import CapacityError, DataDirError, DiskError
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.files import Buffer, Files
from chunkstore.store.disk.store import QUEUE_BYTES, DiskStore
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
async def opened(folder: Path, files: Files | None = None) -> AsyncIterator[DiskStore]:
    """A store at work."""
    store = DiskStore(folder, files or Files())
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            try:
                yield store
            finally:
                if isinstance(files, GatedFiles):
                    files.gate.set()
            nursery.cancel_scope.cancel()


async def put(store: DiskStore, key: str, content: bytes) -> None:
    """A whole upload."""
    generation = store.begin()
    for offset in range(0, len(content), MIB):
        await store.append(generation, offset, [content[offset : offset + MIB]])
    await store.commit(generation, key, len(content), b"")


async def contents(folder: Path) -> dict[str, bytes | None]:
    """What a start finds."""
    store = DiskStore(folder, Files())
    async with trio.open_nursery() as nursery:
        engine: Engine = await nursery.start(store.run)
        found = {key: content_of(engine, key) for key in engine.ledger.objects}
        nursery.cancel_scope.cancel()
    return found


async def test_what_was_committed_is_there_after_a_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, "/a", b"x" * (MIB + 5))
        await put(store, "/b", b"two")
        await put(store, "/c", b"three")
        await store.delete("/b")
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
        generation, sent = store.begin(), 0
        run = bytes(MIB)
        with trio.move_on_after(0.2):
            while True:
                await store.append(generation, sent, [run])
                sent += MIB
        assert QUEUE_BYTES - 2 * MIB < sent <= QUEUE_BYTES
        files.gate.set()
        await store.append(generation, sent, [run])
        await store.commit(generation, "/a", sent + MIB, b"")


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, CapacityError), (errno.EIO, DiskError)])
async def test_an_upload_that_lost_a_run_does_not_become_complete(
    code: int, error: type[Exception], tmp_path: Path
) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store:
        await put(store, "/a", b"one")
        generation = store.begin()
        await store.append(generation, 0, [b"kept"])
        await put(store, "/a", b"one")
        assert store._engine is not None
        assert generation in store._engine.ledger.open
        files.write_error = OSError(code, "no")
        await store.append(generation, 4, [b"two"])
        with pytest.raises(error):
            await put(store, "/b", b"x")
        files.write_error = None
        with pytest.raises(error):
            await store.commit(generation, "/a", 7, b"")
        store.abandon(generation)
        await put(store, "/c", b"three")
        assert not store._engine.ledger.open
    assert await contents(tmp_path) == {"/a": b"one", "/c": b"three"}


async def test_a_sync_that_fails_fails_all_that_relied_on_it(tmp_path: Path) -> None:
    files = GatedFiles()
    async with opened(tmp_path, files) as store:
        await put(store, "/a", b"one")
        generation = store.begin()
        files.sync_error = OSError(errno.EIO, "no")
        await store.append(generation, 0, [b"two"])
        with pytest.raises(DiskError):
            await put(store, "/b", b"x")
        with pytest.raises(DiskError):
            await store.commit(generation, "/a", 3, b"")
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
        generation = store.begin()
        await store.append(generation, 0, [b"one"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.commit, generation, "/a", 3, b"")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert await contents(tmp_path) == {"/a": b"one"}


async def test_a_folder_that_is_in_use(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(DataDirError, match="in use by process"):
            await DiskStore(tmp_path, Files()).run()
    assert await contents(tmp_path) == {}


async def test_reading(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, Files())
    async with opened(tmp_path) as first:
        await put(first, "/a", b"x" * (MIB + 5))
    async with trio.open_nursery() as nursery:
        engine: Engine = await nursery.start(store.run)
        extents = engine.ledger.objects["/a"].extents
        assert [len(await store.read("/a", one)) for one in extents] == [MIB, 5]
        nursery.cancel_scope.cancel()
