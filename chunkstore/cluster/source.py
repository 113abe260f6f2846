"""Where the bytes of one generation lie, for who reads them: in parts, on nodes.

Who wants little gets just that, from the parts that have it; who reads on gets windows. While it is
held, it knows where its parts were: a generation that was replaced can be read to its end, for as
long as nodes keep what was.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from chunkstore.cluster.fetch import Place
from chunkstore.cluster.readers import Readers
from chunkstore.cluster.stripe import STRIPE_BYTES, UNIT_BYTES, Layout
from chunkstore.cluster.windows import Track, Windows
from chunkstore.errors import DamagedError

__all__ = ["ClusterSource", "HeldSource"]


class ClusterSource:
    """A `Source`: payload of one generation on nodes; for the loop's thread.

    Args:
        windows: of the gateway.
        key: the object's name.
        generation: its number.
        locate: the node of each part as it is now; None: nothing has this generation any more.
        size_bytes: of the object; None: it is being written, and `wrote` says how far.

    Attributes:
        is_committed: all of it lies on nodes, for good; set by who committed it.
    """

    __slots__ = (
        "_holds",
        "_layout",
        "_locate",
        "_nodes",
        "_track",
        "_windows",
        "_written_bytes",
        "generation",
        "is_committed",
        "key",
    )

    def __init__(
        self,
        windows: Windows,
        key: str,
        generation: int,
        locate: Callable[[], tuple[int, ...] | None],
        size_bytes: int | None = None,
    ) -> None:
        self._windows = windows
        self._track = Track(windows, self._place)
        self._locate = locate
        self._layout = Layout(size_bytes)
        self._written_bytes = size_bytes or 0
        self._nodes: tuple[int, ...] = ()
        self._holds = 0
        self.key = key
        self.generation = generation
        self.is_committed = size_bytes is not None

    def wrote(self, written_bytes: int, size_bytes: int | None = None) -> None:
        """More of an upload can be read.

        Args:
            written_bytes: so much by now: whole stripes, until the last one.
            size_bytes: of the whole object, once its last stripe is cut.
        """
        assert size_bytes is not None or written_bytes % STRIPE_BYTES == 0
        self._written_bytes = written_bytes
        if size_bytes is not None:
            self._layout = Layout(size_bytes)

    def hold(self) -> None:
        """As `Source.hold`."""
        if not self._holds:
            nodes = self._locate()
            if nodes is None:
                raise DamagedError(self.key, "no node has it any more")
            self._nodes = nodes
        self._holds += 1

    def let_go(self) -> None:
        """As `Source.let_go`."""
        self._holds -= 1
        if not self._holds:
            self._track.leave()

    async def range(self, offset: int, limit_bytes: int) -> bytes | memoryview:
        """As `Source.range`; all of what is little, of more what a unit has."""
        assert self._holds, "read without being held"
        stop = min(offset + limit_bytes, self._written_bytes)
        if offset >= stop:
            raise DamagedError(self.key, f"its bytes from {offset} on are missing")
        goes_on = self._track.take_up(offset)
        is_little = limit_bytes <= STRIPE_BYTES
        if is_little and not goes_on:
            piece: bytes | memoryview = await self._fetch(offset, stop)
        else:
            # Who takes little again and again will want the rest, too.
            wanted = self._written_bytes if is_little else stop
            piece = await self._take(offset, stop, wanted)
        if is_little or offset + len(piece) < stop:
            self._track.lay_down(offset + len(piece))
        return piece

    async def read(self) -> bytes:
        """As `Source.read`."""
        assert self._holds, "read without being held"
        await trio.lowlevel.checkpoint()
        return await self._fetch(0, self._written_bytes) if self._written_bytes else b""

    async def _take(self, offset: int, stop: int, wanted: int) -> bytes | memoryview:
        window = self._track.window(offset, wanted)
        if window is None:  # many read: each gets a unit at a time, which is kept nowhere
            return await self._fetch(offset, min(stop, offset - offset % UNIT_BYTES + UNIT_BYTES))
        return await window.view(self.key, offset, min(stop, window.stop))

    async def _fetch(self, start: int, stop: int) -> bytes:
        return await self._windows.fetcher.fetch(self._place(), start, stop)

    def _place(self) -> Place:
        # Parts may have been moved; of what was replaced it is known from before.
        self._nodes = self._locate() or self._nodes
        return Place(self.key, self.generation, self._layout, self._nodes)


class HeldSource(ClusterSource):
    """One whose readers count.

    Args:
        readers: where they do.
        windows, key, generation, locate, size_bytes: as for `ClusterSource`.
    """

    __slots__ = ("_readers",)

    def __init__(
        self,
        readers: Readers,
        windows: Windows,
        key: str,
        generation: int,
        locate: Callable[[], tuple[int, ...] | None],
        size_bytes: int | None = None,
    ) -> None:
        super().__init__(windows, key, generation, locate, size_bytes)
        self._readers = readers

    def hold(self) -> None:
        """As `Source.hold`."""
        super().hold()
        self._readers.enter(self.generation)

    def let_go(self) -> None:
        """As `Source.let_go`."""
        super().let_go()
        self._readers.leave(self.generation)
