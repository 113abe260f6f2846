"""Uploads that start anew, against servers that break off, fall silent or refuse."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h11
import pytest
import trio

from bench.build import BenchError
from bench.studio import upload as upload_module
from bench.studio.upload import Link, Tally, Upload

DEADLINE_S = 20
PIECES = [b"first", b"second" * 50_000, b"third"]
BODY = b"".join(PIECES)

Turn = Callable[[trio.SocketStream], Awaitable[None]]


class Scripted:
    """A server that deals with its connections one after the other, each in its own way."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = list(turns)
        self.port = 0
        self.bodies: list[list[bytes]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Link]:
        """A link to it; all turns must have been taken at the end."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery, Link("127.0.0.1", self.port) as link:
                nursery.start_soon(self._run, listener)
                yield link
                await link.aclose()
                nursery.cancel_scope.cancel()
        assert not self.turns

    async def _run(self, listener: trio.SocketListener) -> None:
        async with listener:
            while True:
                stream = await listener.accept()
                async with stream:
                    await self.turns.pop(0)(stream)

    def answers(self, status: int, *, fields: str = "") -> Turn:
        """Takes whole requests, and answers each so."""

        async def turn(stream: trio.SocketStream) -> None:
            http = h11.Connection(h11.SERVER)
            chunks: list[bytes] = []
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(bytes(await stream.receive_some(65536)))
                elif isinstance(event, h11.Data):
                    if event.chunk_start:
                        chunks.append(b"")
                    chunks[-1] += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.bodies.append(chunks)
                    chunks = []
                    http.send(h11.Response(status_code=status, headers=[("Content-Length", "0")]))
                    http.send(h11.EndOfMessage())
                    await stream.send_all(head(status, fields))
                    http.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    return

        return turn


def head(status: int, fields: str = "") -> bytes:
    """An answer without a body."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{fields}\r\n".encode()


def after(size: int, last_word: bytes | None, *, reset: bool = False) -> Turn:
    """Takes so many bytes, says something, and closes (without reading on)."""

    async def turn(stream: trio.SocketStream) -> None:
        had = 0
        while had < size:
            had += len(await stream.receive_some(size - had))
        if last_word:
            await stream.send_all(last_word)
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return turn


async def silent(stream: trio.SocketStream) -> None:
    """Takes all and never answers."""
    while await stream.receive_some(65536):
        pass


def finished(tally: Tally) -> Upload:
    """An upload of all pieces."""
    upload = Upload("/live/seg.m4s", tally, PIECES)
    upload.finish()
    return upload


async def test_pieces_are_chunks_and_the_connection_is_kept() -> None:
    server, tally = Scripted(), Tally()
    server.turns.append(server.answers(201))
    async with server.running() as link:
        assert await finished(tally).run(link) == 201
        assert await finished(tally).run(link) == 201
    assert server.bodies == [PIECES, PIECES]
    assert tally == Tally(statuses=tally.statuses)
    assert tally.statuses == {201: 2}


@pytest.mark.parametrize("size", [1, 100, 5_000, 200_000])
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_what_broke_starts_anew_from_byte_0(size: int, reset: bool) -> None:
    server, tally = Scripted(), Tally()
    server.turns += [after(size, None, reset=reset)] * 2 + [server.answers(201)]
    async with server.running() as link:
        assert await finished(tally).run(link) == 201
    assert server.bodies == [PIECES]
    assert tally.retries == 2
    assert tally.statuses == {201: 1}


async def test_a_growing_upload_is_retried_while_it_waits_for_more() -> None:
    server, tally = Scripted(), Tally()
    server.turns += [after(100, None, reset=True), server.answers(200)]
    upload = Upload("/live/seg.m4s", tally, [b"x" * 100])
    async with server.running() as link, trio.open_nursery() as nursery:
        nursery.start_soon(upload.run, link)
        while not tally.retries:  # nothing is sent meanwhile: the break is noticed by itself
            await trio.lowlevel.checkpoint()
        upload.append(b"more")
        upload.append(b"")
        upload.finish()
    assert server.bodies == [[b"x" * 100, b"more"]]
    assert tally.resent_bytes == 100


async def test_a_connection_that_was_kept_too_long_is_made_anew() -> None:
    server, tally = Scripted(), Tally()
    server.turns += [server.answers(201, fields="Connection: close\r\n"), server.answers(200)]
    async with server.running() as link:
        assert await finished(tally).run(link) == 201
        assert await finished(tally).run(link) == 200
    assert tally.retries == 0


@pytest.mark.parametrize(("status", "displaced"), [(409, 1), (413, 0), (201, 0)])
async def test_an_answer_before_the_end_is_final(status: int, displaced: int) -> None:
    server, tally = Scripted(after(100, head(status))), Tally()
    upload = Upload("/live/seg.m4s", tally, [b"x" * 100])
    async with server.running() as link:
        assert await upload.run(link) == status
    assert (tally.retries, tally.displaced, tally.statuses) == (0, displaced, {status: 1})


@pytest.mark.parametrize("status", sorted(upload_module.RETRIED))
async def test_a_refusal_that_may_pass_is_tried_again(status: int) -> None:
    server, tally = Scripted(after(100, head(status))), Tally()
    server.turns.append(server.answers(201))
    async with server.running() as link:
        assert await finished(tally).run(link) == 201
    assert tally.statuses == {status: 1, 201: 1}
    assert not tally.given_up


async def test_silence_is_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_module, "STALL_S", 0.01)
    server, tally = Scripted(silent), Tally()
    server.turns.append(server.answers(201))
    async with server.running() as link:
        assert await finished(tally).run(link) == 201
    assert tally.retries == 1


async def test_what_comes_to_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_module, "PAUSE_MAX_S", 0.001)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    tally = Tally()
    with trio.fail_after(DEADLINE_S):
        async with Link("127.0.0.1", port) as link:
            assert await finished(tally).run(link) == 0
    assert tally.given_up == ["/live/seg.m4s"]
    assert tally.retries == upload_module.ATTEMPTS - 1
    assert not tally.statuses


async def test_what_is_kept_for_retries_is_bounded() -> None:
    upload = Upload("/live/seg.m4s", Tally(), [bytes(upload_module.UPLOAD_BYTES)])
    with pytest.raises(BenchError, match="/live/seg.m4s grew larger than 67108864 bytes"):
        upload.append(b"x")
