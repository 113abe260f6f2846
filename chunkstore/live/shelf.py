"""The store behind a catalog: what goes there, what comes back, and when memory may let go.

An upload writes runs to disk behind its ring, which is a window then: readers that it leaves behind
go on from disk. A commit shows at once, and is acknowledged when it is durable. From then on an
object's bytes are on disk; those of small ones stay in memory, too, as long as there is room, and
so does what is known of objects that were asked for. Of all others memory has the name alone.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import trio

from chunkstore.errors import CapacityError, DamagedError, DiskError
from chunkstore.live.space import Space
from chunkstore.objects import Abort, Facts, Generation, State, etag_of, expires_of
from chunkstore.policy import PolicyTable
from chunkstore.ring import Ring
from chunkstore.store import WARM_BYTES, Incoming, OnDone, Store

if TYPE_CHECKING:
    from chunkstore.live.catalog import Catalog

__all__ = ["Shelf"]

KEPT_BYTES = 256 * 1024
"""Complete objects up to this size stay in memory, too, while there is room: playlists are looked
into, and so little is sooner sent from there."""
GOING_MAX = 1000
"""More expire at once only as fast as they are taken away."""
RETRY_S = 10.0
"""What couldn't be taken away for want of room is tried again after so long."""


class Shelf:
    """What a catalog knows of its disk.

    Args:
        disk: the store, running.
        catalog: whose objects it has.
        policies: what holds for a name.

    Attributes:
        space: the disk's room.
    """

    def __init__(self, disk: Store, catalog: Catalog, policies: PolicyTable) -> None:
        self._disk = disk
        self.space = Space(disk, catalog.evict_stored)
        self._catalog = catalog
        self._policies = policies
        self.store = catalog.store
        self._going: Counter[str] = Counter()  # names whose object is being taken away
        self._fewer = trio.Event()

    def load(self) -> Iterator[str]:
        """The names of what is stored; those whose time is over are taken away instead.

        Cost: a microsecond an object.
        """
        now_s, clock_s = time.time(), trio.current_time()
        evictable: list[tuple[float, str, int]] = []
        may_evict = any(row.sets.get("evict") for row in self._policies.rows)
        for key, number, facts in self._disk.objects():
            left_s = expires_of(facts) - now_s
            if left_s != math.inf:
                self.store.expire_at(clock_s + max(0.0, left_s), number, key)
            if left_s > 0:
                if may_evict and self._policies.for_key(key).evict:
                    evictable.append((Facts.decode(facts).modified_s, key, number))
                yield key
        for _, key, number in sorted(evictable):
            self.space.add(key, number)

    # --- looking ---------------------------------------------------------------------------------

    def usage(self) -> dict[str, int]:
        """The disk's bytes: "live", "garbage", and "free" for uploads."""
        live_bytes, free_bytes = self._disk.live_bytes(), max(0, self._disk.free_bytes())
        garbage_bytes = self._disk.used_bytes - live_bytes
        return {"live": live_bytes, "garbage": garbage_bytes, "free": free_bytes}

    @property
    def flaw_count(self) -> int:
        """Runs that the scrub found damaged, each counted once a pass."""
        return self._disk.flaw_count

    def trouble(self) -> list[str]:
        """What is wrong with the disk now, in words."""
        return self._disk.trouble()

    # --- Backing -------------------------------------------------------------------------------

    def recall(self, key: str) -> Generation | None:
        """As `Backing.recall`. Cost: ten microseconds."""
        stored = self._disk.stored(key)
        if stored is None:
            return None
        facts = Facts.decode(stored.facts)
        number = stored.generation
        etag = etag_of(facts.boot, number)
        generation = Generation(key, number, etag, self._policies.for_key(key), facts.created_s)
        generation.state = State.COMPLETE
        generation.ring = Ring(stored.size_bytes)
        generation.source = self._disk.source(key, number)
        generation.content_type = facts.content_type
        generation.sha256 = stored.sha256
        generation.modified_s = facts.modified_s
        if facts.expires_s != math.inf:
            left_s = facts.expires_s - time.time()
            generation.expires_at_s = trio.current_time() + left_s
        return generation

    def warmed(self, generation: Generation) -> None:
        """As `Backing.warmed`; others are cooled for it where memory is short."""
        self._has_room(WARM_BYTES)  # what little it takes is charged in any case
        self.store.charge(generation)
        self.store.keep(generation)
        if generation.expires_at_s is not None:
            self._catalog.expire_at(generation.expires_at_s, generation.id, generation.key)

    # --- writing -------------------------------------------------------------------------------

    def admit(self, needed_bytes: int) -> None:
        """Whether a new upload may begin that announces so much.

        Raises:
            CapacityError: as `Space.check`.
            DiskError: none could become complete now.
        """
        refusal = self._disk.refusal()
        if refusal is not None:
            raise refusal
        self.space.check(needed_bytes)

    def begin(self, key: str) -> Incoming:
        """The disk's side of a new upload."""
        return self._disk.begin(key)

    def committed(self, generation: Generation, cause: Abort | None) -> None:
        """A commit that shows is durable now; or it can't be, and what was there before shows."""
        catalog = self._catalog
        if cause is not None:
            catalog.take_back(generation, cause)
            self._restore(generation.key)
        elif generation.state is State.COMPLETE:
            catalog.keep(generation)
            self.settle(generation)
            if generation.policy.evict:
                self.space.add(generation.key, generation.id)
            self.space.tidy()

    def settle(self, generation: Generation) -> None:
        """Let go of the bytes of a large object that are on disk, if nobody reads them here."""
        source, ring = generation.source, generation.ring
        if source is None or not source.is_committed or generation.state is not State.COMPLETE:
            return
        is_known = generation.charged_bytes > 0  # else it was cooled while nobody read it
        if ring.size_bytes > KEPT_BYTES and not generation.readers and is_known:
            ring.trim(ring.end)
            self.store.charge(generation)

    def cool(self, generation: Generation) -> None:
        """Let go of what memory has of a complete object that is on disk."""
        if self._catalog.namespace.cool(generation):
            self.store.cool(generation)
            self.store.release(generation)
        else:
            generation.ring.trim(generation.ring.end)
            self.store.charge(generation)
            self.store.touch(generation)

    async def fill(self, generation: Generation) -> None:
        """Have the bytes of a small object in memory, if there is room for them.

        Args:
            generation: it has a reader, so that it stays what its name has in memory.
        Raises: as `Source.read`.
        Cancellation: nothing remains.
        """
        ring, source = generation.ring, generation.source
        if source is None or not ring.base or ring.size_bytes > KEPT_BYTES:
            return
        assert generation.readers
        payload = await source.read()
        if len(payload) != ring.size_bytes:
            raise DamagedError(generation.key, "bytes of it are missing")
        # Perhaps somebody else did it meanwhile.
        if ring.base and generation.state is State.COMPLETE and self._has_room(len(payload)):
            ring.fill(payload)
            self.store.charge(generation)

    def _has_room(self, needed_bytes: int) -> bool:
        """Whether memory takes so much more, once what nobody reads has made room."""
        try:
            self._catalog.make_room(needed_bytes)
        except CapacityError:
            return False
        return True

    # --- going away ----------------------------------------------------------------------------

    async def delete(self, key: str) -> None:
        """Take away what is stored of a name that shows nothing any more.

        Raises:
            DiskError: it is still there, and shows again.
        Cancellation: it may yet go.
        """
        done = trio.Event()
        failures: list[DiskError] = []

        def deleted(error: DiskError | None) -> None:
            if error is not None:
                failures.append(error)
                self._restore(key)
            done.set()

        self._take_away(key, deleted)
        await done.wait()
        if failures:
            raise failures[0]

    def drop(self, key: str, number: int) -> None:
        """Take away what is stored of a name that has expired or was evicted, as soon as can be.

        If a crash comes first, the next start finds that its time is over.
        """

        def dropped(error: DiskError | None) -> None:
            if error is not None:
                self._catalog.expire_at(trio.current_time() + RETRY_S, number, key)

        entry = self._catalog.namespace.entry(key)
        if entry is None or entry.complete is None:  # else what was there is replaced
            self._take_away(key, dropped, is_urgent=False)

    def _take_away(self, key: str, on_done: OnDone, *, is_urgent: bool = True) -> None:
        def done(error: DiskError | None) -> None:
            self._going[key] -= 1
            if not self._going[key]:
                del self._going[key]
            self._fewer.set()
            self._fewer = trio.Event()
            on_done(error)

        self._going[key] += 1
        self.space.drop(key)
        self._disk.delete(key, done, is_urgent=is_urgent)

    async def wait_for_drops(self) -> None:
        """Wait while very many are being taken away: uploads come behind them.

        Cancellation: nothing remains.
        """
        while len(self._going) > GOING_MAX:
            await self._fewer.wait()

    def _restore(self, key: str) -> None:
        """Show what is stored under a name until its time is over, unless something else is."""
        stored = self._disk.stored(key)
        if stored is None or self._going[key]:
            return
        left_s = expires_of(stored.facts) - time.time()
        if left_s != math.inf:
            deadline_s = trio.current_time() + max(0.0, left_s)
            self._catalog.expire_at(deadline_s, stored.generation, key)
        if left_s > 0:
            self._catalog.namespace.restore(key)
            self._catalog.holds.changed(key)
            if self._policies.for_key(key).evict:
                self.space.add(key, stored.generation)
