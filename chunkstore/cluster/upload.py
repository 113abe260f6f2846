"""One object on its way to the nodes: runs become stripes, stripes records, and at the end it is
committed.

A task of its own does the work; who hands runs over waits only while too much waits for it. What is
whole before a stripe of it has come is sent in one go: one buffer to each node, of known length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from chunkstore.cluster.codec import Codec
from chunkstore.cluster.cutter import Cutter, Piece
from chunkstore.cluster.ledger import with_digest
from chunkstore.cluster.meta import Manifest, Open
from chunkstore.cluster.parts import Parts
from chunkstore.cluster.source import ClusterSource
from chunkstore.cluster.stripe import HEADER_BYTES, STRIPE_BYTES, UNIT_BYTES, K, Layout
from chunkstore.cluster.turns import Turn
from chunkstore.errors import DiskError
from chunkstore.store import OnDone

if TYPE_CHECKING:
    from chunkstore.cluster.store import ClusterStore

__all__ = ["ClusterUpload"]

WAITING_BYTES = STRIPE_BYTES + (1 << 20)
"""So much waits to be cut: with what waits for the nodes, 6 MiB an upload."""
INLINE_BYTES = 128 * 1024
"""So little is cut at once: going to a thread and back takes as long."""


class _Ending(NamedTuple):
    """What a commit asked for."""

    facts: bytes
    on_done: OnDone
    turn: Turn


class ClusterUpload:
    """The writer's side of one object in the cluster; for the loop's thread.

    Args:
        store: where it goes.
        key: its name.
        generation: its number.

    Attributes: as `Incoming` has them.
    """

    def __init__(self, store: ClusterStore, key: str, generation: int) -> None:
        self._store = store
        self._key = key
        self._cutter = Cutter(generation)
        self._parts: Parts | None = None
        self._is_cut = False
        self._ending: _Ending | None = None
        self._is_given_up = False
        self._scope = trio.CancelScope()
        self._changed = trio.Event()
        self.on_written: Callable[[], None] = lambda: None
        self.generation = generation
        self.handed_bytes = self.written_bytes = 0
        self.error: DiskError | None = None
        self.has_digest = True
        self.sha256: bytes | None = None
        self.receipt_fields: tuple[tuple[str, str], ...] = ()
        self.source: ClusterSource = store.open_source(key, generation, self._locate)
        self.source.hold()

    def _locate(self) -> tuple[int, ...]:
        return self._parts.nodes if self._parts else ()

    # --- the writer's side ---------------------------------------------------------------------

    async def append(self, pieces: Sequence[Piece]) -> None:
        """As `Incoming.append`."""
        size = sum(map(len, pieces))
        while self._is_wanted and self._cutter.waiting_bytes + size > WAITING_BYTES:
            await self._change()
        self.handed_bytes += size
        if self._is_wanted:
            self._cutter.add(pieces)
            self._wake()

    def commit(self, size_bytes: int, facts: bytes, on_done: OnDone) -> None:
        """As `Incoming.commit`."""
        assert self.handed_bytes == size_bytes
        self._ending = _Ending(facts, on_done, self._store.turns.take(self._key))
        self._wake()

    def abandon(self) -> None:
        """As `Incoming.abandon`; what was written stays while somebody reads it."""
        self._is_given_up = True
        self._wake()
        self.source.let_go()
        self._store.when_idle(self.generation, self._scope.cancel)

    def stop(self) -> None:
        """End it now, unless it was to be committed: that is seen through."""
        if self._ending is None:
            self._is_given_up = True
            self._scope.cancel()

    @property
    def _is_wanted(self) -> bool:
        return self.error is None and not self._is_given_up

    # --- its task ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write it, until it was committed or given up; then nothing of it is under way."""
        manifest: Manifest | None = None
        with self._scope:
            try:
                manifest = await self._write()
            except DiskError as error:
                self.error = error
                self.on_written()
                self._wake()
            await self._until(lambda: self._ending is not None)
        if self._ending is not None:
            is_kept = await self._end(self._ending, manifest)
            self.source.let_go()
            if is_kept:
                return
        if self._parts is not None:  # who reads it, though it came to nothing, may go on
            tried = self._parts.tried
            self._store.when_idle(self.generation, lambda: self._store.drop(self.generation, tried))

    async def _write(self) -> Manifest:
        """Have all parts durable that can be.

        Raises:
            DiskError: these are too few.
        """
        await self._until(lambda: self._cutter.has_stripe or self._ending is not None)
        m = self._store.fleet.m
        codec = self._store.fetcher.codec(m)
        whole = [] if self._cutter.has_stripe else await self._last(codec)
        parts = Parts(self._store, self._key, self.generation, m, self._progress)
        parts.place(len(whole[0]) if whole else HEADER_BYTES + UNIT_BYTES)
        self._parts = parts
        await self._store.begin_open(Open(self.generation, self._key, parts.nodes))
        endings = whole
        async with parts.open(whole):
            if not whole:
                endings = await self._stream(parts, codec)
            await parts.sent()
        size_bytes = self._cutter.taken_bytes
        await parts.replace(size_bytes, endings)
        assert self._ending is not None
        ending_bytes = len(self._cutter.descriptions(self._key, m, self._ending.facts)[0])
        part_bytes = Layout(size_bytes).records_bytes + ending_bytes
        assert self.sha256 is not None
        self.receipt_fields = (("Chunkstore-Redundancy", f"{parts.durable_count}/{K + m}"),)
        facts = with_digest(self.sha256, self._ending.facts)
        nodes = parts.durable_nodes
        return Manifest(self._key, self.generation, size_bytes, part_bytes, K, nodes, facts)

    async def _stream(self, parts: Parts, codec: Codec) -> list[bytes]:
        """All records, to the end of the object; what stands behind the last of them."""
        while True:
            await self._until(lambda: self._cutter.has_stripe or self._ending is not None)
            await parts.room()  # what is cut takes memory, and what waits for it is in the ring
            if not self._cutter.has_stripe:
                break
            parts.put(await self._cut(codec))
        parts.put(await self._last(codec), is_last=True)
        assert self._ending is not None
        return self._cutter.descriptions(self._key, codec.m, self._ending.facts)

    async def _last(self, codec: Codec) -> list[bytes]:
        """What every part ends with: its last record, if there is one, and the description."""
        assert self._ending is not None
        records = await self._cut(codec) if self._cutter.waiting_bytes else [b""] * (K + codec.m)
        self._is_cut = True
        self.sha256 = self._cutter.sha256
        self.on_written()  # readers that wait for it needn't wait for nodes
        descriptions = self._cutter.descriptions(self._key, codec.m, self._ending.facts)
        return [record + end for record, end in zip(records, descriptions, strict=True)]

    async def _cut(self, codec: Codec) -> list[bytes]:
        stripe, pieces = self._cutter.stripe_count, self._cutter.take()
        self._wake()
        cut = partial(self._cutter.records, codec, stripe, pieces)
        if sum(map(len, pieces)) <= INLINE_BYTES:
            return cut()
        records: list[bytes] = await self._store.in_thread(cut)
        return records

    def _progress(self) -> None:
        """Nodes took more of it."""
        if self._parts is None:
            return
        taken_bytes = self._cutter.taken_bytes
        written_bytes = min(self._parts.sent_count * STRIPE_BYTES, taken_bytes)
        if written_bytes > self.written_bytes:
            self.written_bytes = written_bytes
            self.source.wrote(written_bytes, taken_bytes if self._is_cut else None)
            self.on_written()

    async def _end(self, ending: _Ending, manifest: Manifest | None) -> bool:
        """See the commit through; whether it was made."""
        if manifest is None:
            assert self.error is not None
            self._store.turns.ready(ending.turn, partial(ending.on_done, self.error))
            return False
        told = trio.Event()

        def on_done(error: DiskError | None) -> None:
            self.error = error
            if error is None:
                self.written_bytes = manifest.size_bytes
                self.source.wrote(manifest.size_bytes, manifest.size_bytes)
                self.source.is_committed = True
            ending.on_done(error)
            told.set()

        self._store.commit(ending.turn, manifest, on_done)
        await told.wait()
        return self.error is None

    # --- waiting -------------------------------------------------------------------------------

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that the writer does; given up, it does nothing any more."""
        while self._is_given_up or not holds():
            await self._change()

    async def _change(self) -> None:
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
