"""What is fetched ahead for who reads on from byte to byte, and how much memory that takes.

Who reads on gets windows of a few stripes: each is one request to a node, and the next one comes
while this one is sent. Readers at the same place share them. A window stays while somebody reads in
it, and no longer. Readers have no names here: one is known by the byte that it will want next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from chunkstore.cluster.fetch import Fetch, Fetcher, Place
from chunkstore.cluster.stripe import STRIPE_BYTES
from chunkstore.errors import DamagedError

__all__ = ["BUDGET_BYTES", "CURSOR_S", "WINDOW_BYTES", "Track", "Window", "Windows"]

T = TypeVar("T")

WINDOW_BYTES = 8 * STRIPE_BYTES
"""A part gives 2 MiB a request then; four stripes cost a fifth more in all."""
WINDOWS_MAX = 8
"""Of one object: four readers that are far from each other have two each."""
CURSORS_MAX = 32
"""Readers of one object that are known."""
CURSOR_S = 10.0
"""Who wants nothing for so long makes room for others."""
BUDGET_BYTES = 64 * 2**20
"""What all windows of a gateway take together."""
SHARE = 6
"""A window takes at most that part of what is left: with many readers, all have smaller ones."""


class Windows:
    """The tasks that fetch windows, and what all windows take.

    Args:
        fetcher: fetches them.

    Attributes:
        used_bytes: those on their way counted, too.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self.fetcher = fetcher
        self.used_bytes = 0
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fetch until cancelled.

        Cancellation: what was on its way won't come; who waits for it is told.
        """
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    @property
    def share_bytes(self) -> int:
        """What the next window may take: whole stripes; with many windows open, none."""
        share_bytes = (BUDGET_BYTES - self.used_bytes) // SHARE
        return max(0, min(WINDOW_BYTES, share_bytes - share_bytes % STRIPE_BYTES))

    def open(self, place: Place, start: int, stop: int) -> Window:
        """Have bytes come, until `Window.close`."""
        assert self._nursery is not None, "it is not running"
        window = Window(self, Fetch(self.fetcher, place, start, stop), start, stop)
        self._nursery.start_soon(window.come)
        return window


class Window:
    """Bytes [start, stop) of an object that are on their way, or here.

    Attributes:
        waiter_count: who takes from it now.
    """

    __slots__ = ("_error", "_fetch", "_scope", "_windows", "start", "stop", "waiter_count")

    def __init__(self, windows: Windows, fetch: Fetch, start: int, stop: int) -> None:
        self._windows = windows
        self._fetch = fetch
        self._error: str | None = None
        self._scope = trio.CancelScope()
        self.start = start
        self.stop = stop
        self.waiter_count = 0
        windows.used_bytes += stop - start

    async def come(self) -> None:
        """Fetch it; for the task that does."""
        error = "it is not fetched any more"
        try:
            with self._scope:
                await self._fetch.run()
        except DamagedError as damage:
            error = damage.where
        finally:
            self._error = error
            self._fetch.grown.set()

    async def view(self, key: str, start: int, stop: int) -> memoryview:
        """The bytes from `start` on that are in one unit, as soon as they are here.

        Raises:
            DamagedError: they can't be had.
        Cancellation: they come all the same.
        """
        return await self._until(key, lambda: next(self._fetch.views(start, stop), None))

    async def units(self, key: str, stripe: int) -> dict[int, bytes]:
        """The data units of a stripe that is all in it, as soon as they are here.

        Raises, Cancellation: as `view`.
        """
        return await self._until(key, lambda: self._fetch.units(stripe))

    async def _until(self, key: str, take: Callable[[], T | None]) -> T:
        self.waiter_count += 1
        try:
            while (taken := take()) is None:
                if self._error is not None:
                    raise DamagedError(key, self._error)
                await self._fetch.grown.wait()
        finally:
            self.waiter_count -= 1
        return taken

    def has(self, offset: int) -> bool:
        """Whether a byte is here, or may come."""
        if not self.start <= offset < self.stop:
            return False
        return self._error is None or any(self._fetch.views(offset, offset + 1))

    def close(self) -> None:
        """Nobody needs it: what was taken from it stays."""
        self._scope.cancel()
        self._windows.used_bytes -= self.stop - self.start


class Track:
    """The windows of one object, and where its readers are.

    Args:
        windows: of the gateway.
        place: where the object is now.
    """

    __slots__ = ("_cursors", "_open", "_place", "_windows")

    def __init__(self, windows: Windows, place: Callable[[], Place]) -> None:
        self._windows = windows
        self._place = place
        self._open: list[Window] = []
        self._cursors: list[tuple[int, float]] = []  # bytes wanted next, since when; oldest first

    def take_up(self, offset: int) -> bool:
        """Whether a reader goes on at `offset` that was here before, or where another one is."""
        for cursor in self._cursors:
            if cursor[0] == offset:
                self._cursors.remove(cursor)
                return True
        return self._at(offset) is not None

    def lay_down(self, offset: int) -> None:
        """A reader will go on at `offset`, if it does."""
        self._cursors.append((offset, trio.current_time()))
        del self._cursors[:-CURSORS_MAX]
        self._tidy()

    def window(self, offset: int, stop: int) -> Window | None:
        """The window that has `offset`; the one behind it is begun, too.

        Args:
            stop: what is behind it is not wanted.
        Returns:
            None: there is no room for one.
        """
        window = self._at(offset) or self._begin(offset, stop)
        if window is not None and window.stop < stop and self._at(window.stop) is None:
            self._begin(window.stop, stop)
        return window

    def leave(self) -> None:
        """Nobody reads it any more."""
        self._cursors.clear()
        self._tidy()

    def _at(self, offset: int) -> Window | None:
        for window in self._open:
            if window.has(offset):
                return window
        return None

    def _begin(self, offset: int, stop: int) -> Window | None:
        size_bytes = self._windows.share_bytes
        if not size_bytes or len(self._open) >= WINDOWS_MAX:
            return None
        stop = min(stop, offset - offset % STRIPE_BYTES + size_bytes)
        # It ends where another one begins: readers that began elsewhere come to share theirs.
        begun = (other.start for other in self._open if other.has(other.start))
        stop = min([stop, *(start for start in begun if start > offset)])
        window = self._windows.open(self._place(), offset, stop)
        self._open.append(window)
        return window

    def _tidy(self) -> None:
        """Close the windows that nobody is in, or just before."""
        since_s = trio.current_time() - CURSOR_S
        self._cursors = [cursor for cursor in self._cursors if cursor[1] >= since_s]
        for window in list(self._open):
            first = window.start - WINDOW_BYTES
            if window.waiter_count or any(first <= at < window.stop for at, _ in self._cursors):
                continue
            self._open.remove(window)
            window.close()
