"""The memory budget against a naive one: lists in order of use, sums taken anew each time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chunkstore.errors import CapacityError
from chunkstore.objects import Abort, Generation, Namespace
from chunkstore.policy import Policy
from chunkstore.store import MemoryStore
from tests.examples import examples

LIMIT = 1_000_000
SMALL = 64 * 1024
POLICIES = st.sampled_from([Policy(), Policy(), Policy(evict=False)])


class MemoryMachine(RuleBasedStateMachine):
    """A store with the namespace whose generations it keeps, as the catalog drives them."""

    def __init__(self) -> None:
        super().__init__()
        self.namespace = Namespace("boot", 5.0)
        self.store = MemoryStore(LIMIT)
        self.now_s = 0.0
        self.serial = 0
        self.writing: list[Generation] = []
        self.used: list[Generation] = []  # complete ones, least recently used first
        self.pinned: list[Generation] = []  # gone, but still read

    def make(self, size: int, policy: Policy, ttl_s: float | None) -> Generation:
        """Write an object of `size` bytes, charged as it grows."""
        self.serial += 1
        generation = self.namespace.begin(f"/{self.serial}", policy, created_s=0)
        generation.ring.append(bytes(size), chunk_end=True)
        self.store.charge(generation)
        generation.expires_at_s = None if ttl_s is None else self.now_s + ttl_s
        return generation

    def goes(self, generation: Generation) -> None:
        """What the catalog does with one that is complete no more."""
        self.store.drop(generation)
        self.used.remove(generation)
        if generation.readers:
            self.pinned.append(generation)
        else:
            self.store.release(generation)

    @rule(
        size=st.sampled_from([1, SMALL, SMALL + 1, 150_000]),
        policy=POLICIES,
        ttl_s=st.sampled_from([None, None, 1.0, 5.0]),
    )
    def commit(self, size: int, policy: Policy, ttl_s: float | None) -> None:
        """Write one whole."""
        generation = self.make(size, policy, ttl_s)
        self.namespace.commit(generation, modified_s=0)
        self.store.charge(generation)
        self.store.keep(generation)
        if generation.expires_at_s is not None:
            self.store.expire_at(generation.expires_at_s, generation.id, generation.key)
        self.used.append(generation)

    @rule(size=st.integers(1, 100_000))
    def write(self, size: int) -> None:
        """Begin one."""
        self.writing.append(self.make(size, Policy(), None))

    @precondition(lambda self: self.writing)
    @rule(draw=st.data())
    def abort(self, draw: st.DataObject) -> None:
        """Give one up."""
        generation = draw.draw(st.sampled_from(self.writing))
        self.writing.remove(generation)
        self.namespace.abort(generation, Abort.WRITER_GONE)
        self.store.release(generation)
        self.store.release(generation)  # harmless

    @precondition(lambda self: self.used)
    @rule(draw=st.data(), is_entering=st.booleans())
    def read(self, draw: st.DataObject, is_entering: bool) -> None:
        """Use one, and perhaps go on reading."""
        generation = draw.draw(st.sampled_from(self.used))
        generation.readers += is_entering
        self.store.touch(generation)
        self.used.remove(generation)
        self.used.append(generation)

    @precondition(lambda self: any(one.readers for one in self.used + self.pinned))
    @rule(draw=st.data())
    def leave(self, draw: st.DataObject) -> None:
        """A reader ends."""
        readable = [one for one in self.used + self.pinned if one.readers]
        generation = draw.draw(st.sampled_from(readable))
        generation.readers -= 1
        if generation in self.pinned and not generation.readers:
            self.pinned.remove(generation)
            self.store.release(generation)

    @precondition(lambda self: self.used)
    @rule(draw=st.data())
    def delete(self, draw: st.DataObject) -> None:
        """Take one away."""
        generation = draw.draw(st.sampled_from(self.used))
        self.namespace.delete(generation.key, self.now_s)
        self.goes(generation)

    @rule(needed=st.integers(0, LIMIT + 10))
    def make_room(self, needed: int) -> None:
        """Large ones go first, then small ones, least recently used first, until it fits."""
        candidates = [one for one in self.used if one.policy.evict and not one.readers]
        order = [one for one in candidates if one.ring.size_bytes > SMALL]
        order += [one for one in candidates if one.ring.size_bytes <= SMALL]
        used, expected = self.store.used_bytes, []
        for one in order:
            if used + needed <= LIMIT:
                break
            expected.append(one)
            used -= one.charged_bytes
        victims = []
        fits = contextlib.nullcontext()
        with fits if used + needed <= LIMIT else pytest.raises(CapacityError) as caught:
            for victim in self.store.victims(needed):
                victims.append(victim)
                self.namespace.evict(victim)
                self.goes(victim)
        if caught is not None:
            error = caught.value
            assert (error.needed_bytes, error.free_bytes) == (needed, max(0, LIMIT - used))
        assert victims == expected
        # Those that were passed over while they were looked at are now the last of their queue.
        self.used = sorted(self.used, key=self.queue_order)

    def queue_order(self, generation: Generation) -> tuple[bool, int]:
        """Where it stands in the store's own queues; outside of them, last."""
        for queue in (self.store._large, self.store._small):
            if generation.id in queue:
                return False, list(queue).index(generation.id)
        return True, self.used.index(generation)

    @rule(after_s=st.sampled_from([0.5, 1.0, 6.0]))
    def wait(self, after_s: float) -> None:
        """Those whose time is over go, the earliest first."""
        self.now_s += after_s
        due = [one for one in self.used if (one.expires_at_s or 1e9) <= self.now_s]
        expired = []
        by_id = {one.id: one for one in self.used}
        for key, number in self.store.expired(self.now_s):
            generation = by_id[number]
            assert generation.key == key
            expired.append(generation)
            self.namespace.expire(generation, self.now_s)
            self.goes(generation)
        assert expired == sorted(due, key=lambda one: (one.expires_at_s, one.id))
        soonest = self.store.next_expiry_s()
        assert soonest is None or soonest > self.now_s

    @invariant()
    def agrees_with_the_model(self) -> None:
        """The charge is the sum of what is kept, written or still read."""
        kept = [*self.used, *self.writing, *self.pinned]
        assert self.store.used_bytes == sum(one.ring.charge_bytes() for one in kept)
        assert all(one.charged_bytes == one.ring.charge_bytes() for one in kept)
        for one in self.used:
            if one.expires_at_s is not None:
                soonest = self.store.next_expiry_s()
                assert soonest is not None
                assert soonest <= one.expires_at_s
        first = self.store.oldest()
        assert first is None or first in self.used
        evictable = [one for one in self.used if one.policy.evict]
        assert (first is None) == (not evictable)


TestMemory = MemoryMachine.TestCase
TestMemory.settings = examples(40, stateful_step_count=40)


def complete(store: MemoryStore, namespace: Namespace, key: str, ttl_s: float | None) -> Generation:
    """Store one byte under `key`."""
    generation = namespace.begin(key, Policy(), created_s=0)
    generation.ring.append(b"x", chunk_end=True)
    replaced = namespace.commit(generation, modified_s=0)
    generation.expires_at_s = ttl_s
    store.charge(generation)
    store.keep(generation)
    if ttl_s is not None:
        store.expire_at(ttl_s, generation.id, key)
    if replaced is not None:
        store.drop(replaced)
        store.release(replaced)
    return generation


def test_deadlines_of_what_is_gone_do_not_pile_up() -> None:
    namespace, store = Namespace("boot", 5.0), MemoryStore(10**9)
    for index in range(10_000):  # a playlist, rewritten
        complete(store, namespace, f"/live/{index % 10}.mpd", 3600.0 + index)
        assert len(store._expiring) <= 2 * (64 + 10) + 2
    assert store.used_bytes == 10 * 129
    alive = [key for key, _ in store.expired(1e9)]
    assert len(alive) == 10
    assert store.next_expiry_s() is None


def calls_of(work: Callable[[], object]) -> int:
    """How many functions `work` calls, C ones included."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_work_does_not_grow_with_what_is_stored() -> None:
    counts = []
    for size in (100, 5_000):
        namespace, store = Namespace("boot", 5.0), MemoryStore(size * 129)
        kept = [complete(store, namespace, f"/{index}", 1e6) for index in range(size)]
        writing = namespace.begin("/new", Policy(), created_s=0)
        writing.ring.append(b"x", chunk_end=True)

        def work(
            namespace: Namespace = namespace,
            store: MemoryStore = store,
            kept: list[Generation] = kept,
            writing: Generation = writing,
        ) -> None:
            store.touch(kept[0])
            store.charge(writing)
            store.release(writing)
            for victim in store.victims(3 * 129):
                namespace.evict(victim)
                store.drop(victim)
                store.release(victim)
            store.oldest()
            list(store.expired(0.0))

        counts.append(calls_of(work))
        assert store.used_bytes == (size - 3) * 129
    assert abs(counts[0] - counts[1]) < 10  # the ordered index may split a node more or less
