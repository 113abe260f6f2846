"""Namespace, store and broadcasts together: who reads, who waits, what goes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import trio

from chunkstore.errors import CapacityError
from chunkstore.journal import Journal
from chunkstore.live.broadcast import Broadcast
from chunkstore.live.holds import Holds
from chunkstore.live.pump import Pump
from chunkstore.live.shelf import Shelf
from chunkstore.live.spool import Spool
from chunkstore.live.takeover import Takeovers
from chunkstore.live.upload import Upload
from chunkstore.metrics import Metrics
from chunkstore.objects import Abort, Facts, Generation, Namespace
from chunkstore.policy import Policy
from chunkstore.store import MemoryStore

__all__ = ["Catalog", "Visit"]


class Visit:
    """A reader of a generation, counted in while this is entered; it may move on to another one.

    Attributes:
        generation: what it reads now.
    """

    __slots__ = ("_catalog", "generation")

    def __init__(self, catalog: Catalog, generation: Generation) -> None:
        self._catalog = catalog
        self.generation = generation

    def __enter__(self) -> Visit:
        self._catalog.enter(self.generation)
        return self

    def __exit__(self, *_: object) -> None:
        self._catalog.leave(self.generation)

    def move(self, successor: Generation) -> None:
        """Read on in the generation that took over."""
        self._catalog.enter(successor)
        self._catalog.leave(self.generation)
        self._catalog.metrics.taken_over += 1
        self.generation = successor


class Catalog:
    """What an origin serves from: every name, its bytes, and who waits for them.

    Args:
        namespace: decides what a name shows.
        store: the memory budget and the complete generations.
        metrics: what is counted here: holds, aborts, evictions, expiries.
        journal: what happens to objects is noted there.
        max_objects: bound on names; at it, the least recently used complete object goes.
        max_waiters: bound on GETs that wait for something to appear.

    Attributes:
        holds: who waits for something to appear.
        shelf: what goes to disk and comes back; None: there is none.
    """

    def __init__(
        self,
        namespace: Namespace,
        store: MemoryStore,
        metrics: Metrics,
        journal: Journal,
        *,
        max_objects: int,
        max_waiters: int,
    ) -> None:
        self.namespace = namespace
        self.store = store
        self.metrics = metrics
        self.journal = journal
        self._max_objects = max_objects
        self._broadcasts: dict[int, Broadcast] = {}
        self._pump = Pump(metrics.sent_age)
        self._takeovers = Takeovers(journal)
        self._sooner = trio.Event()
        self.holds = Holds(namespace, metrics, max_waiters)
        self.shelf: Shelf | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Push to live readers, and expire what is due, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump.run)
            nursery.start_soon(self._takeovers.run)
            task_status.started()
            await self._expire()

    # --- reading -------------------------------------------------------------------------------

    def broadcast(self, generation: Generation) -> Broadcast:
        """The async face of an open generation."""
        return self._broadcasts[generation.id]

    def enter(self, generation: Generation) -> None:
        """Count a reader in: its bytes stay charged, and are not evicted, until `leave`.

        Raises:
            DamagedError: they are not where they were stored.
        """
        if generation.source is not None and not generation.readers:
            # A complete one that is all in memory stays so while it is read.
            if generation.is_open or generation.ring.base:
                generation.source.hold()
                generation.is_held = True
        generation.readers += 1
        generation.readers_peak = max(generation.readers_peak, generation.readers)

    def touch(self, generation: Generation) -> None:
        """It was read: it is now the most recently used."""
        self.store.touch(generation)
        if self.shelf is not None:
            self.shelf.space.touch(generation.key)

    def leave(self, generation: Generation) -> None:
        """Count a reader out; the last one of a generation that is gone frees its bytes."""
        generation.readers -= 1
        if generation.is_superseded and not generation.readers:
            generation.enter("abort")  # nobody has a claim any more
        if generation.source is not None and generation.is_held and not generation.readers:
            generation.source.let_go()
            generation.is_held = False
        self._release_if_gone(generation)
        if self.shelf is not None:
            self.shelf.settle(generation)

    async def fill(self, generation: Generation) -> None:
        """Have the bytes of a small object in memory, if they are on disk alone.

        Raises:
            StoreError: they can't be had.
        Cancellation: nothing remains.
        """
        if self.shelf is not None:
            await self.shelf.fill(generation)

    def _release_if_gone(self, generation: Generation) -> None:
        if not generation.is_stored and not generation.readers:
            self.store.release(generation)

    # --- looking -------------------------------------------------------------------------------

    def open_generations(self) -> Iterator[Generation]:
        """What is being written, oldest first."""
        return (broadcast.generation for broadcast in self._broadcasts.values())

    @property
    def upload_count(self) -> int:
        """Uploads under way."""
        return len(self._broadcasts)

    def has_superseded(self, key: str) -> bool:
        """Whether readers of a path wait for its next upload."""
        return bool(self._takeovers.of(key))

    def reader_counts(self) -> dict[str, int]:
        """Readers of open generations, by place: "edge" or "behind"."""
        edge = sum(broadcast.edge_count for broadcast in self._broadcasts.values())
        readers = sum(generation.readers for generation in self.open_generations())
        return {"edge": edge, "behind": readers - edge}

    def charges(self) -> dict[str, int]:
        """The memory budget in use, in bytes: "open", "superseded", "complete" (read or stored)."""
        writing = sum(generation.charged_bytes for generation in self.open_generations())
        kept = sum(generation.charged_bytes for generation in self._takeovers.all())
        stored = self.store.used_bytes - writing - kept
        return {"open": writing, "superseded": kept, "complete": stored}

    def drain(self) -> None:
        """Release all who wait for something to appear; nobody may wait any more."""
        self.holds.drain()
        for broadcast in self._broadcasts.values():
            broadcast.release()
        self._takeovers.give_up()

    # --- writing -------------------------------------------------------------------------------

    def reserve(self, key: str, needed_bytes: int) -> None:
        """Make room for a new upload of `key`, evicting what may go.

        Raises:
            CapacityError: only open generations (or what may not be evicted) are left.
            DiskError: what is behind memory can take no upload now.
        """
        if self.shelf is None:
            self.make_room(needed_bytes)
        else:  # memory takes a part of it at a time
            self.make_room(0)
            self.shelf.admit(needed_bytes)
        if self.namespace.entry(key) is not None:
            return
        while len(self.namespace) >= self._max_objects:  # a victim's name stays if it is written
            victim = self.store.oldest() if self.shelf is None else None
            if victim is None:
                raise CapacityError(1, 0)
            self._evict(victim)

    def begin(self, key: str, policy: Policy) -> Upload:
        """Open a generation of `key` (after `reserve`); an open one of it is displaced."""
        disk = self.shelf.begin(key) if self.shelf is not None else None
        number = disk.generation if disk is not None else None
        generation = self.namespace.begin(key, policy, created_s=time.time(), number=number)
        broadcast = Broadcast(generation, self._pump)
        if self.shelf is not None and disk is not None:
            generation.source = disk.source
            broadcast.spool = Spool(self.shelf, broadcast, disk)
        self._broadcasts[generation.id] = broadcast
        generation.watch(lambda: self._ended(broadcast))
        self.journal.note("created", key, generation.id)
        self._takeovers.begin(broadcast)
        return Upload(self, broadcast)

    def _ended(self, broadcast: Broadcast) -> None:
        generation = broadcast.generation
        if generation.is_superseded:
            self._takeovers.keep(broadcast)
            generation.watch(lambda: self._ended(broadcast))
        else:
            self._takeovers.drop(generation)
        self.grew(broadcast, trio.current_time())
        if self._broadcasts.pop(generation.id, None) is not None and generation.abort is not None:
            if broadcast.spool is not None:
                broadcast.spool.abandon()
            self._broke_off(generation, generation.abort)
        self._release_if_gone(generation)

    def _broke_off(self, generation: Generation, cause: Abort) -> None:
        self.metrics.aborts[cause.metric] += 1
        if cause is not Abort.DELETED:  # that is noted as such
            kind = "displaced" if cause is Abort.DISPLACED else "aborted"
            size = generation.ring.end
            self.journal.note(kind, generation.key, generation.id, cause=cause.metric, bytes=size)

    def grew(self, broadcast: Broadcast, arrived_s: float) -> None:
        """An open generation has new bytes to see, or has ended: whoever waits looks again.

        Args:
            arrived_s: when the first of these bytes came, or the end.
        """
        broadcast.wake(arrived_s)
        if broadcast.predecessors:
            self._takeovers.compare(broadcast)

    def committed(self, broadcast: Broadcast) -> bool:
        """Make an open generation complete and keep it; whether it replaced another one."""
        generation = broadcast.generation
        policy = generation.policy
        replaced = self.namespace.commit(generation, modified_s=time.time())
        if policy.ttl_s is not None:
            generation.expires_at_s = trio.current_time() + policy.ttl_s
        self.store.charge(generation)
        if broadcast.spool is not None:
            broadcast.spool.commit(self._facts(generation))
        else:
            self.keep(generation)
        if replaced is not None:
            self._forget(replaced)
        self.holds.changed(generation.key)
        return replaced is not None

    def _facts(self, generation: Generation) -> Facts:
        ttl_s = generation.policy.ttl_s
        return Facts(
            self.namespace.boot,
            generation.created_s,
            generation.modified_s,
            math.inf if ttl_s is None else generation.modified_s + ttl_s,
            generation.content_type,
        )

    def keep(self, generation: Generation) -> None:
        """A complete generation is where it stays: from now on it may be evicted, and expires."""
        self.store.keep(generation)
        if generation.expires_at_s is not None:
            self.expire_at(generation.expires_at_s, generation.id, generation.key)
        size = generation.ring.size_bytes
        self.journal.note("complete", generation.key, generation.id, bytes=size)

    def expire_at(self, deadline_s: float, number: int, key: str) -> None:
        """Have what a name has stored expire then."""
        soonest = self.store.next_expiry_s() or math.inf
        self.store.expire_at(deadline_s, number, key)
        if deadline_s < soonest:
            self._sooner.set()

    def take_back(self, generation: Generation, cause: Abort) -> None:
        """A complete generation could not be stored: it isn't there any more, if it still was."""
        self.namespace.take_back(generation)
        self._broke_off(generation, cause)
        self._forget(generation)
        self.holds.changed(generation.key)

    def delete(self, key: str) -> list[Generation]:
        """Take a name away with all it has: its writer and its readers are told at once."""
        ended = self.namespace.delete(key, trio.current_time())
        for generation in self._takeovers.of(key):
            generation.enter("delete")
            ended.append(generation)
        for generation in ended:
            self._forget(generation)
            self.journal.note("deleted", key, generation.id)
        self.holds.changed(key)
        return ended

    def _forget(self, generation: Generation) -> None:
        self.store.drop(generation)
        self._release_if_gone(generation)

    def make_room(self, needed_bytes: int) -> None:
        """Evict until `needed_bytes` more fit.

        Raises:
            CapacityError: only open generations (or what may not be evicted) are left.
        """
        try:
            for victim in self.store.victims(needed_bytes):
                self._evict(victim)
        except CapacityError:
            for broadcast in self._broadcasts.values():
                if broadcast.spool is not None:
                    broadcast.spool.shrink()
            if self.store.is_short(needed_bytes):
                raise

    def _evict(self, generation: Generation) -> None:
        if self.shelf is not None:
            self.shelf.cool(generation)
            return
        self._take_away(generation)

    def _take_away(self, generation: Generation) -> None:
        self.namespace.evict(generation)
        self._forget(generation)
        self.metrics.evicted += 1
        self.journal.note("evicted", generation.key, generation.id)

    def _expire_one(self, key: str, number: int, now_s: float) -> None:
        entry = self.namespace.entry(key)
        generation = entry.complete if entry is not None else None
        if generation is not None and generation.id == number:
            self.namespace.expire(generation, now_s)
            self._forget(generation)
            self.metrics.expired += 1
            self.journal.note("expired", key, number)
        if self.shelf is not None:
            self.shelf.drop(key, number)

    def evict_stored(self, key: str, number: int) -> None:
        """Take a complete object away for the disk's sake, if the name still has that one."""
        entry = self.namespace.entry(key)
        generation = entry.complete if entry is not None else None
        if generation is not None and generation.id == number and self.shelf is not None:
            self._take_away(generation)
            self.shelf.drop(key, number)

    async def _expire(self) -> None:
        while True:
            now = trio.current_time()
            for count, (key, number) in enumerate(self.store.expired(now), 1):
                self._expire_one(key, number, now)
                if not count % 256:  # a million that expire at once must not stop the loop
                    await trio.lowlevel.checkpoint()
                    if self.shelf is not None:
                        await self.shelf.wait_for_drops()
            with trio.move_on_at(self.store.next_expiry_s() or math.inf):
                await self._sooner.wait()
            self._sooner = trio.Event()
