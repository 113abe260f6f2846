"""An origin over memory streams, connections to it that are cut, and sinks that remember."""

from __future__ import annotations

import trio
from trio.testing import memory_stream_pair

from chunkstore.client import Client, Timeouts, Url, parse_url
from chunkstore.server import StreamTransport
from chunkstore.transfer import Backoff, Retrying, Sink
from tests.origin.drive import Site

__all__ = ["URL", "Cutting", "MemorySink", "client_of", "retrying"]

URL = parse_url("http://origin.test/")


class Cutting(trio.abc.Stream):
    """A stream that breaks once so many bytes were received."""

    def __init__(self, stream: trio.abc.Stream, left: int) -> None:
        self._stream = stream
        self._left = left

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._left:
            await self.aclose()
            raise trio.BrokenResourceError("cut")
        limit = self._left if max_bytes is None else min(max_bytes, self._left)
        data = await self._stream.receive_some(limit)
        self._left -= len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


def client_of(site: Site, cuts: list[int] | None = None, **timeouts: float) -> Client:
    """A client of an origin; its first connections break after so many bytes each."""
    left = list(cuts or ())

    async def connect(url: Url) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        site.nursery.start_soon(site.origin.server.serve, StreamTransport(theirs, "memory"))
        return Cutting(ours, left.pop(0)) if left else ours

    return Client(URL, connect=connect, timeouts=Timeouts(**timeouts))


class MemorySink(Sink):
    """Remembers what it took."""

    def __init__(self, *, can_restart: bool) -> None:
        self.can_restart = can_restart
        self.data = b""

    async def write(self, data: bytes) -> None:
        self.data += data

    def restart(self) -> None:
        assert self.can_restart
        self.data = b""


def retrying(notes: list[str] | None = None, retries: int = 5) -> Retrying:
    """Tries whose pauses are always the same."""
    return Retrying(Backoff(retries), (notes if notes is not None else []).append, lambda: 0.5)
