"""Numbers for generations: each is given once, whatever comes of it, in all lives of a gateway."""

from __future__ import annotations

from chunkstore.cluster.meta import Meta, Open
from chunkstore.cluster.scribe import Scribe
from chunkstore.errors import StoreError

__all__ = ["BLOCK_COUNT", "Numbers"]

BLOCK_COUNT = 4096
"""So many are reserved at a time, and the next ones when half of them are used up."""


class Numbers:
    """Reserved in the metadata a block ahead, so that an upload needs no sync for its own.

    Args:
        meta: read at once.
        scribe: notes what is reserved.
    """

    def __init__(self, meta: Meta, scribe: Scribe) -> None:
        self._scribe = scribe
        [first] = meta.batch([lambda meta: meta.reserve(BLOCK_COUNT)])
        assert isinstance(first, int)
        self._next, self._reserved = first, first + BLOCK_COUNT

    def take(self) -> int:
        """The next one; it may not be reserved yet where many uploads begin at once."""
        number = self._next
        self._next += 1
        if self._next + BLOCK_COUNT // 2 == self._reserved:
            beyond = self._reserved
            self._scribe.put(lambda meta: _reserve_beyond(meta, beyond), self._more)
        return number

    async def begin(self, opened: Open) -> None:
        """Note where parts of an upload will be, and reserve its number if it isn't.

        Raises:
            DiskError: it can't be noted.
        """

        def begin(meta: Meta) -> int:
            reserved = _reserve_beyond(meta, opened.generation)
            meta.begin_open(opened)
            return reserved

        # After a power cut parts without a record are orphans; but no number may come twice.
        is_lasting = opened.generation >= self._reserved
        self._more(await self._scribe.ask(begin, is_lasting=is_lasting), None)

    def _more(self, reserved: int | None, _: StoreError | None) -> None:
        self._reserved = max(self._reserved, reserved or 0)  # else uploads reserve for themselves


def _reserve_beyond(meta: Meta, generation: int) -> int:
    """Have this number, and a block behind it; from where on numbers aren't reserved."""
    reserved = meta.reserve(0)
    if generation >= reserved:
        meta.reserve(generation + BLOCK_COUNT - reserved)
    return meta.reserve(0)
