"""The parts that tests with a real encoder share: an origin's process, and a relay that records.

The relay sits between the encoder and the origin, passes bytes on as they come, and keeps them:
what the encoder sent, to the byte and to the chunk, whatever the origin made of it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from bench.usage import family
from tests.encoders.recording import Sent, parse

pytest.importorskip("imageio_ffmpeg")

from chunkstore.client import Client, Url
from chunkstore.demo.encoder import Encoder, EncoderError, ffmpeg_command

__all__ = [
    "LISTENING",
    "MPD_PATH",
    "SERVE",
    "Relay",
    "client_of",
    "get",
    "read_segment",
    "real_encoder",
    "running",
    "running_origin",
    "segment_path",
    "until_live",
]

ROOT = Path(__file__).resolve().parent.parent.parent
MPD_PATH = "/live/test.mpd"
SERVE = [sys.executable, "-m", "chunkstore", "serve", "--listen", "127.0.0.1:0"]
LISTENING = rb"listening on http://127\.0\.0\.1:(\d+)\n"
STOP_S = 20.0
SEEN_BYTES = 64 * 1024


def real_encoder(port: int, *, is_persistent: bool, seconds: int) -> Encoder:
    """The demo's ffmpeg, for a given time and with or without persistent connections."""
    try:
        command = ffmpeg_command(f"http://127.0.0.1:{port}{MPD_PATH}")
    except EncoderError as error:
        pytest.skip(f"no ffmpeg: {error}")
    command[command.index("-http_persistent") + 1] = str(int(is_persistent))
    command[-1:-1] = ["-t", str(seconds)]
    return Encoder(command)


@asynccontextmanager
async def running(
    command: Sequence[str], ready: bytes, *, is_quiet: bool = True
) -> AsyncIterator[list[int]]:
    """A process that listens, until it is told to end; it must end well.

    Args:
        ready: a pattern of what it says on stderr once it listens; its groups are the ports.
        is_quiet: it must say nothing after that.
    """
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stderr is not None
        said = b""
        while (match := re.search(ready, said)) is None:
            some = await process.stderr.receive_some()
            assert some, f"it ended before it listened: {said!r}"
            said += some
        yield [int(port) for port in match.groups()]
        process.send_signal(signal.SIGTERM)
        said = b"".join([some async for some in process.stderr])
        assert await process.wait() == 0, said
        assert said == b"" or not is_quiet, "a fault of the server"
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _end(process: trio.Process) -> None:
    """End it and what it started, by force if it doesn't."""
    started = family(process.pid)[1:]
    process.terminate()
    with trio.move_on_after(STOP_S):
        await process.wait()
    process.kill()
    await process.wait()
    for pid in started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def running_origin(*options: str) -> AsyncIterator[int]:
    """A `chunkstore serve` of its own, and its port."""
    async with running([*SERVE, "--log", "off", *options], LISTENING) as (port,):
        yield port


class Relay:
    """Passes connections on to the origin, in their order, and keeps both directions.

    Args:
        port: the origin's.
        amid_manifest: called in the midst of each piece of a manifest, and after it.
    """

    def __init__(self, port: int, amid_manifest: Callable[[], Awaitable[None]]) -> None:
        self._port = port
        self._amid_manifest = amid_manifest
        self._manifest_turn = trio.Semaphore(1)
        self._own_port = 0
        self._requests: list[bytearray] = []
        self._answers: list[bytearray] = []

    async def run(self, *, task_status: trio.TaskStatus[int]) -> None:
        """Carry all connections until `finish`; starts with the port they are taken on."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            self._own_port = listener.socket.getsockname()[1]
            task_status.started(self._own_port)
            while True:
                client = await listener.accept()
                try:
                    first = await client.receive_some(SEEN_BYTES)
                    # An encoder that isn't persistent may send the next manifest before this one
                    # was answered: one after the other, or the relay would mix them up.
                    is_manifest = first.startswith(b"PUT " + MPD_PATH.encode())
                    if is_manifest:
                        await self._manifest_turn.acquire()
                except BaseException:  # cancelled too: nobody else has this client yet
                    await trio.aclose_forcefully(client)
                    raise
                if not first:
                    await client.aclose()
                    return
                nursery.start_soon(self._connect, client, bytearray(first), is_manifest)

    async def finish(self) -> None:
        """Have `run` return once every connection that was made before has been carried whole."""
        # They are taken in their order, so an empty one is taken behind all others.
        await (await trio.open_tcp_stream("127.0.0.1", self._own_port)).aclose()

    async def _connect(
        self, client: trio.SocketStream, request: bytearray, is_manifest: bool
    ) -> None:
        answer = bytearray()
        self._requests.append(request)
        self._answers.append(answer)
        async with client, await trio.open_tcp_stream("127.0.0.1", self._port) as origin:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, origin, client, answer, False)
                await self._pass_on(origin, request, is_manifest)
                await self._carry(client, origin, request, is_manifest)
        if is_manifest:
            self._manifest_turn.release()

    async def _carry(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        kept: bytearray,
        is_manifest: bool,
    ) -> None:
        try:
            while some := await source.receive_some(SEEN_BYTES):
                kept += some
                await self._pass_on(sink, some, is_manifest)
            await sink.send_eof()
        except trio.BrokenResourceError:
            pass  # one that closes without reading its answer, as ffmpeg does

    async def _pass_on(
        self, sink: trio.SocketStream, some: bytes | bytearray, is_manifest: bool
    ) -> None:
        if not is_manifest:
            await sink.send_all(some)
            return
        half = len(some) // 2
        for part in (some[:half], some[half:]):
            await sink.send_all(part)
            await self._amid_manifest()

    def sent(self) -> list[Sent]:
        """The requests of all connections; each must be whole."""
        sent = [parse(raw) for raw in self._requests]
        assert [of[-1].end for of in sent] == [len(raw) for raw in self._requests]
        assert all(one.is_whole for of in sent for one in of)
        return [one for of in sent for one in of]

    def statuses(self) -> set[int]:
        """Every status that the encoder was answered with."""
        return {
            int(status)
            for raw in self._answers
            for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", raw, re.MULTILINE)
        }


def segment_path(track: int, number: int) -> str:
    """The path of a media segment, as ffmpeg names it."""
    return f"/live/chunk-stream{track}-{number:05d}.m4s"


async def until_live(port: int) -> None:
    """Wait until there is a manifest; each request for it is held for some seconds."""
    async with client_of(port) as client:
        wait = [("Prefer", "wait=5")]
        while (answer := await client.request("GET", MPD_PATH, wait)).status != 200:
            await answer.body()


async def get(port: int, target: str) -> tuple[int, bytes]:
    """GET on a connection of its own."""
    async with client_of(port) as client:
        answer = await client.request("GET", target)
        return answer.status, await answer.body()


def client_of(port: int) -> Client:
    """A client of the origin on a port."""
    return Client(Url("http", "127.0.0.1", port, "/"))


async def read_segment(
    client: Client, path: str, on_chunk: Callable[[int], None] = lambda count: None
) -> tuple[int, bytes, list[int]]:
    """GET a segment to its end, asking again if it took longer to begin than the origin holds.

    Args:
        on_chunk: called with the number of chunks after each.
    Returns:
        the status, the body, and the offsets at which the chunks ended that it came in.
    Raises:
        CutError: it ended before its end.
    """
    while (answer := await client.request("GET", path)).status == 404:
        await answer.body()
    body, ends = bytearray(), list[int]()
    while (piece := await answer.piece()) is not None:
        body += piece.data
        if piece.is_chunk_end:
            ends.append(len(body))
            on_chunk(len(ends))
    return answer.status, bytes(body), ends
