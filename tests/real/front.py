"""A proxy between an origin and its clients, each a process; and clients that go on by hand."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from bench.front import FRONTS, POLICIES
from chunkstore.client import Answer
from chunkstore.errors import CutError
from tests.real.parts import LISTENING, SERVE, client_of, get, running

__all__ = ["WAIT", "Fronted", "Reader", "Writer", "fronted", "put"]

WAIT = [("Prefer", "wait=25")]
# Nothing here is about how fast a machine is, nor about retries.
SETTINGS = """
hold_cap = "25s"
{more}
{policies}
[[policies]]
match = "/"
abort_grace = "0s"
"""


@dataclass(frozen=True)
class Fronted:
    """The ports of an origin and of the proxy in front of it."""

    origin: int
    admin: int
    front: int

    async def metric(self, name: str) -> float:
        """What a metric of the origin stands at, with its label; 0 if it isn't there yet."""
        _, text = await get(self.admin, "/metrics")
        found = re.search(rf"^{re.escape(name)} (\S+)$", text.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def answers(self, status: int) -> float:
        """How many requests the origin has answered with a status."""
        return await self.metric(f'chunkstore_responses_total{{status="{status}"}}')

    async def until_held(self, count: int) -> None:
        """Wait until so many requests wait at the origin."""
        while await self.metric("chunkstore_held_requests") != count:
            pass


@asynccontextmanager
async def fronted(name: str, folder: Path, more: str = "") -> AsyncIterator[Fronted]:
    """An origin with the settings for it and `more`, and the proxy of this name in front."""
    front = FRONTS[name]
    if reason := front.missing():
        pytest.skip(reason)
    settings = folder / "chunkstore.toml"
    text = SETTINGS.format(more=more, policies=POLICIES.read_text(encoding="utf-8"))
    settings.write_text(text, encoding="utf-8")
    origin_command = [*SERVE, "--admin", "127.0.0.1:0", "--log", "off", "--config", str(settings)]
    both = LISTENING + rb"admin on http://127\.0\.0\.1:(\d+)\n"
    async with (
        running(origin_command, both) as (origin, admin),
        running(front.command(origin), LISTENING, is_quiet=False) as (port,),
    ):
        yield Fronted(origin, admin, port)


async def put(port: int, target: str, body: bytes, fields: Sequence[tuple[str, str]] = ()) -> int:
    """PUT in one chunk, on a connection of its own."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body

    async with client_of(port) as client:
        return (await client.request("PUT", target, fields, body=pieces())).status


class KilledError(Exception):
    """The writer dies."""


class Writer:
    """A chunked PUT, a chunk when it is told to.

    Attributes:
        status: of the answer; 0 without one.
    """

    def __init__(self, port: int, path: str) -> None:
        self.status = 0
        self._port = port
        self._path = path
        self._send, self._receive = trio.open_memory_channel[bytes | None](0)

    async def run(self) -> None:
        """Carry it to its end."""
        with suppress(KilledError):
            async with client_of(self._port) as client:
                answer = await client.request("PUT", self._path, body=self._pieces())
                self.status = answer.status

    async def write(self, chunk: bytes) -> None:
        """Send a chunk."""
        await self._send.send(chunk)

    async def end(self) -> None:
        """Say that it is whole."""
        await self._send.aclose()

    async def die(self) -> None:
        """Close the connection in mid-upload."""
        await self._send.send(None)

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        async for chunk in self._receive:
            if chunk is None:
                raise KilledError
            yield chunk


class Reader:
    """A GET, and what has come of it.

    Attributes:
        answer: its head, once there is one.
        body: what came.
        ending: "" while more may come, then "whole" or "cut".
    """

    def __init__(self, port: int, path: str, fields: Sequence[tuple[str, str]] = ()) -> None:
        self.answer: Answer | None = None
        self.body = bytearray()
        self.ending = ""
        self._port = port
        self._path = path
        self._fields = fields
        self._moved = trio.Event()

    async def run(self) -> None:
        """Read to the end."""
        try:
            async with client_of(self._port) as client:
                self.answer = await client.request("GET", self._path, self._fields)
                while (piece := await self.answer.piece()) is not None:
                    self.body += piece.data
                    self._wake()
            self.ending = "whole"
        except CutError:
            self.ending = "cut"
        self._wake()

    async def until(self, size: int) -> None:
        """Wait until so many bytes have come."""
        while len(self.body) < size:
            assert not self.ending, f"{self.ending} after {len(self.body)} bytes"
            await self._moved.wait()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
