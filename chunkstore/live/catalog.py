"""Namespace, store and broadcasts together: who reads, who waits, what goes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import trio

from chunkstore.errors import CapacityError
from chunkstore.journal import Journal
from chunkstore.live.broadcast import Broadcast
from chunkstore.live.pump import Pump
from chunkstore.live.takeover import Takeovers
from chunkstore.live.upload import Upload
from chunkstore.metrics import Metrics
from chunkstore.objects import Abort, Generation, Namespace
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
        self._max_waiters = max_waiters
        self._broadcasts: dict[int, Broadcast] = {}
        self._held: dict[str, tuple[trio.Event, int]] = {}
        self.waiter_count = 0
        self._pump = Pump(metrics.sent_age)
        self._takeovers = Takeovers(journal)
        self._sooner = trio.Event()
        self.is_draining = False

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
        """Count a reader in: its bytes stay charged, and are not evicted, until `leave`."""
        generation.readers += 1
        generation.readers_peak = max(generation.readers_peak, generation.readers)

    def leave(self, generation: Generation) -> None:
        """Count a reader out; the last one of a generation that is gone frees its bytes."""
        generation.readers -= 1
        if generation.is_superseded and not generation.readers:
            generation.enter("abort")  # nobody has a claim any more
        self._release_if_gone(generation)

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

    # --- waiting -------------------------------------------------------------------------------

    def has_superseded(self, key: str) -> bool:
        """Whether readers of a path wait for its next upload."""
        return bool(self._takeovers.of(key))

    @property
    def can_wait(self) -> bool:
        """Whether one more GET may wait: not when draining, and not beyond the bound."""
        return not self.is_draining and self.waiter_count < self._max_waiters

    @property
    def why_not_wait(self) -> str:
        """The sentence for a GET that may not wait."""
        if self.is_draining:
            return "the server is shutting down; ask again, or elsewhere"
        return "too many requests wait for bytes that have not come yet"

    async def wait_visible(self, key: str, timeout_s: float) -> Generation | None:
        """Wait until `key` shows something; None at the timeout or when draining.

        Cancellation: nothing remains; a hold creates no placeholder.
        """
        await self.wait_until(key, lambda: self.namespace.visible(key) is not None, timeout_s)
        return self.namespace.visible(key)

    async def wait_until(self, key: str, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something holds that depends on what `key` shows.

        Returns:
            whether it does; False at the timeout or when draining.
        Cancellation: nothing remains; a hold creates no placeholder.
        """
        self.waiter_count += 1
        try:
            with trio.move_on_after(timeout_s):
                # What appears may be gone before this task runs: an upload cut in its first bytes.
                while not holds() and not self.is_draining:
                    await self._wait_for_change(key)
        finally:
            self.waiter_count -= 1
        is_met = holds()
        self.count_hold(is_met=is_met)
        return is_met

    async def _wait_for_change(self, key: str) -> None:
        event, count = self._held.get(key) or (trio.Event(), 0)
        self._held[key] = (event, count + 1)
        try:
            await event.wait()
        finally:
            event_now, count = self._held.get(key, (None, 0))
            if event_now is event:  # nobody was woken: take this one waiter back
                if count == 1:
                    del self._held[key]
                else:
                    self._held[key] = (event, count - 1)

    async def wait_grown(self, generation: Generation, offset: int, timeout_s: float) -> None:
        """Wait until byte `offset` exists, the generation is no longer open, or the timeout.

        Cancellation: nothing remains.
        """
        ring = generation.ring
        self.waiter_count += 1
        try:
            with trio.move_on_after(timeout_s):
                if generation.is_open and offset >= ring.end and not self.is_draining:
                    await self._broadcasts[generation.id].reached(offset)
        finally:
            self.waiter_count -= 1
        self.count_hold(is_met=ring.is_sealed or offset < ring.end)

    async def wait_retried(self, generation: Generation, timeout_s: float) -> Generation | None:
        """What a reader that was sent nothing yet goes on with, if its upload broke off.

        Waits for the next upload of the path, for the grace at most. None: it has not broken off,
        or nothing came.

        Cancellation: nothing remains.
        """
        if not generation.is_superseded:
            return None
        key = generation.key

        def is_over() -> bool:
            return not generation.is_superseded or self.namespace.visible(key) is not None

        await self.wait_until(key, is_over, min(timeout_s, generation.policy.abort_grace_s))
        return self.namespace.visible(key)

    def count_hold(self, *, is_met: bool) -> None:
        """Count a hold that ended."""
        if is_met:
            self.metrics.holds_met += 1
        else:
            self.metrics.holds_unmet += 1

    def drain(self) -> None:
        """Release all who wait for something to appear; nobody may wait any more."""
        self.is_draining = True
        for event, _ in self._held.values():
            event.set()
        self._held.clear()
        for broadcast in self._broadcasts.values():
            broadcast.release()
        self._takeovers.give_up()

    # --- writing -------------------------------------------------------------------------------

    def reserve(self, key: str, needed_bytes: int) -> None:
        """Make room for a new upload of `key`, evicting what may go.

        Raises:
            CapacityError: only open generations (or what may not be evicted) are left.
        """
        self.make_room(needed_bytes)
        if self.namespace.entry(key) is not None:
            return
        while len(self.namespace) >= self._max_objects:  # a victim's name stays if it is written
            victim = self.store.oldest()
            if victim is None:
                raise CapacityError(1, 0)
            self._evict(victim)

    def begin(self, key: str, policy: Policy) -> Upload:
        """Open a generation of `key` (after `reserve`); an open one of it is displaced."""
        generation = self.namespace.begin(key, policy, created_s=time.time())
        broadcast = Broadcast(generation, self._pump)
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

    def changed(self, key: str) -> None:
        """`key` shows something else than before: wake those who wait for that."""
        held = self._held.pop(key, None)
        if held is not None:
            held[0].set()

    def committed(self, generation: Generation) -> bool:
        """Make an open generation complete and keep it; whether it replaced another one."""
        policy = generation.policy
        replaced = self.namespace.commit(generation, modified_s=time.time())
        if policy.ttl_s is not None:
            generation.expires_at_s = trio.current_time() + policy.ttl_s
        self.store.charge(generation)
        soonest = self.store.next_expiry_s() or math.inf
        self.store.keep(generation)
        if generation.expires_at_s is not None and generation.expires_at_s < soonest:
            self._sooner.set()
        if replaced is not None:
            self._forget(replaced)
        size = generation.ring.size_bytes
        self.journal.note("complete", generation.key, generation.id, bytes=size)
        self.changed(generation.key)
        return replaced is not None

    def delete(self, key: str) -> list[Generation]:
        """Take a name away with all it has: its writer and its readers are told at once."""
        ended = self.namespace.delete(key, trio.current_time())
        for generation in self._takeovers.of(key):
            generation.enter("delete")
            ended.append(generation)
        for generation in ended:
            self._forget(generation)
            self.journal.note("deleted", key, generation.id)
        self.changed(key)
        return ended

    def _forget(self, generation: Generation) -> None:
        self.store.drop(generation)
        self._release_if_gone(generation)

    def make_room(self, needed_bytes: int) -> None:
        """Evict until `needed_bytes` more fit.

        Raises:
            CapacityError: only open generations (or what may not be evicted) are left.
        """
        for victim in self.store.victims(needed_bytes):
            self._evict(victim)

    def _evict(self, generation: Generation) -> None:
        self.namespace.evict(generation)
        self._forget(generation)
        self.metrics.evicted += 1
        self.journal.note("evicted", generation.key, generation.id)

    async def _expire(self) -> None:
        while True:
            now = trio.current_time()
            for count, generation in enumerate(self.store.expired(now), 1):
                self.namespace.expire(generation, now)
                self._forget(generation)
                self.metrics.expired += 1
                self.journal.note("expired", generation.key, generation.id)
                if not count % 256:  # a million that expire at once must not stop the loop
                    await trio.lowlevel.checkpoint()
            with trio.move_on_at(self.store.next_expiry_s() or math.inf):
                await self._sooner.wait()
            self._sooner = trio.Event()
