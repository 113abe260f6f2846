"""The gateway's store: objects in parts on nodes, what is known of them in memory and in the
metadata.

Whatever changes the metadata goes through one queue, in the order of the calls; several wait for
one sync together. A commit takes its turn among the changes of its name when it is called, and is
made when its parts are durable. What a commit replaces is taken away as soon as nobody reads it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from functools import partial
from typing import Any

import trio

from chunkstore.cluster.collector import Collector
from chunkstore.cluster.damage import Damage
from chunkstore.cluster.fetch import Fetcher
from chunkstore.cluster.fleet import Fleet
from chunkstore.cluster.ledger import Ledger, Stored
from chunkstore.cluster.links import Links
from chunkstore.cluster.meta import NOWHERE, Manifest, Meta, Open, Swap
from chunkstore.cluster.numbers import Numbers
from chunkstore.cluster.readers import GRACE_S, Readers
from chunkstore.cluster.scribe import Scribe
from chunkstore.cluster.source import ClusterSource, HeldSource
from chunkstore.cluster.swap import undo
from chunkstore.cluster.turns import Turn, Turns
from chunkstore.cluster.upload import ClusterUpload
from chunkstore.cluster.windows import Windows
from chunkstore.errors import DiskError, StoreError
from chunkstore.store import OnDone

__all__ = ["ClusterStore"]

PAGE_COUNT = 10_000
LEFTOVERS = 1 << 31
EXPIRE_S = 5.0


class ClusterStore:
    """A `Store` over the nodes of a cluster.

    Args:
        meta: its metadata, which is read at once; from `run` on it is the scribe's.
        scribe: makes changes; `run` runs it.
        fleet: the nodes.
        links: to them.
        wall_s: Unix time.
        in_thread: calls what computes, in a thread.

    Attributes:
        scribe, fleet: as above.
        damage: parts that were found not to be right.
        fetcher, windows: read from nodes.
        leaving: generations and nodes of parts that were swapped, and are still to be taken away.
        tasks: run while it does, and end before it: what they ask for is made.
        turns, collector: of the uploads.
    """

    def __init__(
        self,
        meta: Meta,
        scribe: Scribe,
        fleet: Fleet,
        links: Links,
        *,
        wall_s: Callable[[], float] = time.time,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None,
    ) -> None:
        self.scribe = scribe
        self.fleet = fleet
        self.damage = Damage()
        self.fetcher = Fetcher(links, self.damage.note)
        self.windows = Windows(self.fetcher)
        self.turns = Turns()
        self.collector = Collector(links, fleet)
        # More at a time than processors take memory, and nothing is done sooner.
        limiter = trio.CapacityLimiter(os.cpu_count() or 1)
        self.in_thread = in_thread or partial(trio.to_thread.run_sync, limiter=limiter)
        self.leaving: set[tuple[int, int]] = set()
        self.tasks: list[Callable[[], Awaitable[None]]] = []
        self._wall_s = wall_s
        self._untidy: list[Callable[[Meta], object]] = []
        self._readers = Readers()
        self._ledger = Ledger(_manifests(meta))
        self._numbers = Numbers(meta, scribe)
        self._collect_leftovers(meta)
        self._uploads: dict[ClusterUpload, None] = {}
        self._writing: trio.Nursery | None = None
        self._stopping = trio.Event()

    def _collect_leftovers(self, meta: Meta) -> None:
        """Who read or wrote in another process does so no more."""
        for opened in meta.opens():
            self.drop(opened.generation, set(enumerate(opened.nodes)))
        for generation, nodes, _ in meta.due(math.inf, LEFTOVERS):
            self._forget(generation, nodes)
        for intent in meta.swaps():
            undo(self, intent)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled.

        Cancellation: what is being committed or deleted is seen through, which may take 10 s.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_cancelled)
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as serving:
                    await serving.start(self.scribe.run)
                    await serving.start(self.windows.run)
                    serving.start_soon(self.collector.run)
                    serving.start_soon(self._expire)
                    async with trio.open_nursery() as self._writing:
                        async with trio.open_nursery() as tending:
                            for task in self.tasks:
                                tending.start_soon(task)
                            task_status.started()
                            await self._stopping.wait()
                            tending.cancel_scope.cancel()
                        for upload in list(self._uploads):
                            upload.stop()
                    serving.cancel_scope.cancel()
            nursery.cancel_scope.cancel()

    async def _stop_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._stopping.set()

    async def _expire(self) -> None:
        while True:
            await trio.sleep(EXPIRE_S)
            self._readers.expire(trio.current_time())
            again, self._untidy = self._untidy, []
            for change in again:
                self.tidy(change)

    # --- objects -------------------------------------------------------------------------------

    def objects(self) -> Iterator[tuple[str, int, bytes]]:
        """As `Store.objects`."""
        return self._ledger.objects()

    def keys(self) -> list[str]:
        """All names, as a copy. Cost: 10 ms for a million."""
        return self._ledger.keys()

    def stored(self, key: str) -> Stored | None:
        """As `Room.stored`."""
        return self._ledger.stored(key)

    def manifest(self, key: str) -> Manifest | None:
        """Where what a name has lies."""
        return self._ledger.manifest(key)

    def source(self, key: str, generation: int) -> ClusterSource:
        """As `Store.source`."""
        stored = self._ledger.stored(key)
        # What has gone just now can't be held any more, and so not be read.
        size = stored.size_bytes if stored and stored.generation == generation else 0
        locate = partial(self._locate, key, generation)
        return HeldSource(self._readers, self.windows, key, generation, locate, size)

    def open_source(
        self, key: str, generation: int, locate: Callable[[], tuple[int, ...]]
    ) -> ClusterSource:
        """The source of an upload.

        Args:
            locate: the node of each part while it is under way.
        """

        def locate_both() -> tuple[int, ...]:
            return self._locate(key, generation) or locate()

        return HeldSource(self._readers, self.windows, key, generation, locate_both)

    def _locate(self, key: str, generation: int) -> tuple[int, ...] | None:
        manifest = self._ledger.manifest(key)
        return manifest.nodes if manifest and manifest.generation == generation else None

    def begin(self, key: str) -> ClusterUpload:
        """As `Store.begin`."""
        assert self._writing is not None, "it is not running"
        upload = ClusterUpload(self, key, self._numbers.take())
        self._uploads[upload] = None
        self._writing.start_soon(self._write, upload)
        return upload

    async def _write(self, upload: ClusterUpload) -> None:
        try:
            await upload.run()
        finally:
            del self._uploads[upload]

    def delete(self, key: str, on_done: OnDone, *, is_urgent: bool = True) -> None:
        """As `Store.delete`; it never takes longer than a sync."""

        def deleted(manifest: Manifest | None, error: StoreError | None) -> None:
            if error is None:
                self._ledger.drop(key)
                self._retire(manifest)
            on_done(_as_disk_error(error))

        deadline_s = self._wall_s() + GRACE_S

        def delete(meta: Meta) -> Manifest | None:
            return meta.delete(key, deadline_s)

        self.turns.ready(self.turns.take(key), lambda: self.scribe.put(delete, deleted))

    # --- what uploads ask ----------------------------------------------------------------------

    async def begin_open(self, opened: Open) -> None:
        """Note where parts of an upload will be, before they are.

        Raises:
            DiskError: it can't be noted.
        """
        await self._numbers.begin(opened)

    async def move_open(self, generation: int, nodes: tuple[int, ...]) -> None:
        """Note that parts of an upload will be elsewhere.

        Raises:
            DiskError: it can't be noted.
        """
        try:
            await self.scribe.ask(lambda meta: meta.move_open(generation, nodes), is_lasting=False)
        except StoreError as error:
            raise DiskError(str(error)) from error

    def commit(self, turn: Turn, manifest: Manifest, on_done: OnDone) -> None:
        """Have an object become what its name has, when it is its turn."""

        def committed(replaced: Manifest | None, error: StoreError | None) -> None:
            if error is None:
                self._ledger.put(manifest)
                self._retire(replaced)
                for index, node in enumerate(manifest.nodes):
                    if node == NOWHERE:
                        self.damage.note(manifest.generation, index, node)
            on_done(_as_disk_error(error))

        deadline_s = self._wall_s() + GRACE_S

        def commit(meta: Meta) -> Manifest | None:
            return meta.commit(manifest, deadline_s)

        self.turns.ready(turn, lambda: self.scribe.put(commit, committed))

    def drop(self, generation: int, tried: set[tuple[int, int]]) -> None:
        """An upload came to nothing: take its parts away, then its record."""
        self.damage.drop(generation)
        forget = partial(self.tidy, lambda meta: meta.abort(generation))
        self.collector.put(generation, tried, forget)

    def tidy(self, change: Callable[[Meta], object]) -> None:
        """Have a record taken away that nothing needs; while that can't be noted, again and again.

        An intent that stayed would keep its part where it is.
        """

        def done(_: object, error: StoreError | None) -> None:
            if error is not None:
                self._untidy.append(change)

        self.scribe.put(change, done, is_lasting=False)

    def when_idle(self, generation: int, act: Callable[[], None]) -> None:
        """Have `act` called once nobody reads a generation, or when that takes too long."""
        self._readers.when_idle(generation, act, trio.current_time())

    @property
    def read_generations(self) -> Collection[int]:
        """Those that somebody reads here, as they come and go: their old places are needed, too."""
        return self._readers.generations

    def place(self, count: int, part_bytes: int, taken: Collection[int] = ()) -> list[int]:
        """Nodes for so many parts: those that were prompt, if they are enough; else others too.

        Args: as `Fleet.place`.
        """
        now_s = trio.current_time()
        taken = set(taken)
        shunned = {
            number
            for number in self.fleet.numbers
            if self.fetcher.patience.is_shunned(number, now_s)
        }
        nodes = self.fleet.place(count, part_bytes, taken | shunned)
        if len(nodes) < count and shunned:
            nodes += self.fleet.place(count - len(nodes), part_bytes, taken.union(nodes))
        return nodes

    # --- what repair asks ----------------------------------------------------------------------

    async def swap(self, key: str, swap: Swap) -> bool:
        """A part was written elsewhere: have the manifest say so; as `Meta.swap_part`.

        Raises:
            DiskError: it can't be noted.
        """

        def make(meta: Meta) -> tuple[bool, Manifest | None]:
            return meta.swap_part(swap), meta.manifest(key)

        is_made, manifest = await self.scribe.ask(make)
        if is_made and manifest is not None:
            now = self._ledger.manifest(key)
            if now is not None and now.generation == manifest.generation:
                self._ledger.put(now.moved(swap.part.index, swap.target))
        return is_made

    # --- room ----------------------------------------------------------------------------------

    def refusal(self) -> DiskError | None:
        """As `Room.refusal`."""
        return self.fleet.refusal()

    def live_bytes(self) -> int:
        """As `Room.live_bytes`, as far as nodes have said."""
        return self.fleet.live_bytes()

    def free_bytes(self) -> int:
        """As `Room.free_bytes`."""
        return self.fleet.free_bytes()

    def capacity_bytes(self) -> int:
        """As `Room.capacity_bytes`."""
        return self.fleet.live_bytes() + self.fleet.free_bytes()

    @property
    def used_bytes(self) -> int:
        """As `Store.used_bytes`."""
        return max(self.fleet.used_bytes(), self.fleet.live_bytes())

    @property
    def flaw_count(self) -> int:
        """Parts that were found damaged or missing."""
        return self.damage.found_count

    def trouble(self) -> list[str]:
        """As `Store.trouble`."""
        refusal = self.fleet.refusal()
        gone = [
            f"node {member.record.number} at {member.record.address} is gone"
            for member in self.fleet.down()
        ]
        return [*([str(refusal)] if refusal else []), *gone]

    # --- inside --------------------------------------------------------------------------------

    def _retire(self, manifest: Manifest | None) -> None:
        if manifest is not None:
            self.damage.drop(manifest.generation)
            forget = partial(self._forget, manifest.generation, manifest.nodes)
            self.when_idle(manifest.generation, forget)

    def _forget(self, generation: int, nodes: tuple[int, ...]) -> None:
        forget = partial(self.tidy, lambda meta: meta.forget(generation))
        self.collector.put(generation, set(enumerate(nodes)), forget)


def _manifests(meta: Meta) -> Iterator[Manifest]:
    after = 0
    while page := meta.page(after, PAGE_COUNT):
        yield from page
        after = page[-1].generation


def _as_disk_error(error: StoreError | None) -> DiskError | None:
    return error if error is None or isinstance(error, DiskError) else DiskError(str(error))
