"""A manager, its storage, and what everybody may expect of it at every moment.

Chunks are small, files are real, threads are turns of the loop, and the clock jumps.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio

from chunkstore.testing import Content, Fault, Storage
from chunkstore.worker import ChunkManager, ChunkRef, DataChunk, Fetching, FileRecord, WorkerConfig
from chunkstore.worker.core.generation import Generation
from chunkstore.worker.core.names import DESCRIPTOR, DOOMED, wanted_name
from chunkstore.worker.core.states import ACTIVE, State
from chunkstore.worker.manager import open_manager
from tests.worker.flaky import FlakyFiles, Threads

__all__ = ["IDS", "VARIANTS", "World", "chunk_of"]

IDS = 4
VARIANTS = 4
DATASETS = [b"D" * 32, b"E" * 32]
RANGES = [range(0, 10), range(5, 10), range(5, 15), range(0, 64)]
LEAST = {State.FAILED, State.WAITING}
"""States at rest of what is wanted and isn't there."""


def chunk_of(number: int, variant: int, host: str = "a") -> tuple[DataChunk, dict[str, Content]]:
    """A chunk, and what its files have.

    Args:
        variant: 0 declares everything, 1 sizes, 2 and 3 nothing; each is another chunk.
        host: where it comes from; the same chunk comes from many.
    """
    chance = Random(number * VARIANTS + variant)
    contents = dict[str, Content]()
    records = dict[str, FileRecord]()
    for index in range(1 + chance.randrange(3)):
        name, size = f"f{index}", chance.choice((0, 1, 999, 1000, 3000, 5001))
        content = Content(number * 1000 + variant * 100 + index * 10, size)
        contents[name] = content
        records[name] = FileRecord(
            f"http://{host}.test/{number}/{variant}/{name}",
            size if variant < 2 else None,
            content.sha256 if variant == 0 else None,
        )
    blocks = RANGES[(number + variant) % len(RANGES)]
    dataset = DATASETS[number % 2]
    return DataChunk(bytes([number]) * 32, dataset, blocks, records), contents


class World:
    """One folder through many lives.

    Args:
        folder: of all of them.
        config: limits.
        seed: of what chance decides.

    Attributes:
        desired: what was asked for last, by id.
        held: references, and what their files have.
        is_certain: nothing was said since it was settled.
        was_late: ids of what had failed, or waited for room, then.
    """

    def __init__(self, folder: Path, config: WorkerConfig, seed: int) -> None:
        self.config = config
        self.chance = Random(seed)
        self.files = FlakyFiles()
        self.storage = Storage(random=self.chance)
        self.desired: dict[bytes, DataChunk] = {}
        self.held: list[tuple[ChunkRef, dict[str, bytes]]] = []
        self.is_certain = False
        self.was_late: set[bytes] = set()
        self.folder = folder / "0"
        self._above = folder
        self._lives = 0
        self._data: dict[str, set[bytes]] = {}
        self._known: dict[str, DataChunk] = {}
        for number in range(IDS):
            for variant in range(VARIANTS):
                chunk, contents = chunk_of(number, variant)
                self._known[chunk.identity] = chunk
                for name, content in contents.items():
                    path = f"/{number}/{variant}/{name}"
                    self.storage.put(path, content)
                    self._data[path] = {content.data}

    @asynccontextmanager
    async def life(self) -> AsyncGenerator[ChunkManager]:
        """A manager at work on the folder."""
        threads = Threads(self.chance)
        self.fetching: Fetching | None = None

        def fetching(config: WorkerConfig) -> Fetching:
            self.fetching = Fetching(
                config,
                connect=self.storage.connect,
                files=self.files,
                in_thread=threads,
                chance=self.chance.random,
            )
            return self.fetching

        async with open_manager(
            self.folder, self.config, fetching=fetching, files=self.files, in_thread=threads
        ) as manager:
            yield manager

    def copied(self) -> None:
        """The next life begins with the folder as it is now, whatever becomes of this one."""
        self._lives += 1
        target = self._above / str(self._lives)
        shutil.copytree(self.folder, target)
        self.folder = target

    def trouble(self, number: int, variant: int, index: int, fault: Fault) -> None:
        """Something is wrong with the next answer for a file."""
        chunk = chunk_of(number, variant)[0]
        path = f"/{number}/{variant}/{sorted(chunk.files)[index % len(chunk.files)]}"
        if (fault is Fault.ROT and variant > 0) or (fault is Fault.SHORT and variant > 1):
            return  # nobody could tell
        if fault is Fault.FLIP:  # it has a version more from then on
            content = self.storage.content(path)
            seeds = range(content.seed + 1, content.seed + 2 + len(self._data[path]))
            self._data[path] |= {content._replace(seed=seed).data for seed in seeds}
        self.storage.trouble(path, fault)

    def heal(self) -> None:
        """The storage has what it had at first, and is well."""
        self.files.due.clear()
        self.files.free = 2**40
        self.storage.heal()
        for number in range(IDS):
            for name, content in chunk_of(number, 0)[1].items():
                self.storage.put(f"/{number}/0/{name}", content)

    def chunk_of(self, reference: ChunkRef) -> DataChunk:
        """What somebody holds."""
        return self._known[reference.generation.name.identity]

    # --- at every moment -----------------------------------------------------------------------

    def check(self, manager: ChunkManager) -> None:
        """What holds, whatever is under way."""
        current = self._current(manager)
        listed = manager.list_chunks()
        assert len({one.id for one in listed}) == len(listed)
        assert {one.id for one in listed} == set(current)
        for info in listed:
            chunk = self.desired[info.id]
            assert (info.dataset_id, info.block_range) == (chunk.dataset_id, chunk.block_range)
            self.check_files(manager.folder_of(current[info.id]), chunk)
        for dataset in DATASETS:
            for block in (0, 4, 5, 9, 10, 14, 20, 63, 64):
                self.check_find(manager, current, dataset, block)
        for reference, contents in self.held:
            assert {name: (reference.path / name).read_bytes() for name in contents} == contents
        active = Counter(one.id for one in manager._core.generations() if one.state in ACTIVE)
        assert not active or max(active.values()) == 1
        assert sum(active.values()) <= self.config.chunks_max

    def _current(self, manager: ChunkManager) -> dict[bytes, Generation]:
        """What may be shown: whole, and what was asked for last."""
        return {
            one.id: one
            for one in manager._core.generations()
            if one.state is State.READY
            and one.id in self.desired
            and one.name.identity == self.desired[one.id].identity
        }

    def check_files(self, folder: Path, chunk: DataChunk) -> None:
        """Each file has one of the versions that it ever had, every byte at its place."""
        assert sorted(os.listdir(folder)) == sorted([DESCRIPTOR, *chunk.files])
        for name, record in chunk.records.items():
            path = record.url.partition(".test")[2]
            data = (folder / name).read_bytes()
            assert data in self._data[path], (path, len(data))
            if record.sha256 is not None:
                assert data == chunk_of(chunk.id[0], 0)[1][name].data

    def check_find(
        self,
        manager: ChunkManager,
        current: dict[bytes, Generation],
        dataset: bytes,
        block: int,
    ) -> None:
        """It is what one finds by looking at all of them."""
        fits = [
            (one.name.stop - one.name.start, -one.name.number, one)
            for one in current.values()
            if one.dataset_id == dataset and one.name.start <= block < one.name.stop
        ]
        with manager.find_chunk(dataset, block) or _nothing() as reference:
            found = reference and reference.generation
            assert found is (min(fits)[2] if fits else None)

    # --- at rest -------------------------------------------------------------------------------

    async def check_settled(self, manager: ChunkManager) -> None:
        """What holds once nothing is under way."""
        while self.files.due or not manager._shell._leftovers.is_counted:
            self.files.due.clear()
            await trio.sleep(10)
        await manager.settled()
        self.check(manager)
        generations = list(manager._core.generations())
        ready = {str(one.name) for one in generations if one.state is State.READY}
        doomed = {str(one.name) for one in generations if one.state is State.DOOMED}
        assert doomed <= {str(reference.generation.name) for reference, _ in self.held}
        late = [one for one in generations if one.state in LEAST]
        self.is_certain, self.was_late = True, {one.id for one in late}
        assert len(ready) + len(doomed) + len(late) == len(generations)
        partials = [one.name for one in manager._core._partial.values()]
        names = {name for folder in self._folders("ready") for name in os.listdir(folder)}
        assert names == ready | doomed | {name + DOOMED for name in doomed}
        assert not os.listdir(self.folder / "trash")
        incoming = set(os.listdir(self.folder / "incoming"))
        assert incoming <= {str(one.name) for one in late} | set(map(str, partials))
        wanted = {wanted_name(one.id, one.name.identity) for one in late}
        wanted |= {wanted_name(name.id, name.identity) for name in partials}
        assert set(os.listdir(self.folder / "wanted")) == wanted
        self._check_sizes(manager)
        self._check_limits()
        assert set(self.desired) == {one.id for one in manager.list_chunks()} | {
            one.id for one in late
        }

    def _folders(self, room: str) -> list[Path]:
        return sorted((self.folder / room).iterdir())

    def _check_sizes(self, manager: ChunkManager) -> None:
        """What is said of the disk is what is there."""
        status = manager.status()
        chunks = [one for above in self._folders("ready") for one in above.iterdir()]
        stored = [one for folder in chunks if folder.is_dir() for one in folder.iterdir()]
        size = sum(one.stat().st_size for one in stored if one.name != DESCRIPTOR)
        assert status.stored_bytes == size
        came = [one for folder in self._folders("incoming") for one in folder.iterdir()]
        part = sum(
            one.stat().st_size
            for one in came
            if one.name != DESCRIPTOR and not one.name.endswith(".state")
        )
        if not self.files.failed:
            assert status.claimed_bytes == part

    def _check_limits(self) -> None:
        assert self.fetching is not None
        assert self.fetching._slots.value == self.config.files_max
        assert not self.fetching._hosts

    # --- between lives -------------------------------------------------------------------------

    def begun(self, manager: ChunkManager, *, is_reasserted: bool) -> None:
        """A life has begun: what it shows is whole, and was settled if it was."""
        before = self.desired
        found = {
            one.id: self._known[one.name.identity]
            for one in manager._core.generations()
            if one.state is State.READY
        }
        for chunk_id, chunk in found.items():
            assert chunk_id == chunk.id
        if self.is_certain:
            assert set(before) - set(found) <= self.was_late
            assert all(before[one].identity == found[one].identity for one in found)
        self.desired = found
        if is_reasserted:
            manager.set_desired(before.values())
            self.desired = before
        self.is_certain = False


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
