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

from chunkstore.errors import DiskFullError, FetchError
from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.core.core import Core
from chunkstore.worker.core.generation import ChunkInfo, Generation
from chunkstore.worker.core.space import Space
from chunkstore.worker.core.states import ACTIVE, Event, State
from chunkstore.worker.descriptor import Descriptor
from chunkstore.worker.disk.folder import ChunkFolder
from chunkstore.worker.disk.scan import Scan
from chunkstore.worker.fetch import Fetching, may_pass
from chunkstore.worker.keeper import Keeper

__all__ = ["InThread", "Shell", "Told"]

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
Told = Callable[[list[tuple[ChunkInfo, State, str]]], None]

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
        self._scopes: dict[int, trio.CancelScope] = {}
        self._removing: set[int] = set()
        self._removals = trio.CapacityLimiter(REMOVALS_MAX)
        self._woken = trio.Event()
        self._is_looking = False
        self.published_count = self.failure_count = 0

    @property
    def note_error(self) -> str:
        """Why notes can't be made; "" if they can."""
        return self._keeper.error

    def wake(self) -> None:
        """Look at what has changed; on the loop."""
        self._woken.set()

    def is_settled(self) -> bool:
        """Nothing is under way, and what was said is durable."""
        with self._lock:
            resting = self._core.is_resting
        busy = self._woken.is_set() or self._is_looking or self._scopes or self._removing
        return resting and not busy and self._keeper.is_idle

    async def run(self, told: Told) -> None:
        """Work until cancelled.

        Args:
            told: called with what has changed, each time something has.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keeper.run, self.wake, self._counted)
            self._woken.set()
            while True:
                next_s = self._due()
                with trio.move_on_at(next_s):
                    await self._woken.wait()
                self._woken, self._is_looking = trio.Event(), True
                await self._look(nursery, told)
                self._is_looking = False
                told([])

    def _due(self) -> float:
        """When to look again, although nobody wakes this."""
        now_s = trio.current_time()
        with self._lock:
            due_s = self._core.due(now_s)
            is_blocked = self._space.is_full
        return min(
            trio.current_time() + FULL_S if is_blocked else float("inf"),
            float("inf") if due_s is None else due_s,
        )

    # --- looking -------------------------------------------------------------------------------

    async def _look(self, nursery: trio.Nursery, told: Told) -> None:
        with self._lock:
            touched = self._core.touched()
        if touched:
            told([(one.info, one.state, one.error) for one in touched])
        for generation in touched:
            self._see_to(generation, nursery)
        self._keeper.note(touched)
        await self._begin_downloads(nursery)

    def _see_to(self, generation: Generation, nursery: trio.Nursery) -> None:
        number = generation.name.number
        is_whole = False
        with self._lock:
            if generation.state is State.DOOMED and not generation.hold_count:
                self._core.apply(generation, Event.REMOVE)
                is_whole = True
            is_due = generation.state is State.REMOVING and number not in self._removing
            is_cancelled = generation.state is State.CANCELLING
        if is_cancelled and number in self._scopes:
            self._scopes[number].cancel()
        elif is_due and number not in self._scopes:
            self._removing.add(number)
            nursery.start_soon(self._remove, generation, is_whole)

    async def _begin_downloads(self, nursery: trio.Nursery) -> None:
        with self._lock:
            has_queued = self._core.has_queued
        if not has_queued or not self._keeper.may_admit(self._config.quota_bytes):
            return
        free_bytes = await self._in_thread(self._folder.free_bytes)
        while len(self._scopes) < self._config.chunks_max:
            with self._lock:
                generation = self._core.next_start(partial(self._claim, free_bytes=free_bytes))
            if generation is None:
                return
            self._scopes[generation.name.number] = trio.CancelScope()
            nursery.start_soon(self._download, generation)

    def _claim(self, generation: Generation, *, free_bytes: int) -> bool:
        """Have room for it, if there is; inside the lock."""
        assert generation.chunk is not None
        number, needed_bytes = generation.name.number, generation.chunk.declared_bytes
        if not self._space.has_room(number, needed_bytes, free_bytes):
            return False
        self._space.claim(number, needed_bytes)
        return True

    # --- a download ----------------------------------------------------------------------------

    async def _download(self, generation: Generation) -> None:
        number = generation.name.number
        ending: Event | None = None
        error = ""
        try:
            with self._scopes[number]:
                ending = await self._fetch(generation)
        except _NoRoomError as full:
            ending, error = Event.NO_SPACE, str(full)
        except DiskFullError as full:
            ending, error = Event.NO_SPACE, str(full)
            with self._lock:
                self._space.is_full = True
        except FetchError as failure:
            ending = Event.BROKE if may_pass(failure) else Event.REFUSED
            error = str(failure)
        except OSError as failure:
            is_full = failure.errno in (errno.ENOSPC, errno.EDQUOT)
            ending = Event.NO_SPACE if is_full else Event.BROKE
            error = f"{failure.strerror or failure}: {failure.filename or self._folder.path}"
            with self._lock:
                self._space.is_full = self._space.is_full or is_full
        finally:
            del self._scopes[number]
            self._end(generation, ending, error)
            self.wake()

    def _end(self, generation: Generation, ending: Event | None, error: str) -> None:
        """A task has ended: published, failed, or cancelled."""
        with self._lock:
            if ending is Event.PUBLISHED:
                self._core.apply(generation, Event.PUBLISHED)
                self.published_count += 1
                return
            self._space.rests(generation.name.number)
            if generation.state is State.CANCELLING:
                self._core.stopped(generation)
            elif generation.state in ACTIVE and ending is not None:
                generation.error = error
                generation.failure_count += 1
                self.failure_count += 1
                generation.due_s = trio.current_time() + self._pause_s(generation)
                self._core.apply(generation, ending)

    def _pause_s(self, generation: Generation) -> float:
        """Full jitter: those that failed together don't come back together."""
        doublings = min(generation.failure_count - 1, 30)
        longest_s = min(self._config.backoff_most_s, self._config.backoff_s * 2.0**doublings)
        return longest_s * self._chance()

    async def _fetch(self, generation: Generation) -> Event:
        """Its files, and then the chunk.

        Returns:
            that it was published, whoever has cancelled it meanwhile.
        """
        chunk, name = generation.chunk, generation.name
        assert chunk is not None
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

    def _learned(self, generation: Generation, needed_bytes: int) -> None:
        """Servers say how large it is, all together."""
        number = generation.name.number
        with self._lock:
            free_bytes = self._folder.free_bytes()
            if not self._space.has_room(number, needed_bytes, free_bytes):
                raise _NoRoomError(f"it has {needed_bytes} bytes, and there is no room for them")
            self._space.claim(number, needed_bytes)

    # --- a removal -----------------------------------------------------------------------------

    async def _remove(self, generation: Generation, is_whole: bool) -> None:
        name = generation.name
        if is_whole:
            remove = partial(self._folder.remove_ready, generation.dataset_id, name)
        else:
            remove = partial(self._folder.remove_incoming, name)
        async with self._removals:
            while True:
                try:
                    await self._in_thread(remove)
                    break
                except OSError as error:
                    with self._lock:
                        generation.error = error.strerror or str(error)
                    await trio.sleep(REMOVE_AGAIN_S)
        self._removing.discard(name.number)
        with self._lock:
            self._space.removed(name.number)
            self._core.apply(generation, Event.REMOVED)
            self._core.freed()
        self.wake()

    def _counted(self, generation: Generation, size_bytes: int) -> None:
        """How much one has that a start found."""
        with self._lock:
            if generation.state is not State.GONE:
                self._space.stored(generation.name.number, size_bytes)
