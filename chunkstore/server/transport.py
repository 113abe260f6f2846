"""A connection's bytes, over a socket or over any Trio stream.

Sockets are kept raw beside Trio: the pump pushes to them without a task, one receive buffer serves
all connections, and a body that was cut short can be ended with a reset. Streams (TLS, memory) go
through `send_all` in the task of whoever sends.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import trio

from chunkstore.live import Piece
from chunkstore.objects import FileRange

__all__ = [
    "INBOX_BYTES",
    "RECEIVE_BYTES",
    "STREAM_BYTES",
    "SocketTransport",
    "StreamTransport",
    "Transport",
]

RECEIVE_BYTES = 1 << 20
"""One receive takes at most so much: each goes through all that an upload does with its bytes."""
INBOX_BYTES = 256 * 1024
"""Sockets that bring little share a buffer: it is emptied before another task runs."""
FLOOD_BYTES = 16 * 1024
"""Behind so much there is likely more: it is asked for at once, without being told of it first, and
into memory of its own, where an upload keeps it."""
STREAM_BYTES = 64 * 1024
"""One `send_all` takes at most so much: the stall deadline is per such piece."""
_inbox = bytearray(INBOX_BYTES)
_inbox_view = memoryview(_inbox)
_COUNT = struct.Struct("i")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close sends RST
ENDS_EARLY = "the file ends before the bytes that it had"
_MORE = getattr(socket, "MSG_MORE", 0)  # Linux: what follows is sent together with it
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class Transport(ABC):
    """What a connection reads from and writes to."""

    raw: socket.socket | None = None
    peer: str = ""

    @abstractmethod
    async def receive(self, limit_bytes: int = RECEIVE_BYTES) -> memoryview:
        """Some bytes, at most `limit_bytes`, none at the end.

        They are valid until the next await, unless they view `bytes`: those are nobody else's.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        Cancellation: nothing was received.
        """

    @abstractmethod
    async def send_some(self, pieces: Sequence[Piece], progress: Callable[[], None]) -> int:
        """Send a part of `pieces`, at least a byte, and return how many.

        Args:
            progress: called before each wait for the peer, to arm the stall deadline.
        Raises:
            trio.BrokenResourceError: the peer is gone.
        Cancellation: an unknown amount was sent.
        """

    async def send_file(self, head: Piece, part: FileRange, progress: Callable[[], None]) -> int:
        """Send a part of `head` and of the file's bytes behind it, at least a byte; how many.

        Args:
            part: in memory, as far as the system can be asked: reading it doesn't stop the loop.
            progress, Raises, Cancellation: as `send_some`.
        """
        data = os.pread(part.fd, min(part.size, STREAM_BYTES), part.position)
        if not data:
            raise trio.BrokenResourceError(ENDS_EARLY)
        return await self.send_some([head, data] if head else [data], progress)

    def unsent_bytes(self) -> int:
        """What was sent and the peer hasn't taken yet; 0 where the system doesn't tell."""
        return 0

    @abstractmethod
    async def finish(self) -> None:
        """Say that no more bytes come (half-close), where the transport can."""

    @abstractmethod
    async def close(self, *, reset: bool) -> None:
        """Close at once; with `reset` so that the peer can't take it for a clean end."""

    @abstractmethod
    def acknowledge_soon(self) -> None:
        """Have what was received acknowledged without delay, where that means something."""


class SocketTransport(Transport):
    """A connected stream socket, TCP or Unix; it is made non-blocking and is owned from then on."""

    def __init__(self, raw: socket.socket, peer: str) -> None:
        raw.setblocking(False)
        self.raw: socket.socket = raw
        self.peer = peer
        self._is_tcp = raw.family != socket.AF_UNIX
        self._is_flooded = self._is_drained = False

    async def receive(self, limit_bytes: int = RECEIVE_BYTES) -> memoryview:
        if not self._is_drained:  # a peer that always has data must not starve the others
            await trio.lowlevel.checkpoint()
        while True:
            if self._is_drained:
                await trio.lowlevel.wait_readable(self.raw)
            self._is_drained = True
            try:
                if self._is_flooded:
                    # Room for what isn't there would be cut off again, and leave holes between
                    # what is kept: too small for the next receive.
                    waiting_bytes = self._queued_bytes(termios.FIONREAD)
                    size = min(limit_bytes, max(waiting_bytes, FLOOD_BYTES))
                    data = memoryview(self.raw.recv(size))
                else:
                    data = _inbox_view[: self.raw.recv_into(_inbox, min(limit_bytes, INBOX_BYTES))]
                self._is_flooded = len(data) >= FLOOD_BYTES
                self._is_drained = not self._is_flooded
                return data
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def send_some(self, pieces: Sequence[Piece], progress: Callable[[], None]) -> int:
        while True:
            try:
                return self.raw.send(pieces[0]) if len(pieces) == 1 else self.raw.sendmsg(pieces)
            except (BlockingIOError, InterruptedError):
                progress()
                await trio.lowlevel.wait_writable(self.raw)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def send_file(self, head: Piece, part: FileRange, progress: Callable[[], None]) -> int:
        sent = 0
        while True:
            try:
                if sent < len(head):
                    sent += self.raw.send(memoryview(head)[sent:], _MORE)
                    continue
                count = os.sendfile(self.raw.fileno(), part.fd, part.position, part.size)
                if not count:
                    raise trio.BrokenResourceError(ENDS_EARLY)
                return sent + count
            except (BlockingIOError, InterruptedError):
                if sent:
                    return sent
                progress()
                await trio.lowlevel.wait_writable(self.raw)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def unsent_bytes(self) -> int:
        return self._queued_bytes(termios.TIOCOUTQ)

    def _queued_bytes(self, queue: int) -> int:
        try:
            answer = fcntl.ioctl(self.raw, queue, bytes(_COUNT.size))
        except OSError:
            return 0  # not every system tells it of sockets
        count: int = _COUNT.unpack(answer)[0]
        return count

    async def finish(self) -> None:
        try:
            self.raw.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def close(self, *, reset: bool) -> None:
        trio.lowlevel.notify_closing(self.raw)
        if reset and self._is_tcp:
            try:
                self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass  # already disconnected: there is nobody to mislead
        self.raw.close()

    def acknowledge_soon(self) -> None:
        # A sender that floods needs no word, and the call costs a fifth of what its receives do.
        if self._is_tcp and not self._is_flooded and _QUICK_ACK is not None:
            self.raw.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


class StreamTransport(Transport):
    """Any Trio stream: TLS, or memory streams in tests."""

    def __init__(self, stream: trio.abc.Stream, peer: str) -> None:
        self._stream = stream
        self.peer = peer

    async def receive(self, limit_bytes: int = RECEIVE_BYTES) -> memoryview:
        return memoryview(await self._stream.receive_some(min(limit_bytes, STREAM_BYTES)))

    async def send_some(self, pieces: Sequence[Piece], progress: Callable[[], None]) -> int:
        data = b"".join(pieces)[:STREAM_BYTES]
        progress()
        await self._stream.send_all(data)
        return len(data)

    async def finish(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def close(self, *, reset: bool) -> None:
        await trio.aclose_forcefully(self._stream)

    def acknowledge_soon(self) -> None:
        pass  # not a thing of streams
