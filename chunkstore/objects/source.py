"""Where the bytes of a generation are that its ring doesn't have; stores have such sources."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["FileRange", "Source"]


class FileRange(NamedTuple):
    """Bytes in a file, right and ready to be sent; the descriptor holds while the source is held.

    Attributes:
        fd: open for reading.
        position, size: where, in bytes.
    """

    fd: int
    position: int
    size: int


class Source(Protocol):
    """Payload of one generation that lies elsewhere."""

    @property
    def is_committed(self) -> bool:
        """All of it does, for good: nobody needs what is in memory."""

    def hold(self) -> None:
        """It is read from now on: what it has stays, whatever becomes of the object.

        Raises:
            DamagedError: it isn't there any more.
            DiskError: the disk can't say.
        """

    def let_go(self) -> None:
        """Take one `hold` back."""

    async def range(self, offset: int, limit_bytes: int) -> FileRange | bytes | memoryview:
        """Bytes from `offset` on, at least one, checked: in a file, or themselves, for good.

        It may not wait at all: who asks again and again lets others run in between.

        Args:
            offset: absolute, of a byte that was stored.
            limit_bytes: most that are wanted; fewer may come.
        Raises:
            DamagedError: they aren't what was written.
            DiskError: the disk can't say.
        Cancellation: nothing remains.
        """

    async def read(self) -> bytes:
        """All of it, checked; only for what is small.

        Raises, Cancellation: as `range`.
        """
