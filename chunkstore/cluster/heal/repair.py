"""Finds what objects lack, and has it made: most urgent first, some side by side, never given up.

One task looks at the nodes, goes through all manifests whenever something has changed with them,
and through those of which damage was noted, or that failed before. Others take what it found. What
to do is decided anew from the manifest before anything is done: it may be late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import trio

from chunkstore.cluster.codec import MAX_M
from chunkstore.cluster.heal.planner import (
    PAUSE_FACTOR,
    Backlog,
    NodeState,
    Outlook,
    Plan,
    assess,
    look,
    readable_parts,
)
from chunkstore.cluster.heal.retries import Retries
from chunkstore.cluster.heal.tally import Progress, Rate
from chunkstore.cluster.heal.throttle import Throttle
from chunkstore.cluster.heal.whole import make_whole
from chunkstore.cluster.membership import Membership
from chunkstore.cluster.meta import Manifest, Meta
from chunkstore.cluster.store import ClusterStore
from chunkstore.cluster.stripe import UNIT_BYTES, K
from chunkstore.errors import DiskError, StoreError

__all__ = ["Repair"]

LOOK_S = 1.0
"""So often is asked who is there: who comes and goes is known by a clock, which tells nobody."""
PAGE_COUNT = 500
"""Manifests read at a time: 2 ms, in which no commit is made."""
SIDE_BY_SIDE = 4
"""Objects that are repaired at a time, if the rate lets each go on every few seconds."""
SILENCE_S = 10.0
"""A node gives up a writer who sends nothing for 20 s."""
FAILED_S = 1.0
"""Behind a failure each of these tasks rests: were all to fail, it would be four a second."""
LINES_MAX = 10
"""Objects that can't be read and are named in the log, for each change of the nodes."""
UNREADABLE_MAX = 10_000
"""Of these, so many are known by name."""


class Repair:
    """Keeps all objects as redundant as the cluster affords.

    Args:
        store: whose objects; it runs as long as this does.
        membership: its nodes.
        note: tells the operator.
        heal_after_s: how long a node that is gone is waited for.
        rate_bytes: a second, written to all nodes together; None: as fast as it goes.
        draw: chance, in [0, 1).
    """

    def __init__(
        self,
        store: ClusterStore,
        membership: Membership,
        note: Callable[[str], None],
        *,
        heal_after_s: float,
        rate_bytes: int | None,
        draw: Callable[[], float],
    ) -> None:
        self._store = store
        self._membership = membership
        self._note = note
        self._heal_after_s = heal_after_s
        self._throttle = Throttle(rate_bytes)
        self._side_by_side = SIDE_BY_SIDE
        if rate_bytes is not None:
            turns = int(rate_bytes * SILENCE_S) // (MAX_M * UNIT_BYTES)
            self._side_by_side = max(1, min(SIDE_BY_SIDE, turns))
        self._retries = Retries(draw)
        self._rate = Rate()
        self._outlook: Outlook | None = None
        self._backlog = Backlog(look((), 0.0, heal_after_s))
        self._walked_to: int | None = None  # None: all manifests were considered
        self._pending: list[int] = []
        self._active: dict[int, Plan] = {}
        self._woken = trio.Event()  # there is work
        self._idle = trio.Event()  # there is none any more
        self._unreadable: dict[int, str] = {}
        self._lines_left = LINES_MAX
        self._round = _Round()

    @property
    def is_settled(self) -> bool:
        """Nothing is left to be made now, as far as is known, and nothing is waited for.

        What failed again and again isn't either: perhaps only a move makes room for it.
        """
        return (
            self._outlook is not None
            and self._outlook.up == self._up
            and not self._outlook.is_paused
            and not self._is_busy
            and not self._retries.is_hopeful
            and not self._store.damage.has_news
        )

    @property
    def progress(self) -> Progress:
        """How far it is. Cost: a microsecond for each unreadable object."""
        active = self._active.values()
        waiting = Counter(self._backlog.counts) + Counter(plan.spare_count for plan in active)
        return Progress(
            dict(sorted(waiting.items())),
            self._backlog.left_out_count + len(self._retries) + self._retries.left_out_count,
            self._backlog.bytes + sum(plan.bytes for plan in active),
            len(self._still_unreadable()),
            self._outlook is not None and self._outlook.is_paused,
            self._rate.bytes_s(trio.current_time()),
        )

    @property
    def _up(self) -> frozenset[int]:
        return frozenset(one.record.number for one in self._membership.up(trio.current_time()))

    @property
    def _is_busy(self) -> bool:
        has_work = bool(self._backlog.counts or self._active or self._pending)
        return has_work or self._walked_to is not None

    async def run(self) -> None:
        """Work until cancelled: what is being made then is taken away."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._side_by_side):
                nursery.start_soon(self._work)
            while True:
                self._look()
                try:
                    has_more = await self._find()
                except DiskError as error:
                    self._round.error, has_more = str(error), False
                self._say()
                if not has_more:
                    self._idle = trio.Event()
                    with trio.move_on_after(LOOK_S):
                        await self._idle.wait()

    # --- what there is to do -------------------------------------------------------------------

    def _look(self) -> None:
        """See who is there; if that is news, all is to be gone through."""
        now_s, before = trio.current_time(), self._outlook
        members = self._membership.members.values()
        if before is None and any(one.fill is None and not one.is_silent(now_s) for one in members):
            return  # after a start, nodes come within seconds
        states = [NodeState(one.record.number, one.is_up(now_s), one.heard_s) for one in members]
        self._outlook = outlook = look(states, now_s, self._heal_after_s)
        if before is None or before._replace(until_s=0.0) != outlook._replace(until_s=0.0):
            self._walk()
        elif self._is_walk_due(now_s):
            self._walk()
        if outlook.is_paused and not (before and before.is_paused):
            gone = ", ".join(str(one.number) for one in states if not one.is_up)
            self._note(
                f"repair waits: more nodes are gone than objects have parity: {gone}; it goes on"
                f" when they are back, or {PAUSE_FACTOR * self._heal_after_s:g} s after the last"
            )
        elif before and before.is_paused and not outlook.is_paused:
            self._note("repair goes on")

    def _is_walk_due(self, now_s: float) -> bool:
        """Whether objects were left out, and their turn has come."""
        return not self._is_busy and bool(
            self._backlog.left_out_count or self._retries.is_left_out_due(now_s)
        )

    def _walk(self) -> None:
        """Go through all manifests from now on."""
        assert self._outlook is not None
        self._backlog = Backlog(self._outlook)
        self._walked_to = 0
        self._unreadable = self._still_unreadable()
        self._lines_left = LINES_MAX

    async def _find(self) -> bool:
        """Consider some objects; whether there are more to be considered.

        Raises:
            DiskError: the metadata can't be read; nothing is left out.
        """
        if self._outlook is None:
            return False
        self._pending += self._store.damage.news()
        self._pending += self._retries.due(trio.current_time())
        if self._pending:
            some = self._pending[:PAGE_COUNT]
            for number, manifest in zip(some, await self._manifests(some), strict=True):
                self._consider(number, manifest)
            del self._pending[: len(some)]
        if (after := self._walked_to) is not None:
            page = await self._store.scribe.ask(
                lambda meta: meta.page(after, PAGE_COUNT), is_lasting=False
            )
            for manifest in page:
                self._consider(manifest.generation, manifest)
            self._walked_to = page[-1].generation if page else None
        if self._backlog.counts:
            self._woken.set()
            self._woken = trio.Event()
        return bool(self._pending) or self._walked_to is not None

    async def _manifests(self, generations: Sequence[int]) -> list[Manifest | None]:
        """Those of some objects, None of what is gone.

        Raises:
            DiskError: they can't be read.
        """

        def read(meta: Meta) -> list[Manifest | None]:
            pages = [meta.page(number - 1, 1) for number in generations]
            return [
                page[0] if page and page[0].generation == number else None
                for number, page in zip(generations, pages, strict=True)
            ]

        return await self._store.scribe.ask(read, is_lasting=False)

    def _consider(self, generation: int, manifest: Manifest | None) -> None:
        if manifest is None:
            self._forget(generation)
            return
        damaged = self._store.damage.of(generation, manifest.nodes)
        is_readable = self._backlog.consider(manifest, damaged)
        if generation in self._retries and not assess(manifest, self._backlog.outlook, damaged):
            self._retries.done(generation)
        if is_readable:
            self._unreadable.pop(generation, None)
        elif generation not in self._unreadable and len(self._unreadable) < UNREADABLE_MAX:
            self._unreadable[generation] = manifest.key
            self._name(manifest, damaged)

    def _still_unreadable(self) -> dict[int, str]:
        """Without those that were replaced or deleted."""
        return {
            number: key
            for number, key in self._unreadable.items()
            if (stored := self._store.stored(key)) and stored.generation == number
        }

    def _forget(self, generation: int) -> None:
        """An object is gone."""
        self._store.damage.drop(generation)
        self._retries.done(generation)
        self._unreadable.pop(generation, None)

    def _name(self, manifest: Manifest, damaged: Sequence[int]) -> None:
        """An object can't be read: say which."""
        self._lines_left -= 1
        if self._lines_left >= 0:
            count = len(readable_parts(manifest, self._backlog.outlook, damaged))
            self._note(
                f"{manifest.key} can't be read: of its {len(manifest.nodes)} parts {count} can be"
                f" had, and it takes {K}"
            )
        elif self._lines_left == -1:
            self._note("more objects can't be read")

    # --- doing it ------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Repair one object after the other."""
        while True:
            plan = self._backlog.take()
            if plan is None:
                await self._woken.wait()
            elif (generation := plan.generation) not in self._active:
                self._active[generation] = plan
                try:
                    error = await self._heal(generation)
                except StoreError as failure:
                    error = str(failure)
                finally:
                    del self._active[generation]
                if error:
                    self._retries.failed(generation, trio.current_time())
                    self._round.error = error
                    await trio.sleep(FAILED_S)
                else:
                    self._retries.done(generation)
                    if not self._is_busy:
                        self._idle.set()

    async def _heal(self, generation: int) -> str:
        """Make what an object lacks; "": that is nothing now, else why it couldn't be made.

        Raises:
            StoreError: the metadata can't be read, or the object is going.
        """
        refused: frozenset[int] = frozenset()
        while True:
            [manifest] = await self._manifests([generation])
            if manifest is None:
                self._forget(generation)
                return ""
            outlook = self._outlook
            assert outlook is not None
            damaged = self._store.damage.of(generation, manifest.nodes)
            plan = assess(manifest, outlook, damaged)
            if plan is None:
                return ""
            source = self._store.source(manifest.key, generation)
            source.hold()  # if it is deleted meanwhile, its parts go when all of these are there
            try:
                outcome = await make_whole(self._store, manifest, plan, refused, self._pace)
            finally:
                source.let_go()
            self._round.part_count += len(outcome.made)
            if not outcome.made and outcome.refused <= refused:
                return outcome.error
            refused |= outcome.refused

    async def _pace(self, size_bytes: int) -> None:
        self._rate.note(size_bytes, trio.current_time())
        self._round.bytes += size_bytes
        await self._throttle.take(size_bytes)

    # --- what is said --------------------------------------------------------------------------

    def _say(self) -> None:
        """Tell of the begin and the end of a round, if that is now."""
        this, now_s = self._round, trio.current_time()
        if this.began_s is None and self._walked_to is None and self._is_busy:
            this.began_s = now_s
            progress = self.progress
            count = sum(progress.waiting.values()) + self._backlog.left_out_count
            self._note(f"repair begins: {count} objects lack parts, {_mib(progress.bytes)}")
        elif not self._is_busy and (this.began_s is not None or this.part_count):
            took_s = now_s - (now_s if this.began_s is None else this.began_s)
            text = f"repair ends: {this.part_count} parts made, {_mib(this.bytes)}, {took_s:.0f} s"
            if self._retries:
                text += f"; {len(self._retries)} objects are tried again later: {this.error}"
            self._note(text)
            self._round = _Round()


class _Round:
    """From the time when there is something to do until there is nothing."""

    def __init__(self) -> None:
        self.began_s: float | None = None
        self.part_count = 0
        self.bytes = 0
        self.error = ""


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"
