"""Whether the disk has room, and what goes first where it may."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from chunkstore.errors import CapacityError
from chunkstore.store import Room

__all__ = ["Space"]

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

    def check(self, needed_bytes: int) -> None:
        """Whether so much more may be stored.

        Raises:
            CapacityError: the disk, or the share of it that may be used, is full.
        """
        free_bytes = self._disk.free_bytes()
        if free_bytes < needed_bytes:
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
        excess_bytes = self._disk.live_bytes() - LIVE_SHARE * self._disk.capacity_bytes()
        while excess_bytes > 0 and self._evictable:
            key, number = self._evictable.popitem(last=False)
            stored = self._disk.stored(key)
            if stored is not None and stored.generation == number:
                excess_bytes -= stored.size_bytes
                self._evict(key, number)
