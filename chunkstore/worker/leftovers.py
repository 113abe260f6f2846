"""What the last life left: counted, and taken away if nobody wants it; behind the start."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from chunkstore.worker.core.core import Core
from chunkstore.worker.core.generation import Found, Generation
from chunkstore.worker.core.space import Space
from chunkstore.worker.core.states import State
from chunkstore.worker.disk.folder import ChunkFolder
from chunkstore.worker.disk.scan import INCOMING, READY, TRASH, Scan

__all__ = ["Leftovers"]

AGAIN_S = 5.0
"""What couldn't be removed is tried again so often."""
COUNT_BATCH = 64
_WHOLE = frozenset({State.READY, State.DOOMED})


class Leftovers:
    """The work that a start finds, for one manager.

    Args:
        core, space: under `lock`.
        folder: of the chunks.
        found: what a start found there.
        in_thread: calls what blocks, in a thread.

    Attributes:
        is_counted: `space` has all that was there.
        are_gone: what nobody wants is.
    """

    def __init__(
        self,
        core: Core,
        space: Space,
        lock: threading.Lock,
        folder: ChunkFolder,
        found: Scan,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        self._core = core
        self._space = space
        self._lock = lock
        self._folder = folder
        self._found = found
        self._in_thread = in_thread
        self.is_counted = self.are_gone = False

    async def run(self, changed: Callable[[], None], gone: Callable[[int], None]) -> None:
        """Do it, and return.

        Args:
            changed: called when something is done.
            gone: told the number of what was taken away.
        """
        await self._count_rest()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._remove, changed, gone)
            await self._count_ready(changed)

    async def _count_rest(self) -> None:
        found = self._found
        rows = [(one, READY) for one in found.doomed]
        rows += [(one, INCOMING) for one in (*found.discarded, *found.partial)]
        rows += [(one, TRASH) for one in found.trash]
        kept = {one.name.number for one in found.partial}
        for one, room in rows:
            size_bytes = await self._in_thread(partial(self._folder.size_of, one, room))
            with self._lock:
                if one.name.number not in kept:
                    self._space.stored(one.name.number, size_bytes)
                elif self._core.is_kept(one) and not self._space.has_claim(one.name.number):
                    self._space.wrote(one.name.number, size_bytes)

    async def _remove(self, changed: Callable[[], None], gone: Callable[[int], None]) -> None:
        found, folder = self._found, self._folder
        work: list[tuple[int, Callable[[], None]]] = []
        work += [(one.name.number, partial(folder.remove_trash, one.name)) for one in found.trash]
        work += [
            (one.name.number, partial(folder.remove, one.dataset_id, one.name))
            for one in found.doomed
        ]
        work += [
            (one.name.number, partial(folder.remove_incoming, one.name)) for one in found.discarded
        ]
        work += [(0, partial(folder.remove_stray, path)) for path in found.strays]
        while work:
            failed: list[tuple[int, Callable[[], None]]] = []
            for number, remove in work:
                try:
                    await self._in_thread(remove)
                except OSError:
                    failed.append((number, remove))
                else:
                    gone(number)
            work = failed
            if work:
                await trio.sleep(AGAIN_S)
        self.are_gone = True
        changed()

    async def _count_ready(self, changed: Callable[[], None]) -> None:
        """Read what chunks say of themselves: their sizes, and whether their files have them."""
        with self._lock:
            rows = [one for one in self._core.generations() if one.state in _WHOLE]
        for start in range(0, len(rows), COUNT_BATCH):
            batch = rows[start : start + COUNT_BATCH]
            sizes = await self._in_thread(partial(self._sizes, batch))
            has_damage = False
            with self._lock:
                for generation, (size_bytes, is_right) in zip(batch, sizes, strict=True):
                    if generation.state is not State.GONE:
                        self._space.stored(generation.name.number, size_bytes)
                    if not is_right and generation.state in _WHOLE:
                        self._core.damaged(generation)
                        has_damage = True
            if has_damage:
                changed()
        self.is_counted = True
        changed()

    def _sizes(self, batch: list[Generation]) -> list[tuple[int, bool]]:
        """In a thread: bytes of each, and whether they are what it says."""
        sizes: list[tuple[int, bool]] = []
        for one in batch:
            checked = self._folder.checked_size(one.dataset_id, one.name)
            if checked is not None:
                sizes.append((checked, True))
            else:
                found = Found(one.dataset_id, one.name)
                sizes.append((self._folder.size_of(found, READY), False))
        return sizes
