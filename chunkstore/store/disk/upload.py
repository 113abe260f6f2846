"""One upload on its way to the disk: runs are handed over, and at the end it is committed."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chunkstore.errors import DiskError
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.files import Buffer
from chunkstore.store.disk.source import DiskSource
from chunkstore.store.disk.stored import Extent
from chunkstore.store.disk.volume import Volume

if TYPE_CHECKING:
    from chunkstore.store.disk.store import DiskStore

__all__ = ["DiskUpload"]


class DiskUpload:
    """The writer's side of one generation on disk; for the loop's thread.

    Args:
        store: where it goes.
        source: of the generation; held until the upload ends.

    Attributes:
        generation: its number, never used again in this data dir.
        handed_bytes: of the payload, handed over.
        written_bytes: of the payload, to be read from `source`.
        on_written: called when more of it can be read from `source`, or never will.
        error: why it can't become complete; None so far.
        lost: the same, as the store's thread knows it, which is sooner.
        has_digest, sha256, receipt_fields: a disk has nothing to say there.
    """

    has_digest = False
    sha256 = None
    receipt_fields = ()
    __slots__ = (
        "_store",
        "error",
        "generation",
        "handed_bytes",
        "lost",
        "on_written",
        "source",
        "written_bytes",
    )

    def __init__(self, store: DiskStore, source: DiskSource) -> None:
        self._store = store
        self.on_written: Callable[[], None] = lambda: None
        self.lost: OSError | None = None
        self.source = source
        self.generation = source.generation
        self.handed_bytes = self.written_bytes = 0
        self.error: DiskError | None = None
        source.hold()

    async def append(self, pieces: Sequence[Buffer]) -> None:
        """Hand the next run over; waits only while too much waits for the disk.

        Args:
            pieces: together at most 1 MiB, and at least a byte; not changed any more.
        Cancellation: it was not handed over.
        """
        size = sum(map(len, pieces))
        await self._store.wait_for_room(size)
        offset, self.handed_bytes = self.handed_bytes, self.handed_bytes + size

        volume: Volume | None = None

        def act(engine: Engine) -> Extent:
            nonlocal volume
            extent = engine.append(self.generation, offset, pieces)
            volume = engine.volume(extent.volume)
            assert volume is not None
            volume.hold()  # now: before the loop hears of it compaction may have emptied it
            return extent

        def appended(extent: Extent | None, error: DiskError | None) -> None:
            if extent is None or volume is None:
                self.error = self.error or error
            else:
                self.source.add(extent, volume)
                self.written_bytes += extent.size_bytes
            self.on_written()

        self._store.put(act, appended, size_bytes=size, upload=self)

    def commit(
        self, size_bytes: int, facts: bytes, on_done: Callable[[DiskError | None], None]
    ) -> None:
        """All was handed over: have it become what its name has.

        Args:
            on_done: called once it is so, whatever happens from then on; or with the error, and
                nothing changed: DiskFullError, or it failed.
        """

        def act(engine: Engine) -> None:
            engine.commit(
                self.generation, self.source.key, size_bytes, facts, sync=self._store.is_synced
            )

        def committed(_: Extent | None, error: DiskError | None) -> None:
            if error is None:
                self.source.is_committed = True
            else:
                self.abandon()
            on_done(error)
            if error is None:
                self.source.let_go()

        self._store.put(act, committed, upload=self, counts_when="now")

    def abandon(self) -> None:
        """It won't become complete: what was stored of it is garbage."""
        # Its writer may hear of it only after it has handed more over: that must not be written.
        self.lost = self.lost or OSError(errno.ECANCELED, "the upload was given up")
        self._store.put(lambda engine: engine.abandon(self.generation), lambda *_: None)
        self.source.let_go()
