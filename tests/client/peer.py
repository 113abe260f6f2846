"""A scripted peer of the client, over memory streams."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock, memory_stream_pair

from chunkstore.client import Client, Timeouts, Url, parse_url

__all__ = ["CHUNKED", "LENGTH", "URL", "Peer", "Script", "Stream", "jump"]

URL = parse_url("http://peer.test/")
CHUNKED = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nTransfer-Encoding: chunked\r\n\r\n'
LENGTH = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 3\r\n\r\n'

Stream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]
Script = Callable[[Stream], Awaitable[None]]


def jump(items: list[pytest.Item], folder: Path) -> None:
    """Run the tests of a folder on a clock that jumps over every wait."""
    within = f"{folder}{os.sep}"
    for item in items:
        if not isinstance(item, pytest.Function) or not str(item.path).startswith(within):
            continue
        if inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.trio(run=_run_jumping))


def _run_jumping(test: Callable[[], Awaitable[object]], **_: object) -> object:
    async def main() -> object:
        with trio.fail_after(10_000):
            return await test()

    return trio.run(main, clock=MockClock(autojump_threshold=0))


class Peer:
    """A server of which each connection plays the next script; then it takes none any more.

    Args:
        nursery: where they are played.
        scripts: a function of the stream, or bytes that answer one request each; a connection is
            closed at the end of its script.
    """

    def __init__(self, nursery: trio.Nursery, *scripts: Script | list[bytes]) -> None:
        self._nursery = nursery
        self._scripts = list(scripts)
        self.requests: list[list[bytes]] = []

    async def connect(self, url: Url) -> trio.abc.Stream:
        """Make a connection to it."""
        if not self._scripts:
            raise ConnectionRefusedError(111, "Connection refused")
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self.requests.append([])
        self._nursery.start_soon(self._play, self._scripts.pop(0), theirs, self.requests[-1])
        return ours

    def client(self, **timeouts: float) -> Client:
        """A client of it."""
        return Client(URL, connect=self.connect, timeouts=Timeouts(**timeouts))

    async def _play(
        self, script: Script | list[bytes], stream: Stream, requests: list[bytes]
    ) -> None:
        # A client that leaves in the middle is no fault here.
        async with stream:
            with suppress(trio.BrokenResourceError):
                await self._answer(script, stream, requests)

    async def _answer(
        self, script: Script | list[bytes], stream: Stream, requests: list[bytes]
    ) -> None:
        if not isinstance(script, list):
            await script(stream)
            return
        for answer in script:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                some = await stream.receive_some()
                if not some:
                    return
                request += some
            requests.append(request)
            await stream.send_all(answer)
