"""All names of an origin in one ordered index: who shows, who is displaced, who is waited for."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from sortedcontainers import SortedDict

from chunkstore.objects.facts import etag_of
from chunkstore.objects.generation import Abort, Generation, State
from chunkstore.paths import parent
from chunkstore.policy import Policy

__all__ = ["Backing", "Entry", "Listing", "Namespace"]

RECENT_S = 10.0
"""A folder that received a byte, or a name that went away, is remembered for so long."""
RECENT_COUNT = 10_000
"""At most so many folders and so many gone names are remembered."""


class Entry:
    """What a name has: a complete generation, an open one, or both."""

    __slots__ = ("complete", "open")

    def __init__(self) -> None:
        self.complete: Generation | None = None
        self.open: Generation | None = None

    @property
    def visible(self) -> Generation | None:
        """The generation a GET that arrives now is answered with."""
        writing = self.open
        if writing is not None and writing.ring.end and not writing.policy.atomic:
            return writing
        return self.complete


_COLD = Entry()
"""Stands for a name whose complete generation is only known to the backing: most of a million."""


class Backing(Protocol):
    """Knows complete generations that the namespace doesn't keep in memory."""

    def recall(self, key: str) -> Generation | None:
        """One that was given to `add_cold`, made anew; None: it is gone."""

    def warmed(self, generation: Generation) -> None:
        """One that was recalled is kept in the namespace, until `cool`."""


class Listing(NamedTuple):
    """A page of LIST: generations and common prefixes (str) in bytewise order of their names."""

    items: list[Generation | str]
    next_after: str | None
    """Where the next page starts (exclusive); None at the end."""


class Namespace:
    """All names of an origin, in one ordered index.

    Args:
        boot: makes ETags of this process differ from those of the one before.
        hold_cap_s: no GET waits longer for an object to appear.

    Attributes:
        boot: as above.
        backing: has complete generations that needn't be in memory; None: there are none.
    """

    def __init__(self, boot: str, hold_cap_s: float) -> None:
        self.boot = boot
        self._hold_cap_s = hold_cap_s
        self.backing: Backing | None = None
        self._last_id = 0
        self._entries: SortedDict[str, Entry] = SortedDict()
        self._folders: OrderedDict[str, float] = OrderedDict()  # folder -> time of its last byte
        self._gone: OrderedDict[str, float] = (
            OrderedDict()
        )  # name -> when it was deleted or expired

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, key: str) -> Entry | None:
        """What the name has, or None."""
        entry = self._entries.get(key)
        return self._warm(key) if entry is _COLD else entry

    def visible(self, key: str) -> Generation | None:
        """The generation that a GET of `key` gets now, or None."""
        entry = self._entries.get(key)
        if entry is _COLD:
            entry = self._warm(key)
        return None if entry is None else entry.visible

    # --- what isn't in memory ------------------------------------------------------------------

    def add_cold(self, keys: Iterable[str]) -> None:
        """Names of complete generations that the backing has; those that are here stay."""
        self._entries.update({key: _COLD for key in keys if key not in self._entries})

    def restore(self, key: str) -> None:
        """What the backing has of a name shows again, unless something else is complete."""
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _COLD
        elif entry is not _COLD and entry.complete is None:
            assert self.backing is not None
            entry.complete = self.backing.recall(key)
            if entry.complete is not None:
                self.backing.warmed(entry.complete)

    def cool(self, generation: Generation) -> bool:
        """Have the backing alone keep a complete generation; False: its name is being written."""
        entry = self._entries[generation.key]
        assert entry.complete is generation
        if entry.open is not None:
            return False
        self._entries[generation.key] = _COLD
        return True

    def _warm(self, key: str) -> Entry | None:
        assert self.backing is not None
        generation = self.backing.recall(key)
        if generation is None:
            del self._entries[key]
            return None
        entry = self._entries[key] = Entry()
        entry.complete = generation
        self.backing.warmed(generation)
        return entry

    def _shown(self, key: str) -> Generation | None:
        """As `visible`, for a look in passing: what is cold stays so."""
        entry = self._entries[key]
        if entry is _COLD:
            assert self.backing is not None
            return self.backing.recall(key)
        return entry.visible

    # --- writing -------------------------------------------------------------------------------

    def begin(
        self, key: str, policy: Policy, *, created_s: float, number: int | None = None
    ) -> Generation:
        """Open a new generation of `key`; an open one is displaced (the newest wins).

        Args:
            number: its id, greater than all before; None: the next one.
        """
        self._last_id = self._last_id + 1 if number is None else number
        etag = etag_of(self.boot, self._last_id)
        generation = Generation(key, self._last_id, etag, policy, created_s)
        entry = self.entry(key)
        if entry is None:
            entry = self._entries[key] = Entry()
        displaced, entry.open = entry.open, generation
        self._gone.pop(key, None)
        if displaced is not None:
            displaced.break_off(Abort.DISPLACED)
        return generation

    def published(self, generation: Generation, now_s: float) -> None:
        """Note that bytes of `generation` became visible: its folder is live."""
        _remember(self._folders, generation.folder, now_s)

    def commit(self, generation: Generation, *, modified_s: float) -> Generation | None:
        """Make an open generation the complete one.

        Returns:
            the complete generation that it replaced; that one's readers go on.
        """
        entry = self._entries[generation.key]
        assert entry.open is generation
        generation.ring.seal()
        generation.modified_s = modified_s
        generation.head = None  # it was made for the open one
        replaced, entry.complete, entry.open = entry.complete, generation, None
        if replaced is not None:
            replaced.enter("replace")
        generation.enter("commit")
        return replaced

    def take_back(self, generation: Generation) -> None:
        """A commit turned out not to hold; harmless if the generation isn't the name's any more."""
        if generation.state is State.COMPLETE:
            self._drop_complete(generation, "evict")

    def abort(self, generation: Generation, cause: Abort) -> None:
        """End an open generation without completing it; the name falls back to its complete one."""
        entry = self._entries[generation.key]
        assert entry.open is generation
        entry.open = None
        if entry.complete is None:
            del self._entries[generation.key]
        generation.break_off(cause)

    # --- going away ----------------------------------------------------------------------------

    def delete(self, key: str, now_s: float) -> list[Generation]:
        """Take the name away with all it has; empty if nothing was there to see or write.

        No policy holds for it then, as for one whose upload had broken off.
        """
        _remember(self._gone, key, now_s)
        entry = self.entry(key)
        if entry is None:
            return []
        del self._entries[key]
        ended = [one for one in (entry.open, entry.complete) if one is not None]
        for generation in ended:
            generation.abort = Abort.DELETED if generation.is_open else None
            generation.enter("delete")
        return ended

    def expire(self, generation: Generation, now_s: float) -> None:
        """Its time to live is over: new requests don't see it, running readers finish."""
        _remember(self._gone, generation.key, now_s)
        self._drop_complete(generation, "expire")

    def evict(self, generation: Generation) -> None:
        """Its memory is needed: as `expire`, but a GET may hold for the name at once."""
        self._drop_complete(generation, "evict")

    def _drop_complete(self, generation: Generation, event: str) -> None:
        entry = self._entries[generation.key]
        assert entry.complete is generation
        entry.complete = None
        if entry.open is None:
            del self._entries[generation.key]
        generation.enter(event)

    # --- asking --------------------------------------------------------------------------------

    def hold_s(self, key: str, policy: Policy, asked_s: float | None, now_s: float) -> float:
        """How long a GET of `key`, which shows nothing now, waits for it to appear; 0: 404 at once.

        Args:
            asked_s: the request's `Prefer: wait`, or None.
        Source: RFC 7240 section 4.3 for the wish; the policy hold is for live edges only.
        """
        if asked_s is not None:
            return min(asked_s, self._hold_cap_s)
        if key in self._entries:  # a PUT is under way that shows nothing yet
            return self._hold_cap_s
        was_here = now_s - self._gone.get(key, -RECENT_S) < RECENT_S
        is_due = self.is_live(parent(key), now_s) and not was_here
        return min(policy.hold_s, self._hold_cap_s) if is_due else 0.0

    def is_live(self, folder: str, now_s: float) -> bool:
        """Whether bytes became visible in the folder within the last 10 s."""
        return now_s - self._folders.get(folder, -RECENT_S) < RECENT_S

    def page(self, prefix: str, after: str, delimiter: str, limit: int) -> Listing:
        """At most `limit` visible names that start with `prefix`, each greater than `after`.

        With a delimiter, names that have it behind the prefix are rolled up to one common prefix.
        Order is bytewise: comparing code points and comparing their UTF-8 bytes is the same.
        Cost: O(log n) to start and for each common prefix, O(1) for each further name.
        """
        items: list[Generation | str] = []
        lowest, inclusive = (prefix, True) if prefix > after else (after, False)
        scan = self._entries.irange(lowest, None, (inclusive, True))
        last: str | None = None
        while True:
            rolled = None
            for key in scan:
                if not key.startswith(prefix):
                    return Listing(items, None)
                if len(items) == limit:
                    return Listing(items, last)
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                rolled = None if cut < 0 else key[: cut + len(delimiter)]
                if rolled is not None:
                    break
                shown = self._shown(key)
                if shown is not None:
                    items.append(shown)
                    last = key
            if rolled is None:
                return Listing(items, None)
            if rolled > after and self._shows_any(rolled):
                items.append(rolled)
                last = rolled
            scan = self._entries.irange(_successor(rolled), None)

    def _shows_any(self, prefix: str) -> bool:
        for key in self._entries.irange(prefix):
            if not key.startswith(prefix):
                return False
            entry = self._entries[key]
            if entry is _COLD or entry.visible is not None:
                return True
        return False


def _successor(prefix: str) -> str:
    """The least string greater than all that start with `prefix`."""
    kept = prefix.rstrip(chr(sys.maxunicode))
    return kept[:-1] + chr(ord(kept[-1]) + 1)


def _remember(times: OrderedDict[str, float], name: str, now_s: float) -> None:
    """Note `now_s` for `name`; forget what is too old, and the oldest beyond the bound."""
    times[name] = now_s
    times.move_to_end(name)
    while len(times) > RECENT_COUNT or now_s - next(iter(times.values())) >= RECENT_S:
        times.popitem(last=False)
