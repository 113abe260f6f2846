"""The power goes at any moment: what shows is whole, and what was settled holds.

CRASH_STATES says how many states of each run are started.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chunkstore.testing import Content, Fault, Storage
from chunkstore.worker import ChunkManager, ChunkRef, DataChunk, Fetching, WorkerConfig
from chunkstore.worker.disk.folder import ChunkFolder
from chunkstore.worker.fetch import file as file_module
from chunkstore.worker.fetch import partial as partial_module
from chunkstore.worker.manager import open_manager
from tests.worker.disk.trace import FolderRecorder, crash_folder
from tests.worker.flaky import Threads
from tests.worker.world import IDS, VARIANTS, chunk_of

STATES = int(os.environ.get("CRASH_STATES", "30"))
RUNS = 2
STEPS = 120
SAVE_BYTES = 1000
WRITE_BYTES = 400


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some thousand bytes have as many pieces, and saves, as large ones."""
    monkeypatch.setattr(partial_module, "SAVE_BYTES", SAVE_BYTES)
    monkeypatch.setattr(file_module, "WRITE_BYTES", WRITE_BYTES)


class Run:
    """Calls and their effects on a folder that is recorded.

    Attributes:
        settled: behind so many steps of the trace, what was there.
        said: behind so many, what was said of an id.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.files = FolderRecorder(folder)
        self.storage = Storage(random=self.chance)
        self.folder = folder
        self.settled: list[tuple[int, dict[bytes, str]]] = [(0, {})]
        self.said: list[tuple[int, bytes]] = []
        self.data: dict[str, dict[str, bytes]] = {}
        for number in range(IDS):
            for variant in range(VARIANTS):
                chunk, contents = chunk_of(number, variant)
                self.data[chunk.identity] = {name: one.data for name, one in contents.items()}
                for name, content in contents.items():
                    self.storage.put(f"/{number}/{variant}/{name}", content)

    def open(self) -> AbstractAsyncContextManager[ChunkManager]:
        """A manager on the folder that is recorded."""
        threads = Threads(self.chance)
        return open_manager(
            self.folder,
            WorkerConfig(chunks_max=3, retries=1),
            fetching=partial(
                Fetching, connect=self.storage.connect, files=self.files, in_thread=threads
            ),
            files=self.files,
            in_thread=threads,
        )

    async def play(self) -> None:
        """All of it."""
        desired: dict[bytes, str] = {}
        held: list[ChunkRef] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(self.storage.run)
            async with self.open() as manager:
                for _ in range(STEPS):
                    await self.step(manager, desired, held)
                for reference in held:
                    reference.close()
            nursery.cancel_scope.cancel()

    async def step(
        self, manager: ChunkManager, desired: dict[bytes, str], held: list[ChunkRef]
    ) -> None:
        """Something."""
        chance = self.chance
        chunk = chunk_of(chance.randrange(IDS), chance.randrange(VARIANTS))[0]
        match chance.choice(("want", "want", "delete", "hold", "let go", "cut", "time", "settle")):
            case "want":
                self.said.append((len(self.files.trace), chunk.id))
                desired[chunk.id] = chunk.identity
                manager.download_chunk(chunk)
            case "delete":
                self.said.append((len(self.files.trace), chunk.id))
                desired.pop(chunk.id, None)
                manager.delete_chunk(chunk.id)
            case "hold":
                reference = manager.find_chunk(chunk.dataset_id, chance.randrange(64))
                if reference is None:
                    return
                held.append(reference)
                if chance.random() < 0.5:
                    self.said.append((len(self.files.trace), reference.info.id))
                    desired.pop(reference.info.id)
                    manager.delete_chunk(reference.info.id)
                    await self.settle(manager, desired)
            case "let go" if held:
                held.pop(chance.randrange(len(held))).close()
            case "cut":
                path = next(iter(chunk.records.values())).url.partition(".test")[2]
                troubles = [(Fault.CUT, Fault.WHOLE), (Fault.WEAK,) * 4]
                self.storage.trouble(path, *chance.choice(troubles))
            case "time":
                await trio.sleep(chance.choice((0.01, 0.1, 1)))
            case "settle":
                await self.settle(manager, desired)

    async def settle(self, manager: ChunkManager, desired: dict[bytes, str]) -> None:
        """What was said is durable from now on."""
        await trio.sleep(self.chance.choice((0, 30)))
        await manager.settled()
        assert {one.id for one in manager.list_chunks()} == set(desired)
        self.settled.append((len(self.files.trace), dict(desired)))

    def check(self, folder: Path, upto: int) -> None:
        """What a start finds in a state behind so many steps."""
        opened = ChunkFolder(folder)
        found = opened.scan()
        shown = {one.name.id: one.name.identity for one in found.ready}
        for one in found.ready:
            path = opened.ready(one.dataset_id, one.name)
            data = self.data[one.name.identity]
            assert {name: (path / name).read_bytes() for name in data} == data
            assert opened.checked_size(one.dataset_id, one.name) == sum(map(len, data.values()))
        when, before = max(one for one in self.settled if one[0] <= upto)
        moved = {chunk_id for at, chunk_id in self.said if when <= at <= upto}
        assert not found.strangers
        for chunk_id in {*before, *shown} - moved:
            assert shown.get(chunk_id) == before.get(chunk_id), (when, upto)
        opened.close()


def run_jumping(play: Callable[..., Awaitable[object]], *args: Any) -> None:  # noqa: ANN401 - as trio's
    """On a clock that jumps."""
    trio.run(play, *args, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seed", range(RUNS))
def test_any_crash_state_shows_whole_chunks_and_what_was_settled(seed: int, tmp_path: Path) -> None:
    run = Run(tmp_path / "data", seed)
    run_jumping(run.play)
    assert len(run.settled) > 3
    trace, chance = run.files.trace, random.Random(seed)
    format_file = run.folder / "chunkstore-worker.json"
    begun = next(at for at, step in enumerate(trace) if step.kind == "make_folder")
    for number in range(STATES):
        upto = chance.randint(begun, len(trace))
        if chance.random() < 0.5:  # nothing came after it that made more durable
            upto = chance.choice(run.settled)[0]
        state = tmp_path / f"state-{number}"
        ChunkFolder(state).close()
        crash_folder(trace[:upto], state, chance)
        shutil.copy(format_file, state)
        (state / "chunkstore-worker.part").unlink(missing_ok=True)
        run.check(state, upto)
        shutil.rmtree(state)


def test_little_is_fetched_again_after_a_crash(tmp_path: Path) -> None:
    content = Content(seed=3, size_bytes=20_000)
    chunk = DataChunk(b"c" * 32, b"d" * 32, range(1), {"a": "http://x.test/a"})
    run = Run(tmp_path / "data", 1)

    async def play(run: Run) -> None:
        run.storage.put("/a", content)
        async with trio.open_nursery() as nursery:
            await nursery.start(run.storage.run)
            async with run.open() as manager:
                manager.download_chunk(chunk)
                await manager.wait_for(chunk.id)
            nursery.cancel_scope.cancel()

    run_jumping(play, run)
    trace, chance = run.files.trace, random.Random(1)
    noted = next(
        at for at, one in enumerate(trace) if (one.kind, one.path) == ("sync_folder", "wanted")
    )
    made = [one for one in trace if one.kind == "create"]
    (inode,) = [one.inode for one in made if one.path.endswith("/.a.part")]
    for number in range(STATES):
        upto = chance.randint(noted + 1, len(trace))
        state = tmp_path / f"state-{number}"
        ChunkFolder(state).close()
        crash_folder(trace[:upto], state, chance)
        came = sum(
            len(one.operation.data)
            for one in trace[:upto]
            if one.kind == "write" and one.inode == inode and one.operation
        )
        again = Run(state, number)
        # What the recorder hasn't seen made is opened by the plain file system.
        again.files = None  # type: ignore[assignment]
        run_jumping(play, again)
        fetched = again.storage.sent_bytes("/a")
        assert fetched <= content.size_bytes - came + SAVE_BYTES + WRITE_BYTES, (upto, came)
        shutil.rmtree(state)
