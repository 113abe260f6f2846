"""One object that is far larger than memory is uploaded and read at once, by readers of every kind.

WINDOW_MIB says how large: 8192 takes some minutes and as much room on the disk. The most that the
server ever held in memory, which the kernel keeps, is printed (`-s`).
"""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from chunkstore.client import Client, Url, dial
from tests.faults.running import PATTERN_BYTES, Body, serving
from tests.server.test_tls import write_pair

pytestmark = pytest.mark.real

MIB = 1 << 20
SIZE_BYTES = int(os.environ.get("WINDOW_MIB", "256")) * MIB
MEMORY_BYTES = 64 * MIB
BEYOND_BYTES = 100 * MIB
TEST_S = 120 + SIZE_BYTES / (5 * MIB)
KEY = "/large"
RECEIVE_BYTES = 64 * 1024
STALL_BYTES = SIZE_BYTES // 8
CHUNKS = (64 * 1024, MIB, 1, 300_000)
SETTINGS = 'memory = "64MiB"\nreader_stall = "1h"\nhold_cap = "1h"\n'
"""No reader here is too slow: what is asked is what that costs."""


class Content:
    """What is uploaded, and how far that is.

    Attributes:
        sent_bytes: handed to the connection.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.sent_bytes = 0
        self._tile = Body(1, size_bytes).tile(max(*CHUNKS, RECEIVE_BYTES))
        self._moved = trio.Event()

    def part(self, offset: int, size: int) -> bytes:
        """Some of it."""
        start = offset % PATTERN_BYTES
        return self._tile[start : start + size]

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, chunk by chunk."""
        turn = 0
        while self.sent_bytes < self.size_bytes:
            size = min(CHUNKS[turn % len(CHUNKS)], self.size_bytes - self.sent_bytes)
            yield self.part(self.sent_bytes, size)
            turn, self.sent_bytes = turn + 1, self.sent_bytes + size
            self._moved.set()
            self._moved = trio.Event()

    async def sent(self, offset: int) -> None:
        """Wait until so much was."""
        while self.sent_bytes < min(offset, self.size_bytes):
            await self._moved.wait()


@dataclass(frozen=True)
class Reader:
    """One that reads from `first` to `last`, both included.

    Attributes:
        begins: once so much was sent.
        pace: how much must have been sent before it reads on, by what it has.
        range_field: what it asks for; "": all.
    """

    first: int
    last: int
    begins: int = 0
    pace: Callable[[int], int] = lambda read_bytes: 0
    range_field: str = ""

    async def read(self, content: Content, client: Client) -> None:
        """All that it is for, every byte compared."""
        await content.sent(max(self.begins, 1))
        fields = [("Prefer", "wait=60")]
        fields += [("Range", self.range_field)] if self.range_field else []
        async with client:
            answer = await client.request("GET", KEY, fields)
            assert answer.status == (206 if self.range_field else 200), answer.status
            offset = self.first
            while (piece := await answer.piece()) is not None:
                assert piece.data == content.part(offset, len(piece.data)), offset
                offset += len(piece.data)
                await content.sent(self.pace(offset - self.first))
        assert offset == self.last + 1


def readers(size_bytes: int) -> list[Reader]:
    """At the live edge, behind it, with pauses, late, and of parts."""
    end, third = size_bytes - 1, size_bytes // 3
    stalled = Reader(0, end, pace=lambda read: (read // STALL_BYTES) * STALL_BYTES * 2)
    return [
        Reader(0, end),
        Reader(0, end),
        Reader(0, end, pace=lambda read: 2 * read),
        Reader(0, end, pace=lambda read: 5 * read),
        Reader(0, end, pace=lambda read: size_bytes if read > MIB else 0),
        stalled,
        Reader(0, end, begins=size_bytes // 2),
        Reader(third, 2 * third, range_field=f"bytes={third}-{2 * third}"),
        Reader(third, end, begins=2 * third, range_field=f"bytes={third}-{2**53 - 1}"),
    ]


async def read_as_of_old(content: Content, port: int) -> None:
    """HTTP/1.0 knows no chunks: it gets a length, once that is known."""
    await content.sent(MIB)
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET {KEY} HTTP/1.0\r\nPrefer: wait=60\r\n\r\n".encode())
        said, offset = b"", 0
        while b"\r\n\r\n" not in said:
            some = await stream.receive_some(RECEIVE_BYTES)
            assert some, said
            said += some
        head, _, some = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert f"Content-Length: {content.size_bytes}\r\n".encode() in head + b"\r\n", head
        while some:
            assert some == content.part(offset, len(some)), offset
            offset += len(some)
            some = await stream.receive_some(RECEIVE_BYTES)
    assert offset == content.size_bytes


def peak_bytes(pid: int) -> int:
    """The most that a process ever had resident."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


async def move(
    content: Content, client: Client, reads: list[Callable[[], Awaitable[None]]]
) -> None:
    """The upload, and all reads beside it."""
    async with trio.open_nursery() as nursery, client:
        for read in reads:
            nursery.start_soon(read)
        answer = await client.request("PUT", KEY, body=content.pieces())
        await answer.body()
        assert answer.status == 201


async def test_an_object_larger_than_memory_passes_through_a_window(tmp_path: Path) -> None:
    config, content = tmp_path / "settings.toml", Content(SIZE_BYTES)
    config.write_text(SETTINGS)
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder, trio.fail_after(TEST_S):
        async with serving(Path(folder), "--config", str(config)) as server:
            patient = partial(server.client, stall_s=TEST_S)
            reads = [partial(one.read, content, patient()) for one in readers(SIZE_BYTES)]
            old = partial(read_as_of_old, content, server.port)
            await move(content, patient(), [*reads, old])
            peak = peak_bytes(server.process.pid)
    print(f"{SIZE_BYTES // MIB} MiB and 10 readers: {peak / MIB:.0f} MiB resident at most")
    assert peak <= MEMORY_BYTES + BEYOND_BYTES


async def test_readers_over_tls_go_on_from_disk(tmp_path: Path) -> None:
    ca, size_bytes = trustme.CA(), 64 * MIB
    cert, key = write_pair(tmp_path, "127.0.0.1", ca=ca)
    config, content = tmp_path / "settings.toml", Content(size_bytes)
    config.write_text(f'{SETTINGS}tls_cert = "{cert}"\ntls_key = "{key}"\n')
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    with trio.fail_after(TEST_S):
        async with serving(tmp_path / "data", "--config", str(config)) as server:
            url = Url("https", "127.0.0.1", server.port, "/")
            made = [Client(url, connect=partial(dial, tls=trust)) for _ in range(10)]
            reads = [
                partial(one.read, content, client)
                for one, client in zip(readers(size_bytes), made[1:], strict=True)
            ]
            await move(content, made[0], list(reads))
