"""What a reader needs of its connection; the server's transports have this shape."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import NoReturn, Protocol, TypeAlias

from chunkstore.metrics import Ending
from chunkstore.objects import FileRange

__all__ = ["Outlet", "Piece"]

Piece: TypeAlias = bytes | bytearray | memoryview


class Outlet(Protocol):
    """One client's end: where a body goes, and where one learns that the client left."""

    @property
    def raw(self) -> socket.socket | None:
        """The non-blocking socket to push to; None where bytes must pass through a stream (TLS)."""

    async def send_some(self, pieces: Sequence[Piece]) -> int:
        """Send a part of `pieces`, at least one byte.

        Returns:
            how many bytes were handed over.
        Raises:
            trio.BrokenResourceError: the client is gone.
        Cancellation: an unknown amount was sent; the connection must be closed. The server cancels
            the connection when the client takes nothing for the stall limit.
        """

    async def send_file(self, head: Piece, part: FileRange) -> int:
        """Send a part of `head` and what follows it in a file, at least one byte.

        Returns, Raises, Cancellation: as `send_some`.
        """

    async def watch(self) -> NoReturn:
        """Wait until the client leaves; what it sends meanwhile is kept for its next request.

        Raises:
            trio.BrokenResourceError: the client is gone.
        """

    def cut(self, ending: Ending) -> None:
        """End the connection now, whatever its task waits for."""
