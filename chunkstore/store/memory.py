"""What memory keeps: the budget, who is evicted, who expires.

The bytes stay where the ring put them; a generation that completes is *kept* here, not copied.
The store decides, its owner acts: it takes victims and expired generations out of the namespace and
then releases them. A generation's charge is given back when its bytes can really go, which is when
its last reader has left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from chunkstore.errors import CapacityError
from chunkstore.objects import Generation

__all__ = ["WARM_BYTES", "MemoryStore"]

SMALL_BYTES = 64 * 1024
"""Objects up to this size go last: an init segment must not fall to a flood of media."""
WARM_BYTES = 1024
"""What the budget charges for knowing of an object whose bytes are elsewhere."""


class MemoryStore:
    """The memory budget and the complete generations in it.

    Args:
        limit_bytes: payload plus 128 bytes a chunk, of open and complete generations together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._large: OrderedDict[int, Generation] = OrderedDict()  # id -> least recently used first
        self._small: OrderedDict[int, Generation] = OrderedDict()
        self._expiring: list[tuple[float, int, str]] = []  # heap: deadline, id, name
        self._timed: set[int] = set()  # ids of those in the heap that are still complete

    def charge(self, generation: Generation) -> None:
        """Charge what the generation's ring has grown by. Cost: O(1), no check (see `victims`)."""
        cost = generation.ring.charge_bytes()
        if generation.source is not None:
            cost += WARM_BYTES
        self.used_bytes += cost - generation.charged_bytes
        generation.charged_bytes = cost

    def release(self, generation: Generation) -> None:
        """Give back its charge, once nobody keeps, reads or writes its bytes."""
        self.used_bytes -= generation.charged_bytes
        generation.charged_bytes = 0

    def victims(self, needed_bytes: int) -> Iterator[Generation]:
        """What to evict until `needed_bytes` more fit: large ones first, oldest use first.

        The caller must evict and release each before it asks for the next. Those being read are
        passed over, since evicting them frees nothing; those whose policy says so never go.

        Raises:
            CapacityError: everything that may go is gone, and it still doesn't fit.
        """
        for queue in (self._large, self._small):
            for _ in range(len(queue)):
                if not self.is_short(needed_bytes):
                    return
                oldest = next(iter(queue.values()))
                if oldest.readers:
                    queue.move_to_end(oldest.id)
                else:
                    yield oldest
        if self.is_short(needed_bytes):
            raise CapacityError(needed_bytes, max(0, self.limit_bytes - self.used_bytes))

    def is_short(self, needed_bytes: int) -> bool:
        """Whether `needed_bytes` more don't fit as things are."""
        return self.used_bytes + needed_bytes > self.limit_bytes

    def keep(self, generation: Generation) -> None:
        """Take a complete generation; one whose bytes are elsewhere, too, may always be dropped."""
        if generation.policy.evict or generation.source is not None:
            self._queue(generation)[generation.id] = generation

    def expire_at(self, deadline_s: float, generation_id: int, key: str) -> None:
        """Have `expired` name a complete generation then; nothing happens if it is known."""
        if generation_id not in self._timed:
            self._timed.add(generation_id)
            heappush(self._expiring, (deadline_s, generation_id, key))

    def oldest(self) -> Generation | None:
        """The complete generation to evict first, or None."""
        for queue in (self._large, self._small):
            for generation in queue.values():
                return generation
        return None

    def touch(self, generation: Generation) -> None:
        """It was read: it is now the most recently used."""
        queue = self._queue(generation)
        if generation.id in queue:
            queue.move_to_end(generation.id)

    def cool(self, generation: Generation) -> None:
        """Its bytes are elsewhere, and so is what is known of it: it still expires."""
        self._queue(generation).pop(generation.id, None)

    def drop(self, generation: Generation) -> None:
        """It is no longer complete (replaced, deleted, expired, evicted): don't offer it again."""
        self.cool(generation)
        self._timed.discard(generation.id)  # its deadline stays, until such are the majority
        if len(self._expiring) > 64 + 2 * len(self._timed):
            self._expiring = [one for one in self._expiring if one[1] in self._timed]
            heapify(self._expiring)

    def expired(self, now_s: float) -> Iterator[tuple[str, int]]:
        """Take the generations whose time is over, in order: names and ids. Cost: O(log n) each."""
        while self._expiring and self._expiring[0][0] <= now_s:
            _, generation_id, key = heappop(self._expiring)
            if generation_id in self._timed:
                self._timed.remove(generation_id)
                yield key, generation_id

    def next_expiry_s(self) -> float | None:
        """When `expired` has something again, or None."""
        return self._expiring[0][0] if self._expiring else None

    def _queue(self, generation: Generation) -> OrderedDict[int, Generation]:
        return self._small if generation.ring.size_bytes <= SMALL_BYTES else self._large
