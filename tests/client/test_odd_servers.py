"""Servers that answer when or as they shouldn't."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from chunkstore.client import expect
from chunkstore.errors import CutError, FetchError, StatusError
from tests.client.peer import LENGTH, Peer, Stream

EARLY = b"HTTP/1.1 201 x\r\nContent-Length: 0\r\n\r\n"


async def slowly(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body of which each piece takes a second."""
    for piece in pieces:
        await trio.sleep(1)
        yield piece


@pytest.mark.parametrize("length", [None, 6])
async def test_a_success_that_comes_early_does_not_end_the_body(
    length: int | None, nursery: trio.Nursery
) -> None:
    """What a server took only a part of isn't stored, whatever it says."""
    got = bytearray()

    async def take(stream: Stream) -> None:
        got.extend(await stream.receive_some())
        await stream.send_all(EARLY)
        while not got.endswith((b"ef", b"0\r\n\r\n")):
            got.extend(await stream.receive_some())

    async def leave(stream: Stream) -> None:
        await stream.receive_some()
        await stream.send_all(EARLY)

    async with Peer(nursery, take, leave).client() as client:
        answer = await client.request("PUT", "/a", body=slowly(b"ab", b"cd", b"ef"), length=length)
        assert (answer.status, await answer.body()) == (201, b"")
        await trio.sleep(1)  # the peer reads it
        assert b"ef" in got
        await client.aclose()
        with pytest.raises(CutError, match="answered before all of the body was sent"):
            await client.request("PUT", "/a", body=slowly(b"ab", b"cd", b"ef"), length=length)


async def test_a_field_goes_back_as_it_came(nursery: trio.Nursery) -> None:
    """An ETag may have any bytes (RFC 9110 section 8.8.3), and a cut is gone on from with it."""
    whole = b'HTTP/1.1 200 x\r\nETag: "\xe9"\r\nContent-Length: 0\r\n\r\n'
    peer = Peer(nursery, [whole, whole])
    async with peer.client() as client:
        answer = await client.request("GET", "/a")
        await answer.body()
        await client.request("GET", "/a", [("If-Range", answer.etag)])
    assert b'If-Range: "\xe9"\r\n' in peer.requests[0][1]


@pytest.mark.parametrize(("target", "value"), [("/é", "x"), ("/a", "x\n"), ("/a", "€")])
async def test_what_a_server_said_may_be_no_request(
    target: str, value: str, nursery: trio.Nursery
) -> None:
    async with Peer(nursery).client() as client:
        with pytest.raises(FetchError, match="no request can say this"):
            await client.request("GET", target, [("If-Range", value)])


@pytest.mark.parametrize("body", [None, b"x"])
async def test_interim_answers_come_to_an_end(body: bytes | None, nursery: trio.Nursery) -> None:
    async def script(stream: Stream) -> None:
        while True:
            await trio.sleep(1)
            await stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n")

    async with Peer(nursery, script).client() as client:
        with pytest.raises(FetchError, match="1000 interim answers came, and none behind them"):
            await client.request("GET", "/a", body=body)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nno field" + b"x" * 60_000 + b"\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: /" + b"x" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_a_server_says_is_quoted_in_part(answer: bytes, nursery: trio.Nursery) -> None:
    async with Peer(nursery, [answer]).client() as client:
        with pytest.raises(FetchError) as caught:
            await expect(await client.request("GET", "/a"), 200)
    assert len(str(caught.value)) < 500


async def test_what_comes_behind_an_answer_answers_nothing(nursery: trio.Nursery) -> None:
    """A 204 with a body, or two answers to one request, were the answer to the next one."""
    twice = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
    async with Peer(nursery, [twice, LENGTH + b"abc"], [LENGTH + b"abc"]).client() as client:
        answer = await client.request("DELETE", "/a")
        assert (answer.status, await answer.body()) == (204, b"")
        assert not client.is_ready
        answer = await client.request("GET", "/b")
        assert await answer.body() == b"abc"


async def test_a_status_is_told_though_its_sentence_takes_for_ever(nursery: trio.Nursery) -> None:
    async def script(stream: Stream) -> None:
        await stream.send_all(b"HTTP/1.1 404 x\r\nContent-Length: 60000\r\n\r\n")
        while True:
            await stream.send_all(b" ")
            await trio.sleep(1)

    began_s = trio.current_time()
    async with Peer(nursery, script).client() as client:
        with pytest.raises(StatusError, match="404 Not Found"):
            await expect(await client.request("GET", "/a"), 200)
    assert trio.current_time() - began_s < 60
