"""References, waiting, events and many threads, on real ones; the storage is over sockets."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from copy import copy
from pathlib import Path
from random import Random

import pytest
import trio
import trio.lowlevel
import trio.testing

from chunkstore.errors import ChunkFailedError, ChunkGoneError, DataDirError
from chunkstore.testing import Content, Fault, Storage
from chunkstore.worker import (
    ChunkManager,
    DataChunk,
    DataManager,
    State,
    WorkerConfig,
    open_manager,
)
from tests.jumping import run_for_real

RUN = run_for_real
CONFIG = WorkerConfig(retries=0, backoff_s=0.01, reserve_bytes=0)
DATASET = b"d" * 32
LONG_S = 60.0


class Field:
    """A storage that listens, and its chunks."""

    def __init__(self, url: str, storage: Storage) -> None:
        self.url = url
        self.storage = storage

    def chunk(self, number: int) -> DataChunk:
        """One of ten blocks."""
        path = f"/{number}/a"
        self.storage.put(path, Content(number, 10_000))
        blocks = range(number * 10, number * 10 + 10)
        return DataChunk(bytes([number]) * 32, DATASET, blocks, {"a": self.url + path})


@asynccontextmanager
async def field() -> AsyncGenerator[Field]:
    """As long as the context lasts."""
    storage = Storage(random=Random(1))
    async with trio.open_nursery() as nursery:
        url = await storage.listen(nursery)
        with trio.fail_after(LONG_S):
            yield Field(url, storage)
        nursery.cancel_scope.cancel()


async def fetched(manager: ChunkManager, chunk: DataChunk) -> None:
    """Have it there."""
    manager.download_chunk(chunk)
    await manager.wait_for(chunk.id)


# --- references --------------------------------------------------------------------------------


async def test_a_reference_keeps_a_chunk_and_the_last_one_lets_it_go(tmp_path: Path) -> None:
    async with field() as there, open_manager(tmp_path, CONFIG) as manager:
        chunk = there.chunk(1)
        await fetched(manager, chunk)
        first = manager.find_chunk(DATASET, 15)
        assert first is not None
        second = copy(first)
        assert first.info == second.info
        manager.delete_chunk(chunk.id)
        assert manager.find_chunk(DATASET, 15) is None
        first.close()
        first.close()
        await manager.settled()
        assert (second.path / "a").read_bytes() == Content(1, 10_000).data
        with pytest.raises(ValueError, match="was closed"):
            first.clone()
        path = second.path
        with second:
            thread = threading.Thread(target=second.close)
            thread.start()
            thread.join()
        await manager.settled()
        assert not path.exists()


async def test_delete_then_download_of_a_held_chunk_fetches_nothing(tmp_path: Path) -> None:
    async with field() as there, open_manager(tmp_path, CONFIG) as manager:
        chunk = there.chunk(1)
        await fetched(manager, chunk)
        before = there.storage.sent_bytes("/1/a")
        reference = manager.find_chunk(DATASET, 10)
        assert reference is not None
        with reference:
            manager.delete_chunk(chunk.id)
            await manager.settled()
            manager.download_chunk(chunk)
            await manager.settled()
            again = manager.find_chunk(DATASET, 10)
            assert again is not None
            assert again.path == reference.path
            again.close()
        assert there.storage.sent_bytes("/1/a") == before


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_one_that_leaks_is_told_of_and_let_go(tmp_path: Path) -> None:
    async with field() as there, open_manager(tmp_path, CONFIG) as manager:
        chunk = there.chunk(1)
        await fetched(manager, chunk)
        reference = manager.find_chunk(DATASET, 10)
        assert reference is not None
        path = reference.path
        with pytest.warns(
            ResourceWarning, match=r"<ChunkRef 0101.* blocks 10 to 20> was never closed"
        ):
            del reference
        manager.delete_chunk(chunk.id)
        await trio.testing.wait_all_tasks_blocked()
        await manager.settled()
        assert not path.exists()
        held = manager.find_chunk(DATASET, 10)
        assert held is None


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_the_collector_may_come_while_the_lock_is_held(tmp_path: Path) -> None:
    async with field() as there, open_manager(tmp_path, CONFIG) as manager:
        chunk = there.chunk(1)
        await fetched(manager, chunk)
        reference = manager.find_chunk(DATASET, 10)
        with manager._lock:
            del reference  # would wait for itself
        manager.delete_chunk(chunk.id)
        while manager.status().counts:
            await manager.settled()
            await trio.lowlevel.checkpoint()


# --- waiting -----------------------------------------------------------------------------------


async def test_waiting_ends_well_or_says_why_not(tmp_path: Path) -> None:
    async with field() as there, open_manager(tmp_path, CONFIG) as manager:
        with pytest.raises(ChunkGoneError, match="nobody wants the chunk 09"):
            await manager.wait_for(b"\x09" * 32)
        chunk = there.chunk(2)
        there.storage.trouble("/2/a", Fault.FORBIDDEN)
        manager.download_chunk(chunk)
        with pytest.raises(ChunkFailedError, match="403"):
            await manager.wait_for(chunk.id)
        await manager.settled()
        (other,) = manager.status().others
        assert (other.state, other.chunk.id) == (State.FAILED, chunk.id)
        await fetched(manager, chunk)
        there.storage.trouble("/3/a", Fault.STALL)
        manager.download_chunk(there.chunk(3))
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ChunkGoneError):
                    await manager.wait_for(b"\x03" * 32)

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            manager.delete_chunk(b"\x03" * 32)
        await manager.settled()


async def test_who_waits_hears_of_the_end(tmp_path: Path) -> None:
    async with field() as there:
        async with trio.open_nursery() as nursery:
            async with open_manager(tmp_path, CONFIG) as manager:
                there.storage.trouble("/3/a", Fault.STALL)
                manager.download_chunk(there.chunk(3))

                async def wait() -> None:
                    with pytest.raises(ChunkGoneError, match="has ended"):
                        await manager.settled()

                async def listen() -> None:
                    async with manager.events() as events:
                        async for event in events:
                            assert event.chunk.id == b"\x03" * 32

                nursery.start_soon(wait)
                nursery.start_soon(listen)
                await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ChunkGoneError):
            await manager.wait_for(b"\x03" * 32)


async def test_behind_the_end_nothing_is_promised_any_more(tmp_path: Path) -> None:
    async with field() as there:
        chunk = there.chunk(1)
        async with open_manager(tmp_path / "data") as manager:
            await fetched(manager, chunk)
        calls: list[Callable[[], object]] = [
            lambda: manager.find_chunk(DATASET, 10),
            lambda: manager.download_chunk(chunk),
            lambda: manager.delete_chunk(chunk.id),
            lambda: manager.set_desired([]),
            manager.list_chunks,
        ]
        for call in calls:
            with pytest.raises(ChunkGoneError, match="the manager has ended"):
                call()
        with pytest.raises(ChunkGoneError, match="the manager has ended"):
            async with manager.events():
                pass


async def test_cancelled_it_takes_calls_until_it_is_left(tmp_path: Path) -> None:
    found: list[object] = []
    with trio.CancelScope() as scope:
        async with open_manager(tmp_path / "data") as manager:
            scope.cancel()
            with trio.CancelScope(shield=True), pytest.raises(ChunkGoneError):
                await manager.wait_for(b"c" * 32)
            with trio.CancelScope(shield=True), trio.fail_after(LONG_S):
                await manager._changed.wait()  # its work has ended
            manager.set_desired([])
            found += [manager.list_chunks(), manager.find_chunk(DATASET, 10)]
    assert scope.cancelled_caught
    assert found == [[], None]


async def test_new_urls_count_while_the_old_ones_fail(tmp_path: Path) -> None:
    async with field() as there, open_manager(tmp_path, CONFIG) as manager:
        good = there.chunk(1)
        bad = DataChunk(good.id, DATASET, good.block_range, {"a": there.url + "/gone?signed=1"})
        there.storage.put("/gone", Content(5, 10))
        assert bad.identity == good.identity
        there.storage.trouble("/gone?signed=1", Fault.FORBIDDEN)
        async with manager.events() as events:
            manager.download_chunk(bad)
            async for event in events:
                if event.state is State.DOWNLOADING:
                    break
        manager.download_chunk(good)
        await manager.wait_for(good.id)


async def test_events_tell_what_becomes_of_chunks(tmp_path: Path) -> None:
    async with field() as there, open_manager(tmp_path, CONFIG) as manager:
        chunk = there.chunk(1)
        seen = []
        async with manager.events() as events:
            async with manager.events() as others:
                await others.aclose()
                manager.download_chunk(chunk)
                await manager.wait_for(chunk.id)
            manager.delete_chunk(chunk.id)
            async for event in events:
                assert event.chunk.id == chunk.id
                seen.append(event.state)
                if event.state is State.GONE:
                    break
        order = [State.DOWNLOADING, State.READY, State.DOOMED, State.GONE]
        assert [state for state in seen if state in order] == order


async def test_what_is_raised_inside_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_manager(tmp_path, CONFIG):
            raise KeyError("mine")
    async with open_manager(tmp_path, CONFIG):
        with pytest.raises(DataDirError, match=f"in use by process {os.getpid()}"):
            async with open_manager(tmp_path, CONFIG):
                raise AssertionError


# --- threads -----------------------------------------------------------------------------------


async def test_many_threads_say_what_they_like(tmp_path: Path) -> None:
    async with field() as there, open_manager(tmp_path, CONFIG) as manager:
        chunks = [there.chunk(number) for number in range(8)]
        errors: list[BaseException] = []

        def talk(seed: int) -> None:
            chance = Random(seed)
            try:
                for _ in range(150):
                    chunk = chance.choice(chunks)
                    chance.choice((manager.download_chunk, lambda c: manager.delete_chunk(c.id)))(
                        chunk
                    )
                    reference = manager.find_chunk(DATASET, chance.randrange(80))
                    if reference is not None:
                        with reference, reference.clone() as other:
                            number = reference.info.block_range.start // 10
                            data = (other.path / "a").read_bytes()
                            assert data == Content(number, 10_000).data
            except BaseException as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for seed in range(6):
                nursery.start_soon(trio.to_thread.run_sync, talk, seed)
        assert not errors
        manager.set_desired(chunks[:3])
        await manager.settled()
        assert {one.id for one in manager.list_chunks()} == {one.id for one in chunks[:3]}
        assert len(list((tmp_path / "ready").rglob("a"))) == 3


async def test_the_same_without_trio(tmp_path: Path) -> None:
    async with field() as there:

        def use() -> None:
            chunk = there.chunk(1)
            with DataManager(str(tmp_path / "data"), CONFIG) as manager:
                with pytest.raises(DataDirError):
                    DataManager(tmp_path / "data")
                manager.download_chunk(chunk)
                manager.wait_for(chunk.id, timeout_s=LONG_S)
                manager.settled(timeout_s=LONG_S)
                assert [one.id for one in manager.list_chunks()] == [chunk.id]
                reference = manager.find_chunk(DATASET, 10)
                assert reference is not None
                manager.delete_chunk(chunk.id)
                assert manager.status().counts == {State.DOOMED: 1}
                reference.close()
                manager.settled(timeout_s=LONG_S)
                there.storage.trouble("/2/a", Fault.STALL)
                manager.set_desired([there.chunk(2)])
                with pytest.raises(TimeoutError, match="not within 0.05 s"):
                    manager.settled(timeout_s=0.05)
                with pytest.raises(ChunkGoneError):
                    manager.wait_for(chunk.id)
                waiting = threading.Thread(target=wait_closed, args=(manager,))
                waiting.start()
                reference.close()
            waiting.join(LONG_S)
            assert not waiting.is_alive()
            manager.close()
            with pytest.raises(ValueError, match="was closed"):
                manager.list_chunks()

        def wait_closed(manager: DataManager) -> None:
            with pytest.raises((ChunkGoneError, ValueError)):
                manager.settled()

        await trio.to_thread.run_sync(use)


def test_a_wait_that_begins_as_it_ends_is_told_so(tmp_path: Path) -> None:
    manager = DataManager(tmp_path / "data", CONFIG)
    open_one = manager._manager
    manager.close()
    manager._manager = open_one  # as a thread has it that asked just before
    with pytest.raises(ChunkGoneError, match="the manager has ended"):
        manager.wait_for(b"c" * 32)
    with pytest.raises(ChunkGoneError, match="the manager has ended"):
        manager.settled(timeout_s=LONG_S)


def test_limits_that_are_none_are_named() -> None:
    with pytest.raises(ValueError, match=r"files_max: expected a whole number, got 2\.5"):
        WorkerConfig(files_max=2.5)  # type: ignore[arg-type]  # as it may come from a file
    with pytest.raises(ValueError, match="retries: expected 0 to 1000, got -1"):
        WorkerConfig(retries=-1)
