"""What is noted on disk behind the calls.

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
        self._in_thread = in_thread
        self._wanted = set(found.wanted)  # noted, durably
        self._traces = set(found.wanted)  # and what a note that failed may have left of others
        self._stale = found.wanted - {(one.name.id, one.name.identity) for one in found.partial}
        self._marked: set[int] = set()
        self._due: dict[int, Generation] = {}
        self._discarded: list[Found] = []
        self._is_busy = True
        self._came = trio.Event()
        self.error = ""

    @property
    def is_idle(self) -> bool:
        """All is noted."""
        return not self._due and not self._is_busy

    def note(self, generations: Iterable[Generation]) -> None:
        """These have changed, or something was discarded."""
        self._due.update((one.name.number, one) for one in generations)
        with self._lock:
            is_due = bool(self._due) or self._core.has_discarded
        if is_due:
            self._came.set()

    async def run(self, changed: Callable[[], None], gone: Callable[[int], None]) -> None:
        """Work until cancelled.

        Args:
            changed: called when something is done.
            gone: told the number of what was taken away.
        """
        await self._keep(self._forget_stale)
        while True:
            await self._keep(partial(self._discard, gone))
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
                elif not is_wanted and key in self._traces and not self._is_awaited(key):
                    done.add(key)
                number = one.name.number
                if one.state is State.DOOMED and one.hold_count:
                    marks.append(one)
                elif number in self._marked and one.state in (State.READY, State.GONE):
                    unmarks.append(one)
        keys = {(chunk.id, chunk.identity) for chunk in wanted}
        self._marked |= {one.name.number for one in marks}  # perhaps, if it fails
        self._traces |= keys
        self._wanted -= done  # before it is tried: who asks again meanwhile gets a new one
        await self._in_thread(partial(self._make_notes, wanted, done, marks, unmarks))
        self._wanted |= keys
        self._traces -= done
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
        if done:
            self._folder.forget_wanted(done)

    async def _discard(self, gone: Callable[[int], None]) -> None:
        """Take away partial ones that nobody will ask for."""
        with self._lock:
            self._discarded += self._core.discarded()
            keys = {(one.name.id, one.name.identity) for one in self._discarded}
            keys = {key for key in keys & self._traces if not self._is_awaited(key)}
        if keys:
            await self._forget(keys)
        while self._discarded:
            one = self._discarded[-1]
            await self._in_thread(partial(self._folder.remove_incoming, one.name))
            self._discarded.pop()
            gone(one.name.number)

    async def _forget_stale(self) -> None:
        """What was asked for in the last life, of which nothing came."""
        if self._stale:
            await self._forget(self._stale)

    async def _forget(self, keys: set[tuple[bytes, str]]) -> None:
        self._wanted -= keys  # as above
        await self._in_thread(partial(self._folder.forget_wanted, keys))
        self._traces -= keys
