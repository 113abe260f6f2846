"""A server with handlers of the tests' own, and clients that send it any bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from chunkstore.config import Settings, parse_listen
from chunkstore.metrics import Metrics
from chunkstore.server import (
    Exchange,
    Handler,
    Listener,
    Log,
    Server,
    StreamTransport,
    bind,
)
from chunkstore.wire import Data, EndOfBody
from tests.live.rig import Answer, parse

__all__ = [
    "GET",
    "GUARD_S",
    "Peer",
    "Reply",
    "connect",
    "dial",
    "listen",
    "open_count",
    "jumping",
    "serving",
    "until",
]

GUARD_S = 600.0
"""A hang guard, by the clock of the test: on a mocked one it costs nothing."""
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Reply:
    """The handlers: what each path does."""

    def __init__(self) -> None:
        self.release = trio.Event()
        self.started = trio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Answer as the path says."""
        name = exchange.request.path.strip("/") or "hello"
        await getattr(self, name)(exchange)

    async def hello(self, exchange: Exchange) -> None:
        """A small answer."""
        await exchange.respond(200, b"", b"hello")

    async def refuse(self, exchange: Exchange) -> None:
        """No to a body that isn't read."""
        await exchange.refuse(413, "too much")

    async def read(self, exchange: Exchange) -> None:
        """Count the body's bytes."""
        size = 0
        while exchange.connection.protocol.has_body:
            for event in await exchange.receive():
                if isinstance(event, Data):
                    size += len(event.data)
                elif not isinstance(event, EndOfBody):
                    raise trio.BrokenResourceError
        await exchange.respond(200, b"", str(size).encode())

    async def large(self, exchange: Exchange) -> None:
        """More than any buffer holds."""
        await exchange.send([exchange.head(200, b"", 10**7), bytes(10**7)])
        exchange.finish()

    async def wait(self, exchange: Exchange) -> None:
        """An answer that takes until it is released."""
        self.started.set()
        await self.release.wait()
        await self.hello(exchange)

    async def half(self, exchange: Exchange) -> None:
        """Half an answer, then nothing until it is released."""
        await exchange.send([exchange.head(200, b"", 10), b"12345"])
        self.started.set()
        await self.release.wait()
        await exchange.send([b"67890"])
        exchange.finish()

    async def fail(self, exchange: Exchange) -> None:
        """A bug before the head."""
        raise RuntimeError("a bug of the handler")

    async def fail_late(self, exchange: Exchange) -> None:
        """A bug in mid-answer."""
        await exchange.send([exchange.head(200, b"", 10), b"12345"])
        raise RuntimeError("a bug of the handler")


class Peer:
    """A client's end."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.received = b""
        self.was_reset = False

    async def send(self, *pieces: bytes) -> None:
        """Send."""
        with trio.fail_after(GUARD_S):
            for piece in pieces:
                await self.stream.send_all(piece)

    async def answer(self) -> Answer:
        """The next answer, or what came of it before the end; it is taken off."""
        while not (answer := parse(self.received)).is_whole and await self._more():
            pass
        self.received = answer.rest
        return answer

    async def ask(self, *pieces: bytes) -> Answer:
        """Send, and the answer."""
        await self.send(*pieces)
        return await self.answer()

    async def rest(self) -> bytes:
        """All that comes to the end of the connection."""
        while await self._more():
            pass
        return self.received

    async def _more(self) -> bool:
        with trio.fail_after(GUARD_S):
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                self.was_reset = True
                data = b""
        self.received += bytes(data)
        return bool(data)


@asynccontextmanager
async def serving(
    *listeners: Listener,
    handlers: Mapping[str, Handler] | None = None,
    log: Log | None = None,
    on_drain: Callable[[], None] = lambda: None,
    **changes: object,
) -> AsyncIterator[Server]:
    """A server that runs, over `listeners` and over `dial`ed memory streams."""
    reply = Reply()
    settings = Settings(log="off", **changes)  # type: ignore[arg-type]
    server = Server(
        settings,
        handlers or {"GET": reply, "PUT": reply},
        Metrics(),
        log or Log("off"),
        on_drain=on_drain,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run, listeners)
        yield server
        server.abort()
        nursery.cancel_scope.cancel()


def dial(server: Server, nursery: trio.Nursery) -> Peer:
    """A connection over memory."""
    ours, theirs = memory_stream_pair()
    nursery.start_soon(server.serve, StreamTransport(theirs, "memory"))
    return Peer(ours)


def listen(where: str = "127.0.0.1:0", send_buffer_bytes: int = 512 * 1024) -> Listener:
    """A listener on a port that the kernel chose."""
    return bind(parse_listen(where), backlog=1024, send_buffer_bytes=send_buffer_bytes)


async def connect(listener: Listener) -> Peer:
    """A connection over its socket."""
    if listener.unix_path:
        return Peer(await trio.open_unix_socket(listener.unix_path))
    host, port = re.fullmatch(r"http://(.*):(\d+)", listener.url).groups()  # type: ignore[union-attr]
    return Peer(await trio.open_tcp_stream(host, int(port)))


def play(test: Callable[[], Awaitable[None]], **_: object) -> object:
    """Run a test on a clock that jumps over every wait."""
    return trio.run(test, clock=MockClock(autojump_threshold=0))


jumping = pytest.mark.trio(run=play)
"""For tests of deadlines. Only so: a module's mark comes behind the one of `trio_mode`."""


async def all_closed(server: Server) -> None:
    """Wait until no connection is left."""
    await until(lambda: not server.connections)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds`, for as long as a hang takes."""
    with trio.fail_after(GUARD_S):
        for _ in iter(holds, True):
            await trio.sleep(0.001)


def open_count() -> int:
    """Descriptors that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
