"""Whether the disk has room, and what goes first where it may."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

import trio

from chunkstore.errors import CapacityError
from chunkstore.store import Room

__all__ = ["Space"]

LEAVE_S = 5.0
"""What was evicted frees its room within a second or so; later it isn't counted on any more."""

LIVE_SHARE = 0.65
"""Of what may be used: with more of it live, evictable objects go. Garbage is up to a third of what
is live before it is cleared away, and new uploads need room meanwhile."""


class Space:
    """The disk's room.

    Args:
        disk: what is stored.
        evict: takes an object away: its name and its number.
    """

    def __init__(self, disk: Room, evict: Callable[[str, int], None]) -> None:
        self._disk = disk
        self._evict = evict
        self._evictable: OrderedDict[str, int] = OrderedDict()  # name -> number, oldest use first
        self._leaving: deque[tuple[float, str, int, int]] = deque()  # since, name, number, size
        self._leaving_bytes = 0

    def check(self, needed_bytes: int) -> None:
        """Whether so much more may be stored.

        Raises:
            CapacityError: the disk, or the share of it that may be used, is full.
        """
        free_bytes = self._disk.free_bytes()
        if free_bytes < needed_bytes:
            self.tidy()  # not for this one: room comes with the next compaction
            raise CapacityError(needed_bytes, max(0, free_bytes))

    def add(self, key: str, number: int) -> None:
        """An object that may go when room is short was stored, as the newest."""
        self._evictable[key] = number
        self._evictable.move_to_end(key)

    def touch(self, key: str) -> None:
        """It was read."""
        if key in self._evictable:
            self._evictable.move_to_end(key)

    def drop(self, key: str) -> None:
        """It is gone."""
        self._evictable.pop(key, None)

    def tidy(self) -> None:
        """Evict, oldest use first, until there is room to go on."""
        if not self._evictable:
            return
        now_s = trio.current_time()
        self._look_who_left(now_s)
        excess_bytes = self._disk.live_bytes() - LIVE_SHARE * self._disk.capacity_bytes()
        while excess_bytes > self._leaving_bytes and self._evictable:
            key, number = self._evictable.popitem(last=False)
            size_bytes = self._stored_bytes(key, number)
            if size_bytes is not None:
                self._leaving.append((now_s, key, number, size_bytes))
                self._leaving_bytes += size_bytes
                self._evict(key, number)

    def _look_who_left(self, now_s: float) -> None:
        """Of those evicted, in their order: what has gone isn't among what is live any more."""
        while self._leaving:
            since_s, key, number, size_bytes = self._leaving[0]
            if self._stored_bytes(key, number) is not None and now_s - since_s < LEAVE_S:
                return
            self._leaving.popleft()
            self._leaving_bytes -= size_bytes

    def _stored_bytes(self, key: str, number: int) -> int | None:
        stored = self._disk.stored(key)
        return stored.size_bytes if stored is not None and stored.generation == number else None
