"""All parts of all objects are read and checked, once in so long, before a reader misses them.

An object at a time, its parts side by side, since each lies on another node; in the order of their
generations, so a number is all that must be remembered to go on after a restart. What was written
since a round began is for the next one. What is wrong twice in a row is noted, and repaired by
somebody else: once may have been the way's fault.

A node answers from its memory what it still has there: that is read from its disk by a later round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from chunkstore.client import Answer, expect
from chunkstore.cluster.heal.throttle import Throttle
from chunkstore.cluster.ledger import with_digest
from chunkstore.cluster.meta import NOWHERE, Manifest
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.stripe import Layout
from chunkstore.cluster.unit import Description, Flaw, RecordReader
from chunkstore.errors import CutError, DiskError, FetchError, StatusError

if TYPE_CHECKING:
    from chunkstore.cluster.store import ClusterStore

__all__ = ["Round", "Scrub"]

PAGE_COUNT = 250
SPAN_STRIPES = 16
"""Read at once, 4 MiB: a node cuts who takes its time within an answer."""
EMPTY_S = 60.0
"""Between two looks at a cluster that has nothing."""
RETRY_S = 60.0
"""Until the metadata is asked again that couldn't be read."""
REMEMBER_S = 60.0
_LOST = (404, 410, 416, 500)
"""What a node answers that has no such part, or can't read it."""


@dataclass(slots=True)
class Round:
    """What a round did so far.

    Attributes:
        part_count: parts that were read to their end, or to their flaw.
        flaw_count: parts of these that weren't right.
        left_out_count: parts whose nodes couldn't be asked.
        object_count: objects whose turn has come.
        took_s: how long it took; 0: it goes on.
    """

    object_count: int = 0
    part_count: int = 0
    read_bytes: int = 0
    flaw_count: int = 0
    left_out_count: int = 0
    took_s: float = 0.0


class _Span(NamedTuple):
    """Some of a part: records of consecutive stripes, and behind the last one the description."""

    stripes: range
    start: int
    stop: int
    is_last: bool


class Scrub:
    """Reads all parts, round after round.

    Args:
        store: whose objects they are.
        period_s: how long a round takes, if there is time enough; None: there is none.
        place: a file that remembers the place over restarts. It isn't synced, and whatever is wrong
            with it, a round begins anew.
        note: gets a line a round.

    Attributes:
        round: the one under way.
        last: the one before; None: none was finished in this life of the gateway.
        round_count: of those that were.
    """

    def __init__(
        self,
        store: ClusterStore,
        period_s: float | None,
        place: Path,
        note: Callable[[str], None],
    ) -> None:
        self._store = store
        self._period_s = period_s
        self._place = place
        self._note = note
        self._throttle = Throttle(None)
        self._after = 0
        self._remember_s = 0.0
        self.round = Round()
        self.last: Round | None = None
        self.round_count = 0

    async def run(self) -> None:
        """Work until cancelled; without a period there is nothing to do."""
        if self._period_s is None:
            return
        self._after = await self._store.in_thread(lambda: _remembered(self._place))
        while True:
            try:
                await self._pass(self._period_s)
            except DiskError as error:
                self._note(f"scrub: the metadata can't be read: {error}")
                await trio.sleep(RETRY_S)

    async def _pass(self, period_s: float) -> None:
        """One round, from its place to the end.

        Raises:
            DiskError: the metadata can't be read.
        """
        last, total_bytes = await self._measure()
        if total_bytes == 0:
            await trio.sleep(min(period_s, EMPTY_S))
            return
        began_s = trio.current_time()
        self.round = Round()
        self._throttle = Throttle(total_bytes / period_s)
        while manifests := await self._manifests(self._after):
            for manifest in manifests:
                if manifest.generation <= last:
                    await self._read_object(manifest)
                self._after = manifest.generation
                await self._remember()
            if self._after >= last:
                break
        await self._throttle.take(0)
        self._after = 0
        self.round.took_s = trio.current_time() - began_s
        self.last = self.round
        self.round_count += 1
        self._note(self._told(self.round))

    async def _measure(self) -> tuple[int, int]:
        """The newest generation, and the bytes of all parts."""
        after = total_bytes = 0
        while manifests := await self._manifests(after):
            total_bytes += sum(_placed_bytes(manifest) for manifest in manifests)
            after = manifests[-1].generation
        return after, total_bytes

    async def _manifests(self, after: int) -> list[Manifest]:
        return await self._store.scribe.ask(
            lambda meta: meta.page(after, PAGE_COUNT), is_lasting=False
        )

    async def _remember(self) -> None:
        """Write the place down, if that is some time ago."""
        now_s = trio.current_time()
        if now_s >= self._remember_s:
            self._remember_s = now_s + REMEMBER_S
            await self._store.in_thread(lambda: _write_place(self._place, self._after))

    def _told(self, one: Round) -> str:
        return (
            f"scrub: {one.part_count} parts of {one.object_count} objects read in"
            f" {one.took_s:.0f} s: {one.flaw_count} of them damaged, {one.left_out_count} left out;"
            f" {self._store.damage.found_count} damaged ones were met since the start"
        )

    # --- an object -----------------------------------------------------------------------------

    async def _read_object(self, listed: Manifest) -> None:
        manifest = self._store.manifest(listed.key)
        if manifest is None or manifest.generation != listed.generation:
            return  # the list is as old as its objects are large
        self.round.object_count += 1
        async with trio.open_nursery() as nursery:
            for index, node in enumerate(manifest.nodes):
                if node != NOWHERE:
                    nursery.start_soon(self._read_part, manifest, index)

    async def _read_part(self, manifest: Manifest, index: int) -> None:
        """Read a part, each span of it in its time; once all is said, its time is waited out."""
        outcome: bool | None = True
        for span in _spans(manifest):
            await self._throttle.take(span.stop - span.start)
            if outcome:
                outcome = await self._look(manifest, index, span)
        if outcome is None:
            self.round.left_out_count += 1
        else:
            self.round.part_count += 1
            self.round.flaw_count += not outcome

    async def _look(self, manifest: Manifest, index: int, span: _Span) -> bool | None:
        """Whether a span is right; None: that can't be said now, or needn't be."""
        node = self._node(manifest, index)
        if not self._store.fleet.is_up(node):
            return None
        try:
            if await self._is_right(manifest, index, node, span):
                return True
            if await self._is_right(manifest, index, node, span):
                return True
        except FetchError:
            return None
        if self._node(manifest, index) != node:
            return None  # it went, or was moved
        self._store.damage.note(manifest.generation, index, node)
        return False

    def _node(self, manifest: Manifest, index: int) -> int:
        """Where a part is by now."""
        now = self._store.manifest(manifest.key)
        is_same = now is not None and now.generation == manifest.generation
        return now.node(index) if now and is_same else NOWHERE

    async def _is_right(self, manifest: Manifest, index: int, node: int, span: _Span) -> bool:
        """Read a span.

        Raises:
            FetchError: the node doesn't say.
        """
        target = part_path(Part(manifest.generation, index))
        fields = [("Range", f"bytes={span.start}-{span.stop - 1}")]
        try:
            async with self._store.fetcher.links.request(
                node, "GET", target, generation=manifest.generation, fields=fields
            ) as answer:
                await expect(answer, 206)
                try:
                    return await self._take(answer, manifest, index, span)
                except CutError:  # as a node does that met damage; before the head, it is gone
                    return False
        except StatusError as error:
            if error.status in _LOST:
                return False
            raise

    async def _take(self, answer: Answer, manifest: Manifest, index: int, span: _Span) -> bool:
        where, _, total = answer.fields.get("content-range", "").partition("/")
        if total == "*":
            raise FetchError(f"{answer.asked}: it is being written")
        if where != f"bytes {span.start}-{span.stop - 1}" or total != str(manifest.part_bytes):
            return False
        layout = Layout(manifest.size_bytes)
        records = RecordReader(layout, manifest.generation, index, span.stripes)
        is_right = True
        while due_bytes := records.due_bytes:
            data = await answer.some(records.limit_bytes, least_bytes=due_bytes)
            if not data:
                break
            self.round.read_bytes += len(data)
            whole = records.feed(data)
            is_right = is_right and not (whole and isinstance(whole[1], Flaw))
        tail = b""
        while data := await answer.some(1 << 16):  # to its end: the connection is kept then
            self.round.read_bytes += len(data)
            tail += data
        return is_right and not records.due_bytes and _is_tail(tail, manifest, index, span)


def _spans(manifest: Manifest) -> Iterator[_Span]:
    layout = Layout(manifest.size_bytes)
    count = layout.stripe_count
    for first in range(0, max(1, count), SPAN_STRIPES):
        stripes = range(first, min(first + SPAN_STRIPES, count))
        start, stop = layout.extent(stripes)
        is_last = stripes.stop == count
        yield _Span(stripes, start, manifest.part_bytes if is_last else stop, is_last)


def _is_tail(tail: bytes, manifest: Manifest, index: int, span: _Span) -> bool:
    """Whether what stands behind the records of a span is what should."""
    if not span.is_last:
        return not tail
    described = Description.parse(tail)
    return (
        described is not None
        and Description.size_of(tail) == len(tail)
        and described.key == manifest.key
        and described.generation == manifest.generation
        and described.k == manifest.k
        and described.part == index
        and described.size_bytes == manifest.size_bytes
        and with_digest(described.sha256, described.facts) == manifest.facts
    )


def _placed_bytes(manifest: Manifest) -> int:
    return manifest.part_bytes * (len(manifest.nodes) - manifest.nodes.count(NOWHERE))


def _remembered(place: Path) -> int:
    try:
        return int(place.read_bytes()[:18])
    except (OSError, ValueError):
        return 0


def _write_place(place: Path, generation: int) -> None:
    part = place.with_name(place.name + ".part")
    with suppress(OSError):  # on a full disk the next start goes on from an older one
        part.write_text(f"{generation}\n", encoding="ascii")
        part.replace(place)
