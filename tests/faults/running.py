"""A real `chunkstore serve` with a data dir, which may be killed; and contents to tell by."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import trio

from chunkstore.client import Client, Timeouts, Url

__all__ = ["Body", "Running", "reading", "serving"]

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 60.0
"""A start that takes longer hangs, however busy the machine is."""
STOP_S = 30.0
PATTERN_BYTES = 65_537
"""A prime: no run, page or window of bytes can take another one's place unseen."""
LISTENING = re.compile(rb"listening on https?://127\.0\.0\.1:(\d+)\n")


@dataclass(frozen=True, slots=True)
class Body:
    """Content that is told by two numbers, and of which any part can be checked alone."""

    seed: int
    size_bytes: int

    def tile(self, most_bytes: int = 0) -> bytes:
        """What it repeats, and `most_bytes` more of it."""
        once = Random(self.seed).randbytes(PATTERN_BYTES)
        return (once * (1 + -(-most_bytes // PATTERN_BYTES)))[: PATTERN_BYTES + most_bytes]

    def content(self) -> bytes:
        """All of it."""
        return self.tile(self.size_bytes)[: self.size_bytes]


@dataclass(slots=True)
class Running:
    """A server that listens.

    Attributes:
        port: where.
        start_s: from its process to that.
        said: all that came on stderr so far.
        is_killed: it needn't end well.
    """

    process: trio.Process
    port: int
    start_s: float
    said: bytearray
    is_killed: bool = False

    def client(self, *, stall_s: float = 30.0) -> Client:
        """A client of it, which waits so long for an answer."""
        url = Url("http", "127.0.0.1", self.port, "/")
        return Client(url, timeouts=Timeouts(stall_s=stall_s))

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, whatever it was at."""
        self.is_killed = True
        self.process.kill()


@asynccontextmanager
async def serving(data: Path, *flags: str) -> AsyncIterator[Running]:
    """A server on a data dir, as nobody tends it; at the end it stops well, unless it was killed.

    Raises:
        trio.TooSlowError: it doesn't listen, or doesn't end.
    """
    words = ["serve", "--listen", "127.0.0.1:0", "--log", "off", "--data", str(data), *flags]
    began_s = trio.current_time()
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "chunkstore", *words], stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stderr is not None
    said = bytearray()
    try:
        with trio.fail_after(START_S):
            while (found := LISTENING.search(said)) is None:
                some = await process.stderr.receive_some()
                assert some, f"it ended before it listened: {said.decode()}"
                said += some
        server = Running(process, int(found[1]), trio.current_time() - began_s, said)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, process.stderr, said)
            yield server
            if not server.is_killed:
                process.terminate()
            with trio.fail_after(STOP_S):
                status = await process.wait()
        assert status == (-9 if server.is_killed else 0), said.decode()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _listen(stderr: trio.abc.ReceiveStream, said: bytearray) -> None:
    while some := await stderr.receive_some():
        said += some


async def reading(client: Client, key: str) -> bytes | None:
    """What a name has; None: nothing.

    Raises:
        FetchError: it can't be read to its end.
    """
    answer = await client.request("GET", key)
    pieces: list[bytes] = []
    while (piece := await answer.piece()) is not None:
        pieces.append(piece.data)
    assert answer.status in (200, 404), (key, answer.status, b"".join(pieces))
    return b"".join(pieces) if answer.status == 200 else None
