"""An origin whose readers come over real sockets, and clients that keep every byte they got."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.config import Settings
from chunkstore.live import Upload, broadcast
from chunkstore.objects import Generation
from chunkstore.origin import Origin
from chunkstore.policy import Policy
from chunkstore.server import Log, SocketTransport, StreamTransport, Transport
from chunkstore.store import Store, memory
from chunkstore.wire import Data

__all__ = ["Answer", "Kind", "Reader", "Stage", "framed", "framed_from", "parse", "payload"]

GUARD_S = 10.0
"""Nothing here takes a second; what takes this long hangs."""
MAX_BYTES = 2**30
CUTS = Policy(abort_grace_s=0)
"""Readers of an upload that breaks off are cut at once: takeover has tests of its own."""
LEAVE = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

Kind = Literal["unix", "tcp", "stream"]
"""A Unix socket pair, a TCP connection, or a stream that hides its socket as TLS does."""


def payload(start: int, size: int) -> bytes:
    """Bytes that differ at any two offsets less than 251 apart."""
    first = start % 251
    return (bytes(range(251)) * (size // 251 + 2))[first : first + size]


def framed(data: bytes, ends: list[int]) -> bytes:
    """The frames of all chunks that end at `ends`, without a last-chunk."""
    starts = [0, *ends]
    return b"".join(
        b"%x\r\n%b\r\n" % (stop - start, data[start:stop])
        for start, stop in zip(starts, ends, strict=False)
    )


def framed_from(data: bytes, ends: list[int], start: int) -> bytes:
    """As `framed`, for a reader that begins at byte `start`."""
    return framed(data[start:], [end - start for end in ends if end > start])


class Answer(NamedTuple):
    """What came of one answer: its status, its body as it was framed, and what follows it.

    Attributes:
        trailer: the lines behind its last chunk; b"" if it has none.
        head: its own lines.
    """

    status: int
    is_chunked: bool
    body: bytes
    is_whole: bool
    rest: bytes
    trailer: bytes = b""
    head: bytes = b""


def parse(data: bytes) -> Answer:
    """Take the first answer apart."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return Answer(0, False, b"", False, b"")
    status = int(head.split()[1])
    if b"Transfer-Encoding: chunked" not in head:
        size = int(head.partition(b"Content-Length: ")[2].split()[0])
        is_whole = len(rest) >= size
        return Answer(status, False, rest[:size], is_whole, rest[size:], head=head)
    position = 0
    while (stop := rest.find(b"\r\n", position)) >= 0:
        size = int(rest[position:stop], 16)
        if not size and (end := rest.find(b"\r\n\r\n", stop)) >= 0:
            trailer = rest[stop + 2 : end + 2]
            return Answer(status, True, rest[:position], True, rest[end + 4 :], trailer, head)
        if not size or len(rest) < stop + 2 + size + 2:
            break
        assert rest[stop + 2 + size : stop + 4 + size] == b"\r\n"
        position = stop + 2 + size + 2
    return Answer(status, True, rest, False, b"", head=head)


class Reader:
    """A client that reads in a task of its own, as long as its gate is open.

    Attributes:
        received: every byte so far.
        ended: how its connection ended: "eof", "reset", or "left" if it was the one who went.
    """

    def __init__(self, raw: socket.socket) -> None:
        raw.setblocking(False)
        self.received = bytearray()
        self.ended = ""
        self._raw = raw
        self._socket = trio.socket.from_stdlib_socket(raw)
        self._scope = trio.CancelScope()
        self._gate = trio.Event()
        self._gate.set()
        self._came = trio.Event()

    def ask(self, target: str, *lines: str) -> None:
        """Send a GET now, without letting anybody else run."""
        head = "".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", "Host: h", *lines, ""))
        self._raw.send(head.encode())

    def send(self, data: bytes) -> int:
        """Send any bytes now; how many fit."""
        return self._raw.send(data)

    def pause(self) -> None:
        """Read no more, until `resume`."""
        if self._gate.is_set():
            self._gate = trio.Event()

    def resume(self) -> None:
        """Read on."""
        self._gate.set()

    @property
    def is_reading(self) -> bool:
        """It isn't paused."""
        return self._gate.is_set()

    def leave(self) -> None:
        """Go away at once, with a reset where that exists."""
        self.ended = self.ended or "left"
        self._scope.cancel()

    async def run(self) -> None:
        """Read until one side ends the connection."""
        try:
            with self._scope:
                while not self.ended:
                    await self._gate.wait()
                    try:
                        data = await self._socket.recv(65536)
                    except OSError:
                        data = b""
                        self.ended = "reset"
                    self.received += data
                    self.ended = self.ended or ("" if data else "eof")
                    came, self._came = self._came, trio.Event()
                    came.set()
        finally:
            if self._raw.family != socket.AF_UNIX:
                self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LEAVE)
            self._socket.close()

    async def answer(self) -> Answer:
        """The first answer, once it is whole or the connection has ended; it is taken off."""
        with trio.fail_after(GUARD_S):
            while not (answer := parse(bytes(self.received))).is_whole and not self.ended:
                await self._came.wait()
        self.received = bytearray(answer.rest)
        return answer

    async def until(self, size: int) -> None:
        """Wait until so many bytes came."""
        with trio.fail_after(GUARD_S):
            while len(self.received) < size and not self.ended:
                await self._came.wait()


class Stage:
    """A running origin, and who reads from it.

    Args:
        origin: serves `connect`'s connections.
        nursery: where both ends of them live.
    """

    def __init__(self, origin: Origin, nursery: trio.Nursery) -> None:
        self.origin = origin
        self.catalog = origin.catalog
        self.nursery = nursery
        self.readers: list[Reader] = []

    @classmethod
    @asynccontextmanager
    async def open(
        cls, *, small_edge: int = 0, store: Store | None = None, **changes: object
    ) -> AsyncIterator[Stage]:
        """Run an origin; at the end nothing of what happened may be left.

        Args:
            small_edge: so many readers are pushed to without the pump.
            store: what is behind it; what knowing of its objects costs isn't counted.
            changes: settings.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(broadcast, "SMALL_EDGE", small_edge)
            patch.setattr(memory, "WARM_BYTES", 0)
            async with cls._open(store, **changes) as stage:
                yield stage

    @classmethod
    @asynccontextmanager
    async def _open(cls, store: Store | None, **changes: object) -> AsyncIterator[Stage]:
        settings = Settings(log="off", **changes)  # type: ignore[arg-type]  # as its fields
        origin = Origin(settings, Log("off"), disk=store)
        with trio.fail_after(3 * GUARD_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(origin.run)
                stage = cls(origin, nursery)
                await wait_all_tasks_blocked()
                tasks = trio.lowlevel.current_statistics().tasks_living
                yield stage
                for reader in stage.readers:
                    reader.leave()
                await wait_all_tasks_blocked()
                stage.check_nothing_left()
                assert trio.lowlevel.current_statistics().tasks_living == tasks
                nursery.cancel_scope.cancel()

    def check_nothing_left(self) -> None:
        """Nobody is connected, waits or reads; the pump is idle; the budget has what is stored."""
        catalog = self.catalog
        assert not self.origin.server.connections
        assert not catalog.holds.waiter_count
        assert not catalog.holds._held
        assert not catalog._pump._due
        for one in catalog._broadcasts.values():
            assert not one._edge
            assert one._round is None
        stored = [
            generation
            for entry in catalog.namespace._entries.values()
            for generation in (entry.open, entry.complete)
            if generation is not None
        ]
        assert not any(generation.readers for generation in stored)
        assert catalog.store.used_bytes == sum(one.ring.charge_bytes() for one in stored)

    def begin(self, key: str, policy: Policy | None = None) -> Upload:
        """The writer's side of a new generation, without a connection."""
        self.catalog.reserve(key, 128)
        return self.catalog.begin(key, policy or CUTS)

    def append(self, upload: Upload, size: int, *, chunk_end: bool = True) -> None:
        """Let the writer deliver the next bytes."""
        data = payload(upload.generation.ring.size_bytes, size)
        assert upload.append([Data(data, chunk_end)], max_bytes=MAX_BYTES) is None

    def store(self, key: str, size: int) -> Generation:
        """A complete object."""
        upload = self.begin(key)
        self.append(upload, size)
        upload.commit()
        return upload.generation

    def connect(self, kind: Kind = "tcp", *, send_buffer: int | None = None) -> Reader:
        """A new connection, with what the kernel may hold for it."""
        ours, theirs = _tcp_pair() if kind == "tcp" else socket.socketpair()
        if send_buffer is not None:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        transport: Transport
        if kind == "stream":
            theirs.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
            transport = StreamTransport(stream, "stream")
        else:
            transport = SocketTransport(theirs, kind)
        self.nursery.start_soon(self.origin.server.serve, transport)
        reader = Reader(ours)
        self.readers.append(reader)
        self.nursery.start_soon(reader.run)
        return reader

    async def follow(self, key: str, kind: Kind = "tcp", **buffers: int) -> Reader:
        """A reader at the live edge."""
        reader = self.connect(kind, **buffers)
        reader.ask(key)
        await wait_all_tasks_blocked()
        return reader


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs
