"""All files of a chunk, within limits over all chunks."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Set
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from chunkstore.client import Connect, Timeouts, dial, parse_url
from chunkstore.errors import FetchError
from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.core.chunk import DataChunk, FileRecord
from chunkstore.worker.core.names import partial_names
from chunkstore.worker.descriptor import FileFacts
from chunkstore.worker.disk.files import ChunkFiles
from chunkstore.worker.fetch.address import dial_public
from chunkstore.worker.fetch.file import FileFetch
from chunkstore.worker.fetch.source import Sources

__all__ = ["Fetching"]


class Fetching(trio.abc.AsyncResource):
    """Downloads chunks, several at a time.

    Args:
        config: limits.
        connect: makes a connection; None: a real one, to a public address where `config` says so.
        files: the file system.
        in_thread: calls what blocks, in a thread.
        chance: gives numbers in [0, 1), for pauses.

    Attributes:
        fetched_bytes: that came and were written, so far.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        connect: Connect | None = None,
        files: ChunkFiles | None = None,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = trio.to_thread.run_sync,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._files = files or ChunkFiles()
        self._in_thread = in_thread
        self._chance = chance
        timeouts = Timeouts(config.connect_s, config.stall_s)
        self._sources = Sources(
            connect or (dial_public if config.refuse_private else dial), timeouts
        )
        self._slots = trio.Semaphore(config.files_max)
        self.fetched_bytes = 0
        self._hosts: dict[tuple[str, int], trio.Semaphore] = {}

    async def fetch_chunk(
        self,
        chunk: DataChunk,
        folder: Path,
        *,
        wrote: Callable[[int], None],
        learned: Callable[[int], Awaitable[None]],
    ) -> Mapping[str, FileFacts]:
        """Have all files of a chunk in a folder, whole, right and synced, and nothing else there.

        Args:
            folder: what an earlier try left in it is gone on from.
            wrote: told how many bytes of them are there, as that changes.
            learned: told how many there will be, as far as is known; what it raises is raised.
        Raises:
            FetchError: a file can't be had: the first that couldn't.
            OSError: one can't be written.
        Cancellation: what came stays, for the next try.
        """
        whole = set(chunk.records)
        known = whole.union(*map(partial_names, whole))
        left: dict[str, int] = await self._in_thread(partial(_tidy, self._files, folder, known))
        # What an earlier try left counts from the start: a file's turn may never come.
        here = {name: left.get(name, left.get(partial_names(name)[0], 0)) for name in whole}
        sizes = {
            name: max(record.size_bytes or 0, here[name]) for name, record in chunk.records.items()
        }
        facts: dict[str, FileFacts] = {}
        failure: Exception | None = None
        turns = trio.Semaphore(self._config.files_per_chunk)

        def moved(name: str, offset: int) -> None:
            self.fetched_bytes += max(0, offset - here[name])
            here[name] = offset
            wrote(sum(here.values()))

        async def sized(name: str, size_bytes: int) -> None:
            sizes[name] = size_bytes
            await learned(sum(sizes.values()))

        async def fetch(name: str, record: FileRecord) -> None:
            nonlocal failure
            one = FileFetch(
                folder / name,
                record,
                self._sources,
                self._config,
                self._files,
                self._in_thread,
                self._chance,
                moved=partial(moved, name),
                learned=partial(sized, name),
            )
            try:
                async with turns, self._slot(record):
                    facts[name] = await one.run()
            except Exception as error:  # the first one counts, and ends the others
                failure = failure or error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for name, record in chunk.records.items():
                nursery.start_soon(fetch, name, record)
        if failure is not None:
            raise failure
        await self._in_thread(partial(_tidy, self._files, folder, whole))
        return {name: facts[name] for name in sorted(facts)}

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self._sources.aclose()

    @asynccontextmanager
    async def _slot(self, record: FileRecord) -> AsyncGenerator[None]:
        """A turn at its host, and one of all."""
        try:
            url = parse_url(record.url)
        except ValueError as error:
            raise FetchError(str(error)) from None
        host = url.host, url.port
        slots = self._hosts.setdefault(host, trio.Semaphore(self._config.files_per_host))
        try:
            async with slots, self._slots:
                yield
        finally:
            if slots.value == self._config.files_per_host and not slots.statistics().tasks_waiting:
                self._hosts.pop(host, None)


def _tidy(files: ChunkFiles, folder: Path, known: Set[str]) -> dict[str, int]:
    """Leave only files with these names; the bytes of each."""
    sizes: dict[str, int] = {}
    for name in files.names(folder):
        if name in known:
            sizes[name] = (folder / name).lstat().st_size
        else:
            files.unlink(folder / name)
    return sizes
