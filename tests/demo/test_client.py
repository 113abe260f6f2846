"""The demo's client against scripted servers: whole answers, cut ones, kept connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from chunkstore.demo.client import Client, CutError, Piece

CHUNKED = b"HTTP/1.1 200 OK\r\nETag: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"


@asynccontextmanager
async def serving(*connections: list[bytes]) -> AsyncIterator[tuple[Client, list[int]]]:
    """A client of a server that answers with these bytes, one item a request, then closes."""
    left = list(connections)
    seen: list[int] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            seen.append(0)
            for answer in left.pop(0):
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += await stream.receive_some()
                seen[-1] += 1
                await stream.send_all(answer)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, handle, 0)
            port = listeners[0].socket.getsockname()[1]
            async with Client("127.0.0.1", port) as client:
                yield client, seen
            nursery.cancel_scope.cancel()


async def test_chunks_come_one_by_one_and_the_connection_is_kept() -> None:
    answers = [CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", LENGTH + b"abc"]
    async with serving(answers) as (client, seen):
        answer = await client.get("/a")
        assert (answer.status, answer.etag) == (200, "x")
        pieces = [await client.piece() for _ in range(3)]
        assert pieces == [Piece(b"ab", True), Piece(b"c", True), None]
        assert (await client.get("/b", wait_s=5)).etag == ""
        assert await client.body() == b"abc"
        assert seen == [2]


async def test_a_connection_that_is_not_kept_is_made_anew() -> None:
    closing = LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"abc"
    async with serving([closing], [closing]) as (client, seen):
        for _ in range(2):
            await client.get("/a")
            assert await client.body() == b"abc"
        assert seen == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED,
        CHUNKED + b"2\r\nab\r\n",
        CHUNKED + b"2\r\na",
        CHUNKED + b"2\r\nab\r\n0\r\n",
        LENGTH + b"ab",
        b"HTTP/1.1 200",
        b"",
        b"not HTTP\r\n\r\n",
    ],
)
async def test_an_answer_that_is_not_whole_is_cut(answer: bytes) -> None:
    async with serving([answer], [LENGTH + b"abc"]) as (client, seen):
        with pytest.raises(CutError):
            await read_all(client)
        # And the next request has a connection of its own.
        assert await read_all(client) == b"abc"
        assert seen == [1, 1]


async def read_all(client: Client) -> bytes:
    """GET something, whole."""
    await client.get("/a")
    return await client.body()


async def test_no_server_is_an_error_that_names_it() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with Client("127.0.0.1", port) as client:
        with pytest.raises(CutError, match=f"no connection to 127.0.0.1:{port}"):
            await client.get("/a")
