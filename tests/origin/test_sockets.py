"""The push path and what only the kernel can hold: over real sockets, on the real clock."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from chunkstore.config import parse_listen
from chunkstore.origin import Origin
from chunkstore.server import Listener, Log, bind
from chunkstore.server.connection import PIPELINED_BYTES
from tests.jumping import run_for_real
from tests.origin import drive
from tests.origin.drive import Answer, Client, Site, Upload, make_settings

RUN = run_for_real


class SocketSite(Site):
    """An origin that listens; `dial` connects over TCP."""

    def __init__(self, origin: Origin, nursery: trio.Nursery, listener: Listener) -> None:
        super().__init__(origin, nursery)
        self.listener = listener
        self._clients: list[Client] = []

    async def hang_up(self) -> None:
        """Close all that was dialled."""
        for client in self._clients:
            await client.close()

    async def dial(self, *, receive_bytes: int | None = None) -> Client:
        """A TCP connection to the origin."""
        raw = trio.socket.socket()
        if receive_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await raw.connect(self.listener.raw.getsockname())
        self._clients.append(Client(trio.SocketStream(raw)))
        return self._clients[-1]

    async def follow_pushed(self, target: str, *lines: str) -> Client:
        """A reader over TCP whose head was read."""
        client = await self.dial()
        await client.begin(target, *lines)
        return client

    async def at_edge(self, target: str, count: int) -> None:
        """Wait until so many readers are at the live edge, where the pump pushes to them."""
        generation = self.origin.catalog.namespace.visible(target)
        assert generation is not None
        while len(self.origin.catalog.broadcast(generation)._edge) != count:
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def listening(**changes: object) -> AsyncIterator[SocketSite]:
    """An origin on a port of the kernel's choice."""
    settings = make_settings(**changes)
    listener = bind(
        parse_listen("127.0.0.1:0"),
        backlog=settings.backlog,
        send_buffer_bytes=settings.send_buffer_bytes,
    )
    origin = Origin(settings, Log("off"), disk=drive.make_store())
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.run, (listener,))
        site = SocketSite(origin, nursery, listener)
        try:
            yield site
        finally:
            await site.hang_up()
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Let others run until something holds (or the test's deadline passes)."""
    while not holds():
        await trio.lowlevel.checkpoint()


async def test_push_keeps_bytes_and_chunks() -> None:
    async with listening() as site:
        writer = Upload(await site.dial())
        await writer.client.request("PUT", "/x", "Transfer-Encoding: chunked")
        chunks = [b"%d" % number * (number * 997 % 3000 + 1) for number in range(60)]
        readers: list[Client] = []
        for number, chunk in enumerate(chunks):
            await writer.chunk(chunk)
            await until(lambda: site.origin.catalog.namespace.visible("/x") is not None)
            if number < 20:
                readers.append(await site.follow_pushed("/x"))
        receipt = await writer.end()
        assert receipt.json["chunks"] == len(chunks)
        for reader in readers:
            answer = await reader.rest()
            assert answer.chunks == chunks
            assert answer.is_whole is True
            assert (await reader.ask("HEAD", "/x")).status == 200  # keep-alive after the push
        await site.check_nothing_left()


async def test_pushed_and_streamed_readers_of_one_object() -> None:
    """A TLS-shaped reader (no raw socket) isn't left behind by the pump beside it."""
    async with listening() as site:
        for _ in range(20):  # the order in which tasks run is random
            writer = await site.upload("/x")
            await writer.chunk(b"0")
            pushed = [await site.follow_pushed("/x") for _ in range(2)]
            streamed = [await site.follow("/x") for _ in range(2)]
            await site.at_edge("/x", 2)
            await writer.chunk(b"1" * 1000)
            await writer.client.send(b"1\r\n2\r\n0\r\n\r\n")
            for reader in (*pushed, *streamed):
                answer = await reader.rest()
                assert answer.body == b"0" + b"1" * 1000 + b"2"
                assert answer.is_whole is True
                await reader.close()


@pytest.mark.parametrize("end", ["kill", "delete", "displace"])
async def test_cut_readers_get_a_reset(end: str) -> None:
    async with listening() as site:
        writer = await site.upload("/x")
        await writer.chunk(b"abc")
        readers = [await site.follow_pushed("/x") for _ in range(20)]
        await site.at_edge("/x", 20)
        if end == "kill":
            await writer.kill()
        elif end == "delete":
            await site.ask("DELETE", "/x")
        else:
            await site.upload("/x")
        for reader in readers:
            answer = await reader.rest()
            assert answer.is_whole is False
            assert answer.was_reset


async def test_a_writer_that_is_reset_aborts() -> None:
    async with listening() as site:
        client = await site.dial()
        writer = Upload(client)
        await client.request("PUT", "/x", "Transfer-Encoding: chunked")
        await writer.chunk(b"abc")
        await until(lambda: site.origin.catalog.namespace.visible("/x") is not None)
        reader = await site.follow_pushed("/x")
        assert isinstance(client.stream, trio.SocketStream)
        linger = struct.pack("ii", 1, 0)
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await client.close()
        assert (await reader.rest()).is_whole is False
        assert site.origin.metrics.aborts["writer_gone"] == 1
        assert not site.origin.metrics.endings["failed"]
        await until(lambda: not site.origin.server.connections)
        await site.check_nothing_left()


async def test_uploads_before_a_reset_are_stored() -> None:
    """A writer that closes without reading its answers resets; what it sent before still counts."""
    async with listening() as site:
        raw = socket.create_connection(site.listener.raw.getsockname())
        put = b"PUT /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        raw.sendall(put % 1)
        await until(lambda: select.select([raw], [], [], 0)[0] == [raw])  # its answer is there
        # Nothing else runs until it is closed: both come together with the reset.
        raw.sendall(put % 2 + put % 3)
        raw.close()
        await until(lambda: not site.origin.server.connections)
        assert await site.list() == ["/1", "/2", "/3"]
        assert not site.origin.metrics.aborts


async def test_readers_that_leave_at_the_edge_are_noticed_without_a_byte() -> None:
    async with listening() as site:
        writer = await site.upload("/x")
        await writer.chunk(b"abc")
        readers = [await site.follow_pushed("/x") for _ in range(10)]
        await site.at_edge("/x", 10)
        for reader in readers[:5]:
            await reader.close()
        await site.at_edge("/x", 5)
        await writer.chunk(b"def")
        await writer.end()
        for reader in readers[5:]:
            assert (await reader.rest()).body == b"abcdef"
        await site.check_nothing_left()


async def test_a_reader_that_falls_behind_comes_back_with_every_byte() -> None:
    async with listening(send_buffer_bytes=8192) as site:
        writer = await site.upload("/x")
        await writer.chunk(b"0")
        slow, fast = await site.dial(receive_bytes=4096), await site.follow_pushed("/x")
        await slow.begin("/x")
        await site.at_edge("/x", 2)
        sent = b"0"
        for number in range(40):
            data = bytes([number]) * 50_000
            sent += data
            await writer.chunk(data)
        generation = site.origin.catalog.namespace.visible("/x")
        assert generation is not None
        assert generation.readers == 2
        assert (await slow.until(len(sent))).body == sent
        assert (await fast.until(len(sent))).body == sent
        await site.at_edge("/x", 2)
        await writer.chunk(b"last")
        await writer.end()
        for reader in (slow, fast):
            answer = await reader.rest()
            assert (answer.body, answer.is_whole) == (sent + b"last", True)
        await site.check_nothing_left()


async def test_a_range_of_unknown_end_begins_inside_what_is_pushed() -> None:
    async with listening() as site:
        writer = await site.upload("/x")
        await writer.chunk(b"0123456789")
        whole = await site.follow_pushed("/x")
        await site.at_edge("/x", 1)
        parts: list[Answer] = []
        async with trio.open_nursery() as nursery:

            async def read_part(first: int) -> None:
                client = await site.follow_pushed("/x", f"Range: bytes={first}-{2**53 - 1}")
                parts.append(await client.rest())

            for first in range(10):
                nursery.start_soon(read_part, first)
            for _ in range(20):
                await writer.client.send(b"a\r\n0123456789\r\n")
                await trio.lowlevel.checkpoint()
            await site.at_edge("/x", 11)
            await writer.end()
        body = b"0123456789" * 21
        assert (await whole.rest()).body == body
        assert sorted(answer.body for answer in parts) == sorted(body[at:] for at in range(10))


# --- bounds that the kernel keeps --------------------------------------------------------------


async def test_connections_beyond_the_limit_are_told() -> None:
    async with listening(max_connections=2) as site:
        kept = [await site.dial() for _ in range(2)]
        for client in kept:
            assert (await client.ask("GET", "/x")).status == 404
        refused = await site.dial()
        answer = await refused.read()
        assert answer.status == 503
        assert (answer.fields["connection"], answer.fields["retry-after"]) == ("close", "1")
        assert "date" in answer.fields
        assert site.origin.metrics.connections_refused == 1
        await kept[0].close()
        await until(lambda: len(site.origin.server.connections) < 2)
        assert (await (await site.dial()).ask("GET", "/x")).status == 404


async def test_a_reader_that_never_reads_is_cut_and_costs_its_buffers() -> None:
    async with listening(reader_stall_s=0.3, send_buffer_bytes=16384) as site:
        writer = await site.upload("/x")
        await writer.chunk(b"0")
        stuck = await site.dial(receive_bytes=4096)
        await stuck.request("GET", "/x")
        await site.at_edge("/x", 1)
        await writer.chunk(b"x" * 4_000_000)
        await until(lambda: site.origin.metrics.endings["stalled"] == 1)
        await until(lambda: len(site.origin.server.connections) == 1)
        await writer.end()
        await site.check_nothing_left()


async def test_send_buffer_and_no_delay_of_accepted_sockets() -> None:
    async with listening(send_buffer_bytes=64 * 1024) as site:
        client = await site.dial()
        await client.ask("GET", "/x")
        (connection,) = site.origin.server.connections
        assert connection.raw is not None
        # Linux doubles what was asked for, for its own bookkeeping.
        sizes = (64 * 1024, 128 * 1024)
        assert connection.raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in sizes
        assert connection.raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_backlog() -> None:
    listener = bind(parse_listen("127.0.0.1:0"), backlog=33, send_buffer_bytes=65536)
    try:
        info = listener.raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        # Of a listening socket, tcpi_sacked is the bound of its accept queue (tcp(7), linux/tcp.h).
        assert struct.unpack_from("I", info, 28) == (33,)
    finally:
        listener.close()


def test_the_limit_on_open_files_is_raised() -> None:
    code = """
import resource
from chunkstore import tuning
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
tuning.raise_descriptor_limit(400)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)
tuning.raise_descriptor_limit(300)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


async def test_what_a_client_sends_ahead_is_bounded() -> None:
    async with listening() as site:
        await site.put("/small", b"small")
        writer = await site.upload("/x")
        await writer.chunk(b"abc")
        client = await site.follow_pushed("/x")
        await site.at_edge("/x", 1)
        request = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"
        count = 64 * PIPELINED_BYTES // len(request)
        connection = next(one for one in site.origin.server.connections if one.raw)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, request * count)
            await until(lambda: connection.protocol.buffered_bytes >= PIPELINED_BYTES)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert connection.protocol.buffered_bytes <= 2 * PIPELINED_BYTES
            await writer.chunk(b"def")
            await writer.end()
            assert (await client.rest()).body == b"abcdef"
            for _ in range(1000):  # and what was sent ahead is answered in order
                assert (await client.read()).body == b"small"
            nursery.cancel_scope.cancel()
