"""The client against scripted peers: whole answers, cut and silent ones, early refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from chunkstore.client import Client, Piece, Url, expect, parse_url
from chunkstore.errors import ConnectError, CutError, FetchError, StalledError, StatusError
from tests.client.peer import CHUNKED, LENGTH, URL, Peer, Stream


async def get(client: Client) -> bytes:
    """GET something, whole."""
    return await (await client.request("GET", "/a")).body()


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body."""
    for piece in pieces:
        await trio.lowlevel.checkpoint()
        yield piece


async def endless(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body whose source falls silent."""
    for piece in pieces:
        yield piece
    await trio.sleep_forever()


async def test_chunks_come_one_by_one_and_the_connection_is_kept(nursery: trio.Nursery) -> None:
    peer = Peer(nursery, [CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", LENGTH + b"abc"])
    async with peer.client() as client:
        answer = await client.request("GET", "/a?b", [("Prefer", "wait=5")])
        assert (answer.status, answer.etag, answer.length) == (200, '"x"', None)
        pieces = [await answer.piece() for _ in range(3)]
        assert pieces == [Piece(b"ab", True), Piece(b"c", True), None]
        answer = await client.request("GET", "/b")
        assert answer.length == 3
        assert await answer.body() == b"abc"
    [[first, second]] = peer.requests
    assert first.startswith(b"GET /a?b HTTP/1.1\r\nHost: peer.test\r\nUser-Agent: chunkstore\r\n")
    assert b"Prefer: wait=5\r\n" in first
    assert second.startswith(b"GET /b HTTP/1.1\r\n")


async def test_trailers_are_there_behind_the_last_piece(nursery: trio.Nursery) -> None:
    lines = b"Repr-Digest: sha-256=:eA==:\r\nA: b\r\na:  c\r\n"
    peer = Peer(nursery, [CHUNKED + b"2\r\nab\r\n0\r\n" + lines + b"\r\n", LENGTH + b"abc"])
    async with peer.client() as client:
        answer = await client.request("GET", "/a", [("TE", "trailers")])
        assert await answer.piece() == Piece(b"ab", True)
        assert not answer.trailers
        assert await answer.piece() is None
        assert answer.trailers == {"repr-digest": "sha-256=:eA==:", "a": "b, c"}
        answer = await client.request("GET", "/b")  # on the same connection
        assert await answer.body() == b"abc"
        assert not answer.trailers


@pytest.mark.parametrize("left", ["close", "unread"])
async def test_a_connection_that_is_not_kept_is_made_anew(left: str, nursery: trio.Nursery) -> None:
    closing = LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"abc"
    first = closing if left == "close" else LENGTH + b"abc"
    peer = Peer(nursery, [first], [closing])
    async with peer.client() as client:
        answer = await client.request("GET", "/a")
        if left == "close":
            assert await answer.body() == b"abc"
        assert await get(client) == b"abc"
    assert [len(requests) for requests in peer.requests] == [1, 1]


async def test_a_kept_connection_that_is_gone_is_replaced_for_what_changes_nothing(
    nursery: trio.Nursery,
) -> None:
    peer = Peer(nursery, [LENGTH + b"abc"], [LENGTH + b"abc"])
    async with peer.client() as client:
        assert await get(client) == b"abc"
        assert await get(client) == b"abc"
        with pytest.raises(CutError):
            await client.request("DELETE", "/a")


WHOLE = CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


@pytest.mark.parametrize("whole", [WHOLE, LENGTH + b"abc"], ids=["chunked", "length"])
async def test_an_answer_cut_anywhere_is_no_whole_one(whole: bytes, nursery: trio.Nursery) -> None:
    for at in range(len(whole)):
        peer = Peer(nursery, [whole[:at]], [whole])
        async with peer.client() as client:
            with pytest.raises(CutError):
                await get(client)
            # And the next request has a connection of its own.
            assert await get(client) == b"abc"


@pytest.mark.parametrize(
    "answer",
    [
        b"not HTTP\r\n\r\n",
        CHUNKED + b"x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000,
    ],
)
async def test_what_is_not_http_is_an_error(answer: bytes, nursery: trio.Nursery) -> None:
    async with Peer(nursery, [answer]).client() as client:
        with pytest.raises(FetchError, match=r"GET /a: the answer is not HTTP: ") as caught:
            await get(client)
        assert not isinstance(caught.value, CutError)


async def test_a_body_that_ends_with_its_connection_is_cut(nursery: trio.Nursery) -> None:
    async with Peer(nursery, [b"HTTP/1.1 200 OK\r\n\r\nabc"]).client() as client:
        answer = await client.request("GET", "/a")
        assert await answer.piece() == Piece(b"abc", False)
        with pytest.raises(CutError, match="nothing tells"):
            await answer.piece()


async def test_answers_without_a_body(nursery: trio.Nursery) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    peer = Peer(nursery, [head, b"HTTP/1.1 204 No Content\r\n\r\n"])
    async with peer.client() as client:
        assert await (await client.request("HEAD", "/a")).body() == b""
        assert await (await client.request("DELETE", "/a")).body() == b""


async def test_no_server_is_an_error_that_names_it(nursery: trio.Nursery) -> None:
    async with Peer(nursery).client() as client:
        with pytest.raises(ConnectError, match=r"no connection to peer\.test: Connection refused"):
            await get(client)


async def test_a_connection_has_a_deadline() -> None:
    async def never(url: Url) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with Client(URL, connect=never) as client:
        with pytest.raises(ConnectError, match=r"no connection to peer\.test within 10 s"):
            await get(client)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", LENGTH + b"ab"])
async def test_silence_is_a_stall(said: bytes, nursery: trio.Nursery) -> None:
    async def script(stream: Stream) -> None:
        await stream.send_all(said)
        await stream.receive_some()
        await trio.sleep_forever()

    async with Peer(nursery, script).client(stall_s=7) as client:
        with pytest.raises(StalledError, match="nothing came for 7 s"):
            await get(client)
    nursery.cancel_scope.cancel()


async def test_bytes_keep_it_going_and_a_hold_is_waited_for(nursery: trio.Nursery) -> None:
    async def script(stream: Stream) -> None:
        await trio.sleep(11)
        for piece in (LENGTH, b"a", b"b", b"c"):
            await stream.send_all(piece)
            await trio.sleep(6)

    async with Peer(nursery, script).client(stall_s=7) as client:
        answer = await client.request("GET", "/a", hold_s=5)
        assert await answer.body() == b"abc"


async def test_a_body_goes_out_chunk_by_chunk(nursery: trio.Nursery) -> None:
    got = bytearray()

    async def script(stream: Stream) -> None:
        while not got.endswith(b"0\r\n\r\n"):
            got.extend(await stream.receive_some())
        await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"abc")

    async with Peer(nursery, script).client() as client:
        answer = await client.request("PUT", "/a", body=pieces_of(b"ab", b"", b"cde"))
        assert await answer.body() == b"abc"
    assert got.endswith(b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")


@pytest.mark.parametrize("body", [b"", b"abcde"])
async def test_a_body_that_is_there_goes_out_with_its_length(
    nursery: trio.Nursery, body: bytes
) -> None:
    got = bytearray()

    async def script(stream: Stream) -> None:
        while not got.endswith(b"\r\n\r\n" + body):
            got.extend(await stream.receive_some())
        await stream.send_all(LENGTH + b"abc")

    async with Peer(nursery, script).client() as client:
        answer = await client.request("PUT", "/a", body=body)
        assert await answer.body() == b"abc"
        assert client.is_ready
    assert b"Content-Length: %d\r\n" % len(body) in got


@pytest.mark.parametrize("pieces", [(b"ab",), (b"ab", b"cd")])
async def test_a_body_of_another_length_than_promised(
    pieces: tuple[bytes, ...], nursery: trio.Nursery
) -> None:
    async def script(stream: Stream) -> None:
        while await stream.receive_some():
            pass

    async with Peer(nursery, script).client() as client:
        with pytest.raises(FetchError, match="the body has not the length promised"):
            await client.request("PUT", "/a", body=pieces_of(*pieces), length=3)


@pytest.mark.parametrize("is_closed", [False, True])
async def test_an_early_refusal_is_noticed_at_once(is_closed: bool, nursery: trio.Nursery) -> None:
    async def script(stream: Stream) -> None:
        await stream.receive_some()
        body = b'{"detail": "too\\u001b large"}'
        head = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: %d\r\n\r\n" % len(body)
        await stream.send_all(head + body)
        if not is_closed:
            await trio.sleep_forever()

    began_s = trio.current_time()
    async with Peer(nursery, script).client() as client:
        answer = await client.request("PUT", "/a", body=endless(b"ab"))
        with pytest.raises(StatusError) as caught:
            await expect(answer, 200, 201)
    assert str(caught.value) == "PUT /a: 413 Content Too Large: too? large"
    assert trio.current_time() - began_s < 1
    nursery.cancel_scope.cancel()


async def test_an_early_refusal_is_noticed_while_the_server_takes_nothing() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()

    async def connect(url: Url) -> trio.abc.Stream:
        return ours

    async with trio.open_nursery() as nursery, Client(URL, connect=connect) as client:

        async def refuse() -> None:
            await theirs.receive_some()
            await theirs.send_all(b"HTTP/1.1 507 x\r\nContent-Length: 0\r\n\r\n")

        nursery.start_soon(refuse)
        began_s = trio.current_time()
        answer = await client.request("PUT", "/a", body=pieces_of(b"a" * 10_000_000), length=10**7)
        assert (answer.status, await answer.body()) == (507, b"")
        assert trio.current_time() - began_s < 1


async def test_a_source_that_fails_is_the_callers_own_error(nursery: trio.Nursery) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"ab"
        raise OSError(5, "Input/output error")

    async def script(stream: Stream) -> None:
        while await stream.receive_some():
            pass

    async with Peer(nursery, script).client() as client:
        with pytest.raises(OSError, match="Input/output error"):
            await client.request("PUT", "/a", body=failing())


async def test_an_answer_that_never_comes_to_a_whole_body_is_a_stall(nursery: trio.Nursery) -> None:
    async def script(stream: Stream) -> None:
        while await stream.receive_some():
            pass

    async def slowly() -> AsyncIterator[bytes]:
        yield b"ab"
        await trio.sleep(1000)  # nothing is due of the server meanwhile
        yield b"cd"

    began_s = trio.current_time()
    async with Peer(nursery, script).client(stall_s=7) as client:
        with pytest.raises(StalledError, match="no answer came for 7 s"):
            await client.request("PUT", "/a", body=slowly())
    assert trio.current_time() - began_s > 1000


async def test_a_server_that_takes_nothing_is_a_stall() -> None:
    async def connect(url: Url) -> trio.abc.Stream:
        ours, _ = trio.testing.lockstep_stream_pair()
        return ours

    async with Client(URL, connect=connect) as client:
        with pytest.raises(StalledError, match="the server took no bytes for 30 s"):
            await client.request("PUT", "/a", body=pieces_of(b"a"))
        with pytest.raises(StalledError):
            await get(client)


async def test_cancelled_at_any_moment_it_can_be_used_again(nursery: trio.Nursery) -> None:
    async def slow(stream: Stream) -> None:
        await stream.receive_some()
        for at in range(len(WHOLE)):
            await stream.send_all(WHOLE[at : at + 1])
            await trio.sleep(1)

    for seconds in range(0, len(WHOLE), 7):
        async with Peer(nursery, slow, [WHOLE]).client() as client:
            with trio.move_on_after(seconds + 0.5):
                await get(client)
            assert await get(client) == b"abc"


@pytest.mark.parametrize(
    ("url", "token", "expected"),
    [
        ("http://us%40er:p%3Aw@peer.test/", None, b"Basic dXNAZXI6cDp3"),
        ("http://peer.test/", "abc", b"Bearer abc"),
        ("http://u:p@peer.test/", "abc", b"Basic dTpw"),
    ],
)
async def test_credentials(
    url: str, token: str | None, expected: bytes, nursery: trio.Nursery
) -> None:
    peer = Peer(nursery, [LENGTH + b"abc"])
    async with Client(parse_url(url), token=token, connect=peer.connect) as client:
        await get(client)
    assert b"Authorization: %b\r\n" % expected in peer.requests[0][0]


@pytest.mark.parametrize(
    ("head", "words", "retry_after_s"),
    [
        (b"301 Moved\r\nLocation: /b", "GET /a: 301 Moved Permanently: redirects are not", None),
        (b"503 x\r\nRetry-After: 7", "GET /a: 503 Service Unavailable", 7),
        (b"503 x\r\nRetry-After: Thu, 01 Jan 1970 00:00:01 GMT", "GET /a: 503", 0),
        (b"503 x\r\nRetry-After: soon", "GET /a: 503", None),
        (b"599 x", "GET /a: 599", None),
    ],
)
async def test_what_a_status_means(
    head: bytes, words: str, retry_after_s: float | None, nursery: trio.Nursery
) -> None:
    answer = b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\n{}" % head
    async with Peer(nursery, [answer]).client() as client:
        with pytest.raises(StatusError, match=words) as caught:
            await expect(await client.request("GET", "/a"), 200)
    assert caught.value.retry_after_s == retry_after_s


async def test_a_body_that_is_too_long_to_be_read_whole(nursery: trio.Nursery) -> None:
    async with Peer(nursery, [LENGTH + b"abc"]).client() as client:
        answer = await client.request("GET", "/a")
        with pytest.raises(FetchError, match="GET /a: the answer has more than 2 bytes"):
            await answer.body(2)


async def test_a_request_that_cannot_be_said(nursery: trio.Nursery) -> None:
    async with Peer(nursery).client() as client:
        with pytest.raises(FetchError, match="no request can say this"):
            await client.request("GET", "/a b")


@pytest.mark.parametrize("limit", [1, 2, 3, 99])
async def test_a_body_of_known_length_may_be_had_past_the_parser(
    nursery: trio.Nursery, limit: int
) -> None:
    closing = LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    peer = Peer(nursery, [LENGTH + b"abc", LENGTH + b"def", closing + b"ghi"], [LENGTH + b"jkl"])
    async with peer.client() as client:
        for expected in (b"abc", b"def", b"ghi", b"jkl"):
            answer, body = await client.request("GET", "/a"), b""
            while data := await answer.some(limit):
                assert len(data) <= limit
                body += data
            assert body == expected
            assert client.is_ready == (expected != b"ghi")
    assert [len(requests) for requests in peer.requests] == [3, 1]


async def test_past_the_parser_a_cut_is_one(nursery: trio.Nursery) -> None:
    peer = Peer(nursery, [LENGTH + b"ab"], [CHUNKED + b"0\r\n\r\n"], [LENGTH + b"abcd"])
    async with peer.client() as client:
        answer = await client.request("GET", "/a")
        assert await answer.some(9) == b"ab"
        with pytest.raises(CutError, match="1 bytes are missing"):
            await answer.some(9)
        assert not client.is_ready
        answer = await client.request("GET", "/a")
        with pytest.raises(FetchError, match="does not say its length"):
            await answer.some(9)
        await client.aclose()
        answer = await client.request("GET", "/a")
        assert await answer.some(9) == b"abc"
        assert await answer.some(9) == b""
        assert not client.is_ready  # what was sent beyond it is no answer to anything
