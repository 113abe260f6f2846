"""Reads every run of every object once a period, before a reader meets what has rotted.

Objects come in the order of their names, so that a name is all that must be remembered to go on
after a restart. What was put behind the place of a pass, or since it began, was just written: the
next pass has it. What is found is told, and nothing else happens to it.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop
from pathlib import Path

from chunkstore.errors import DamagedError
from chunkstore.folders import open_anew
from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.located import Lookup, hold
from chunkstore.store.disk.record import checksum
from chunkstore.store.disk.stored import Extent
from chunkstore.store.disk.volume import volume_name

__all__ = ["Scrub"]

WAIT_S = 60.0
"""Longest between two steps: a small store is read more often, and its pace follows as it grows."""
REMEMBER_S = 600.0


class Scrub:
    """Passes over the objects of an engine, a step at a time; for the engine's thread.

    Args:
        ledger, volumes: of the engine.
        place: a file that remembers the place over restarts. It isn't synced, and whatever is wrong
            with it, a pass begins anew.
        period_s: so long a pass takes at most, while there is time for it; 0: there are none.
        clock: now, in seconds; never goes back.

    Attributes:
        pass_count: of whole passes.
        read_bytes: of all runs so far.
        flaw_count: of runs that weren't right, each counted once a pass.
    """

    def __init__(
        self,
        ledger: Ledger,
        volumes: Lookup,
        place: Path,
        *,
        period_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._volumes = volumes
        self._place = place
        self._period_s = period_s
        self._clock = clock
        self._key = _remembered(place)
        self._names: list[str] = []  # of this pass, to come; a heap, as sorting them takes too long
        self._runs: deque[Extent] = deque()  # of the object at `_key`, to come
        self._is_passing = False
        self._wait_s_per_byte = 0.0
        self._due_s = self._remember_s = clock()
        self.pass_count = self.read_bytes = self.flaw_count = 0

    def due_in_s(self) -> float:
        """How long until the next step has something to do; infinite if that is never."""
        return max(0.0, self._due_s - self._clock()) if self._period_s else math.inf

    def step(self) -> DamagedError | None:
        """Read at most one run, of at most 1 MiB, if one is due.

        Returns:
            what is wrong with it; None: nothing.
        Raises:
            OSError: the disk can't say, for another reason than that it is damaged.
        """
        if self.due_in_s():
            return None
        if not self._runs:
            self._go_on()
            return None
        extent = self._runs.popleft()
        now, wait_s = self._clock(), extent.record_bytes * self._wait_s_per_byte
        self._due_s = max(now, self._due_s + min(wait_s, WAIT_S))  # what was late isn't caught up
        if now >= self._remember_s:
            self._remember_s = now + REMEMBER_S
            self.remember()
        self.read_bytes += extent.size_bytes
        if self._is_right(extent) or self._is_moved(extent):
            return None
        self.flaw_count += 1
        return DamagedError(self._key, f"{volume_name(extent.volume)} at {extent.position}")

    def remember(self) -> None:
        """Write the place down."""
        part = self._place.with_name(self._place.name + ".part")
        with suppress(OSError):  # on a full disk the next start goes on from an older one
            with open_anew(part) as file:
                file.write(self._key)
            part.replace(self._place)

    def _go_on(self) -> None:
        """To the next object, or the next pass."""
        if self._names:
            self._key = heappop(self._names)
            stored = self._ledger.objects.get(self._key)
            if stored is not None:
                self._runs.extend(stored.extents)
        elif self._is_passing:
            self._is_passing, self._key = False, ""
            self.pass_count += 1
            self._due_s = max(self._due_s, self._clock() + WAIT_S)
        else:
            self._is_passing = True
            self._names = [key for key in self._ledger.objects if key >= self._key]
            heapify(self._names)
            live_bytes = sum(self._ledger.live_bytes.values())
            self._wait_s_per_byte = self._period_s / max(1, live_bytes)

    def _is_right(self, extent: Extent) -> bool:
        held = hold(self._volumes, [extent.volume])
        if held is None:
            return False
        volume, data = held[extent.volume], b""
        try:
            data = volume.read(extent.size_bytes, extent.position)
            volume.forget(extent.size_bytes, extent.position)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        finally:
            volume.close()
        is_right = len(data) == extent.size_bytes and checksum(data) == extent.crc
        if not is_right:  # it may have been, when somebody read it first
            volume.verified.discard(extent.position)
        return is_right

    def _is_moved(self, extent: Extent) -> bool:
        """It went, or compaction wrote it again, and read it for that."""
        stored = self._ledger.objects.get(self._key)
        return stored is None or extent not in stored.extents


def _remembered(place: Path) -> str:
    try:
        return place.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
