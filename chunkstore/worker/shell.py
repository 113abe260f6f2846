"""What is done about what the core decided: downloads, removals, notes on disk; on the Trio loop.

One task looks, whenever it is woken, at what has changed. A download is a task of its own, and so
is a removal. Notes (what is wanted, what is doomed) are made behind the calls, one batch after the
other: each batch looks at how things stand by then, so that the last call counts on disk, too.
"""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from chunkstore.auth import redacted
from chunkstore.errors import FetchError
from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.core.core import Core
from chunkstore.worker.core.generation import Generation
from chunkstore.worker.core.space import Space
from chunkstore.worker.core.states import Event, State
from chunkstore.worker.descriptor import Descriptor
from chunkstore.worker.disk.folder import ChunkFolder
from chunkstore.worker.disk.scan import Scan
from chunkstore.worker.fetch import Fetching, may_pass, retry_after_s
from chunkstore.worker.keeper import Keeper
from chunkstore.worker.leftovers import Leftovers

__all__ = ["InThread", "Shell", "Told"]

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
Told = Callable[[list[Generation]], None]

REMOVALS_MAX = 2
"""At a time: they are many unlinks, and downloads need the disk, too."""
REMOVE_AGAIN_S = 5.0
"""What couldn't be removed is tried again so often."""
FULL_S = 10.0
"""A disk that was full is looked at again so often, although nothing of ours has gone."""


class _NoRoomError(Exception):
    """What a server says of a file's size is more than there is room for."""


class Shell:
    """The work of one manager.

    Args:
        core, space: under `lock`.
        lock: held for microseconds.
        folder: of the chunks.
        found: what is in it.
        config: limits.
        fetching: downloads.
        in_thread: calls what blocks, in a thread.
        chance: gives numbers in [0, 1).

    Attributes:
        published_count, failure_count: downloads that ended well, and tries that didn't, so far.
    """

    def __init__(
        self,
        core: Core,
        space: Space,
        lock: threading.Lock,
        folder: ChunkFolder,
        found: Scan,
        config: WorkerConfig,
        fetching: Fetching,
        in_thread: InThread,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._core = core
        self._space = space
        self._lock = lock
        self._folder = folder
        self._config = config
        self._fetching = fetching
        self._in_thread = in_thread
        self._chance = chance
        self._keeper = Keeper(core, lock, folder, found, in_thread)
        self._leftovers = Leftovers(core, space, lock, folder, found, in_thread)
        self._scopes: dict[int, trio.CancelScope] = {}
        self._removing: set[int] = set()
        self._removals = trio.CapacityLimiter(REMOVALS_MAX)
        self._woken = trio.Event()
        self._is_looking = self._has_freed = False
        self._room_s = float("inf")  # when to look for room again
        self.published_count = self.failure_count = 0

    def wake(self) -> None:
        """Look at what has changed; on the loop."""
        self._woken.set()

    def is_settled(self) -> bool:
        """Nothing is under way, and what was said is durable."""
        with self._lock:
            resting = self._core.is_resting
        busy = self._woken.is_set() or self._is_looking or self._scopes or self._removing
        return resting and not busy and self._keeper.is_idle and self._leftovers.are_gone

    @property
    def notes_error(self) -> str:
        """As `Keeper.error`."""
        return self._keeper.error

    async def run(self, told: Told) -> None:
        """Work until cancelled.

        Args:
            told: called with what has changed, each time something has.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leftovers.run, self.wake, self._gone)
            nursery.start_soon(self._keeper.run, self.wake, self._gone)
            self._woken.set()
            next_s = float("inf")
            while True:
                with trio.move_on_at(next_s):
                    await self._woken.wait()
                self._woken, self._is_looking = trio.Event(), True
                next_s = await self._look(nursery, told)
                self._is_looking = False
                told([])

    # --- looking -------------------------------------------------------------------------------

    async def _look(self, nursery: trio.Nursery, told: Told) -> float:
        """Do what is due; when to look again, although nobody wakes this."""
        with self._lock:
            due_s = self._core.due(trio.current_time())
            touched = self._core.touched()
        if touched:
            told(touched)
        for generation in touched:
            self._see_to(generation, nursery)
        self._keeper.note(touched)
        await self._begin_downloads(nursery)
        return min(self._room_s, float("inf") if due_s is None else due_s)

    def _see_to(self, generation: Generation, nursery: trio.Nursery) -> None:
        number = generation.name.number
        with self._lock:
            if generation.state is State.DOOMED and not generation.hold_count:
                self._core.apply(generation, Event.REMOVE)
            is_due = generation.state is State.REMOVING and number not in self._removing
            is_cancelled = generation.state is State.CANCELLING
        if is_cancelled and number in self._scopes:
            self._scopes[number].cancel()
        elif is_due and number not in self._scopes:
            self._removing.add(number)
            nursery.start_soon(self._remove, generation)

    async def _begin_downloads(self, nursery: trio.Nursery) -> None:
        is_counted = self._config.quota_bytes is None or self._leftovers.is_counted
        with self._lock:
            has_queued, has_waiting = self._core.has_queued, self._core.has_waiting
        is_time = has_waiting and (self._has_freed or trio.current_time() >= self._room_s)
        if is_counted and (has_queued or is_time):
            free_bytes = await self._free_bytes()
            with self._lock:
                if is_time:
                    self._has_freed = self._space.is_full = False
                    self._room_s = float("inf")
                    self._core.freed(self._room(free_bytes))
            self._begin(nursery, free_bytes)
        with self._lock:
            has_waiting = self._core.has_waiting
        again_s = trio.current_time() + FULL_S
        self._room_s = min(self._room_s, again_s) if has_waiting else float("inf")

    def _begin(self, nursery: trio.Nursery, free_bytes: int) -> None:
        while len(self._scopes) < self._config.chunks_max:
            with self._lock:
                generation = self._core.next_start(partial(self._claim, free_bytes=free_bytes))
            if generation is None:
                return
            self._scopes[generation.name.number] = trio.CancelScope()
            nursery.start_soon(self._download, generation)

    async def _free_bytes(self) -> int:
        """Of the disk; one that doesn't say has no room for now."""
        try:
            free_bytes: int = await self._in_thread(self._folder.free_bytes)
        except OSError:
            return 0
        return free_bytes

    def _room(self, free_bytes: int) -> Callable[[Generation], bool]:
        """Says which of those that wait have room, beside those of which it said so before."""
        promised_bytes = 0

        def has_room(generation: Generation) -> bool:
            nonlocal promised_bytes
            number, needed_bytes = generation.name.number, _needed(generation)
            if not self._space.has_room(number, promised_bytes + needed_bytes, free_bytes):
                return False
            promised_bytes += max(0, needed_bytes - self._space.written_bytes(number))
            return True

        return has_room

    def _claim(self, generation: Generation, *, free_bytes: int) -> bool:
        """Have room for it, if there is; inside the lock."""
        number, needed_bytes = generation.name.number, _needed(generation)
        if not self._space.has_room(number, needed_bytes, free_bytes):
            return False
        self._space.claim(number, needed_bytes)
        return True

    # --- a download ----------------------------------------------------------------------------

    async def _download(self, generation: Generation) -> None:
        chunk, number = generation.chunk, generation.name.number
        assert chunk is not None
        ending: Event | None = None
        error, asked_s = "", 0.0
        try:
            with self._scopes[number]:
                ending = await self._fetch(generation, chunk)
        except _NoRoomError as full:
            ending, error = Event.NO_SPACE, str(full)
        except FetchError as failure:
            ending = Event.BROKE if may_pass(failure) else Event.REFUSED
            error, asked_s = str(failure), retry_after_s(failure)
        except OSError as failure:
            is_full = failure.errno in (errno.ENOSPC, errno.EDQUOT)
            ending = Event.NO_SPACE if is_full else Event.BROKE
            error = f"{failure.filename or self._folder.path}: {failure.strerror or failure}"
            with self._lock:
                self._space.is_full |= is_full
        finally:
            del self._scopes[number]
            self._end(generation, chunk, ending, error, asked_s)
            self.wake()

    def _end(
        self,
        generation: Generation,
        chunk: DataChunk,
        ending: Event | None,
        error: str,
        asked_s: float,
    ) -> None:
        """A task has ended: published, failed, or cancelled."""
        with self._lock:
            if ending is Event.PUBLISHED:
                self._core.apply(generation, Event.PUBLISHED)
                self.published_count += 1
                return
            self._space.rests(generation.name.number)
            if generation.state is State.CANCELLING:
                self._core.stopped(generation)
            elif ending is not None:
                pause_s = 0.0
                if ending is Event.REFUSED and generation.chunk != chunk:
                    ending = Event.BROKE  # asked for with other URLs meanwhile: these may do
                elif ending is not Event.NO_SPACE:
                    self.failure_count += 1
                    generation.failure_count += 1
                    pause_s = self._pause_s(generation, asked_s)
                generation.error = redacted(error)  # URLs of files may be signed
                generation.due_s = trio.current_time() + pause_s
                self._core.apply(generation, ending)

    def _pause_s(self, generation: Generation, asked_s: float) -> float:
        """Full jitter: those that failed together don't come back together.

        Args:
            asked_s: what the server asks for; more than the longest pause of ours it doesn't get.
        """
        doublings = min(generation.failure_count - 1, 30)
        longest_s = min(self._config.backoff_most_s, self._config.backoff_s * 2.0**doublings)
        return min(asked_s, self._config.backoff_most_s) + longest_s * self._chance()

    async def _fetch(self, generation: Generation, chunk: DataChunk) -> Event:
        """Its files, and then the chunk.

        Returns:
            that it was published, whoever has cancelled it meanwhile.
        """
        name = generation.name
        folder = await self._in_thread(partial(self._folder.incoming, name))
        facts = await self._fetching.fetch_chunk(
            chunk,
            folder,
            wrote=partial(self._wrote, generation),
            learned=partial(self._learned, generation),
        )
        descriptor = Descriptor(chunk, facts)
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):  # from here on it may be there
            with self._lock:
                if generation.state is State.DOWNLOADING:
                    self._core.apply(generation, Event.FETCHED)
            await self._in_thread(partial(self._folder.publish, name, descriptor))
            with self._lock:
                self._space.stored(name.number, descriptor.size_bytes)
        return Event.PUBLISHED

    def _wrote(self, generation: Generation, written_bytes: int) -> None:
        with self._lock:
            self._space.wrote(generation.name.number, written_bytes)

    async def _learned(self, generation: Generation, needed_bytes: int) -> None:
        """Servers say how large it is, all together."""
        number = generation.name.number
        free_bytes = await self._free_bytes()
        with self._lock:
            generation.needed_bytes = needed_bytes
            if not self._space.has_room(number, needed_bytes, free_bytes):
                raise _NoRoomError(f"it needs {needed_bytes} bytes, and there is no room for them")
            self._space.claim(number, needed_bytes)

    # --- a removal -----------------------------------------------------------------------------

    async def _remove(self, generation: Generation) -> None:
        name = generation.name
        remove = partial(self._folder.remove, generation.dataset_id, name)
        while True:
            try:
                async with self._removals:
                    await self._in_thread(remove)
                break
            except OSError as error:
                with self._lock:
                    generation.error = f"it can't be removed: {error.strerror or error}"
                await trio.sleep(REMOVE_AGAIN_S)
        self._removing.discard(name.number)
        with self._lock:
            self._core.apply(generation, Event.REMOVED)
        self._gone(name.number)

    def _gone(self, number: int) -> None:
        """Nothing is left of one: there may be room."""
        with self._lock:
            self._space.removed(number)
        self._has_freed = True
        self.wake()


def _needed(generation: Generation) -> int:
    """Its bytes, as far as is known."""
    assert generation.chunk is not None
    return max(generation.needed_bytes, generation.chunk.declared_bytes)
