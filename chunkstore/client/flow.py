"""The bytes of a connection, in few steps: a socket is asked at once, and waited for if need be.

Trio's own `send_all` and `receive_some` take longer, copy, and wake up for every segment that
comes. Streams that are no sockets (TLS, memory) go through them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TypeAlias

import trio

__all__ = ["STREAM_BYTES", "Buffer", "Flow"]

STREAM_BYTES = 64 * 1024
"""One `send_all` takes at most so much: the patience is for each."""
YIELD_BYTES = 4096
"""Others run after so much came at once; a header in front of it costs them nothing."""
Buffer: TypeAlias = bytes | bytearray | memoryview


class Flow:
    """One connection's bytes, both ways.

    Args:
        stream: connected; it is owned from then on.
    """

    __slots__ = ("_least_bytes", "_socket", "stream")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._least_bytes = 1

    async def send(self, pieces: Sequence[Buffer], patience_s: float) -> bool:
        """Send all of the pieces, one behind the other.

        Args:
            patience_s: so long the peer may take nothing.
        Returns:
            False: it took nothing for so long; what it has of them is unknown.
        Raises:
            trio.BrokenResourceError: the peer is gone.
        Cancellation: an unknown amount was sent.
        """
        if self._socket is None:
            return await self._send_all(b"".join(pieces), patience_s)
        left, is_waited_for = list(pieces), False
        while left:
            try:
                sent = os.writev(self._socket.fileno(), left)
            except (BlockingIOError, InterruptedError):
                is_waited_for = True
                with trio.move_on_after(patience_s) as scope:
                    await trio.lowlevel.wait_writable(self._socket)
                if scope.cancelled_caught:
                    return False
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if sent:
                left[0] = memoryview(left[0])[sent:]
        if not is_waited_for:  # a peer that takes all at once must not keep others from running
            await trio.lowlevel.checkpoint()
        return True

    async def _send_all(self, data: bytes, patience_s: float) -> bool:
        view = memoryview(data)
        for start in range(0, len(view), STREAM_BYTES):
            with trio.move_on_after(patience_s) as scope:
                await self.stream.send_all(view[start : start + STREAM_BYTES])
            if scope.cancelled_caught:
                return False
        return True

    async def receive(
        self, limit_bytes: int, patience_s: float, *, least_bytes: int = 1
    ) -> bytes | None:
        """Some bytes, none at the end.

        Args:
            limit_bytes: most that are wanted.
            patience_s: so long nothing may come.
            least_bytes: it is of no use to wake up for fewer; fewer may be given all the same.
        Returns:
            None: nothing came for so long.
        Raises:
            trio.BrokenResourceError: the peer is gone.
        Cancellation: what came may be lost.
        """
        if self._socket is None:
            with trio.move_on_after(patience_s):
                return bytes(await self.stream.receive_some(limit_bytes))
            return None
        is_waited_for = is_over = False
        while True:
            try:
                data = os.read(self._socket.fileno(), limit_bytes)
            except (BlockingIOError, InterruptedError):
                if is_over:
                    return None
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            else:
                if not is_waited_for and len(data) >= YIELD_BYTES:  # as in `send`
                    await trio.lowlevel.checkpoint()
                return data
            self.wake_for(least_bytes)
            is_waited_for = True
            with trio.move_on_after(patience_s) as scope:
                await trio.lowlevel.wait_readable(self._socket)
            is_over = scope.cancelled_caught  # fewer than the least may have come

    def wake_for(self, least_bytes: int) -> None:
        """Be told of what comes once there is so much of it, or the end."""
        if self._socket is not None and least_bytes != self._least_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least_bytes)
            self._least_bytes = least_bytes
