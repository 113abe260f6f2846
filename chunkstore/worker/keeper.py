"""What is noted on disk behind the calls, what a start left to be done, and what it left unread.

Notes are made in batches, one after the other. A batch writes how things stand when it begins, not
how they stood when somebody called; so what is on disk at the end is what was said last.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import trio

from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.core.core import Core
from chunkstore.worker.core.generation import Found, Generation
from chunkstore.worker.core.states import State
from chunkstore.worker.disk.folder import ChunkFolder
from chunkstore.worker.disk.scan import Scan

__all__ = ["Keeper"]

AGAIN_S = 5.0
"""Notes that couldn't be made are tried again so often."""
COUNT_BATCH = 64

_InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


class Keeper:
    """Keeps notes for one manager.

    Args:
        core: under `lock`.
        folder: of the chunks.
        found: what a start found there.
        in_thread: calls what blocks, in a thread.

    Attributes:
        error: why notes can't be made; "" if they can.
    """

    def __init__(
        self,
        core: Core,
        lock: threading.Lock,
        folder: ChunkFolder,
        found: Scan,
        in_thread: _InThread,
    ) -> None:
        self._core = core
        self._lock = lock
        self._folder = folder
        self._found = found
        self._in_thread = in_thread
        self._wanted = set(found.wanted)
        self._marked: set[int] = set()
        self._due: dict[int, Generation] = {}
        self._is_busy = True
        self._is_counted = False
        self._came = trio.Event()
        self.error = ""

    @property
    def is_idle(self) -> bool:
        """All is noted."""
        return not self._due and not self._is_busy

    def may_admit(self, quota_bytes: int | None) -> bool:
        """Whether downloads may begin: with a quota, once it is known what is there."""
        return quota_bytes is None or self._is_counted

    def note(self, generations: Iterable[Generation]) -> None:
        """These have changed."""
        self._due.update((one.name.number, one) for one in generations)
        self._came.set()

    async def run(
        self, changed: Callable[[], None], counted: Callable[[Generation, int], None]
    ) -> None:
        """Work until cancelled.

        Args:
            changed: called when something is done.
            counted: told how many bytes a chunk has that a start found.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._count, changed, counted)
            await self._clean()
            while True:
                await self._keep(self._discarded)
                while self._due:
                    await self._keep(self._write)
                self._is_busy = False
                changed()
                await self._came.wait()
                self._came, self._is_busy = trio.Event(), True

    async def _keep(self, batch: Callable[[], Awaitable[None]]) -> None:
        """Have it done, however often it takes."""
        while True:
            try:
                await batch()
            except OSError as error:
                self.error = f"{error.filename or self._folder.path}: {error.strerror or error}"
                await trio.sleep(AGAIN_S)
            else:
                self.error = ""
                return

    # --- what was said -------------------------------------------------------------------------

    async def _write(self) -> None:
        due, self._due = self._due, {}
        try:
            await self._write_batch(due.values())
        except BaseException:
            self._due = {**due, **self._due}
            raise

    async def _write_batch(self, due: Iterable[Generation]) -> None:
        wanted: list[DataChunk] = []
        done: set[tuple[bytes, str]] = set()
        marks: list[Generation] = []
        unmarks: list[Generation] = []
        with self._lock:
            for one in due:
                key = one.name.id, one.name.identity
                current = self._core.current(one.id)
                is_wanted = current is one and one.state is not State.READY
                if is_wanted and key not in self._wanted and one.chunk is not None:
                    wanted.append(one.chunk)
                elif not is_wanted and key in self._wanted and not self._is_awaited(key):
                    done.add(key)
                number = one.name.number
                if one.state is State.DOOMED and number not in self._marked:
                    marks.append(one)
                elif number in self._marked and one.state in (State.READY, State.GONE):
                    unmarks.append(one)
        await self._in_thread(partial(self._make_notes, wanted, done, marks, unmarks))
        self._wanted |= {(chunk.id, chunk.identity) for chunk in wanted}
        self._wanted -= done
        self._marked |= {one.name.number for one in marks}
        self._marked -= {one.name.number for one in unmarks}

    def _is_awaited(self, key: tuple[bytes, str]) -> bool:
        """Another generation of the same is wanted, and not there."""
        current = self._core.current(key[0])
        is_same = current is not None and current.name.identity == key[1]
        return is_same and current is not None and current.state is not State.READY

    def _make_notes(
        self,
        wanted: list[DataChunk],
        done: set[tuple[bytes, str]],
        marks: list[Generation],
        unmarks: list[Generation],
    ) -> None:
        """In a thread."""
        if wanted:
            self._folder.write_wanted(wanted)
        for one in marks:
            self._folder.mark_doomed(one.dataset_id, one.name)
        for one in unmarks:
            self._folder.unmark(one.dataset_id, one.name)
        self._folder.forget_wanted(done)

    async def _discarded(self) -> None:
        """Partial ones that nobody will ask for."""
        with self._lock:
            discarded = self._core.discarded()
        for one in discarded:
            await self._in_thread(partial(self._discard, one))

    def _discard(self, one: Found) -> None:
        """In a thread."""
        self._folder.remove_incoming(one.name)
        self._folder.forget_wanted([(one.name.id, one.name.identity)])
        self._wanted.discard((one.name.id, one.name.identity))

    # --- what a start left ---------------------------------------------------------------------

    async def _clean(self) -> None:
        """Take away what the last life didn't get to."""
        found = self._found
        kept = {(one.name.id, one.name.identity) for one in found.partial}
        stale = self._wanted - kept
        work: list[Callable[[], None]] = [partial(self._folder.forget_wanted, stale)]
        work += [partial(self._folder.remove_trash, name) for name in found.trash]
        work += [
            partial(self._folder.remove_ready, one.dataset_id, one.name) for one in found.doomed
        ]
        work += [partial(self._folder.remove_incoming, one.name) for one in found.discarded]
        work += [partial(self._folder.remove_stray, path) for path in found.strays]
        for one in work:
            await self._keep(partial(self._in_thread, one))
        self._wanted &= kept

    async def _count(
        self, changed: Callable[[], None], counted: Callable[[Generation, int], None]
    ) -> None:
        """Read what chunks say of themselves: their sizes, and whether their files have them."""
        with self._lock:
            rows = [one for one in self._core.generations() if one.state is State.READY]
        for start in range(0, len(rows), COUNT_BATCH):
            batch = rows[start : start + COUNT_BATCH]
            sizes = await self._in_thread(partial(self._sizes, batch))
            for generation, size_bytes in zip(batch, sizes, strict=True):
                if size_bytes is not None:
                    counted(generation, size_bytes)
                    continue
                with self._lock:
                    if generation.state in (State.READY, State.DOOMED):
                        self._core.damaged(generation)
            changed()
        self._is_counted = True
        changed()

    def _sizes(self, batch: list[Generation]) -> list[int | None]:
        """In a thread: bytes of each, None for one that isn't what it says."""
        return [self._folder.checked_size(one.dataset_id, one.name) for one in batch]
