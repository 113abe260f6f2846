"""How an exchange can end: answers that survive their connection, handlers that fail."""

from __future__ import annotations

import os

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.server import Log, connection
from tests.live.rig import parse
from tests.server.rig import GET, all_closed, connect, dial, listen, serving

HANG_S = 10.0
HEAD = b"PUT /%b HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n"


def chunked(size: int) -> bytes:
    """A body in chunks of 1000 bytes."""
    return b"3e8\r\n%b\r\n" % bytes(1000) * (size // 1000) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 5000, 900_000])
@pytest.mark.parametrize("is_chunked", [True, False])
async def test_an_early_refusal_keeps_the_connection(is_chunked: bool, size: int) -> None:
    listener = listen()
    async with serving(listener) as server:
        peer = await connect(listener)
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size
        body = chunked(size) if is_chunked else bytes(size)
        for _ in range(2):
            await peer.send(HEAD % (b"refuse", framing))
            answer = await peer.answer()  # before the body is sent
            assert answer.status == 413
            assert answer.is_whole
            assert b"Connection: close" not in peer.received
            await peer.send(body)
        assert (await peer.ask(GET)).body == b"hello"
        assert server.metrics.responses == {413: 2, 200: 1}
        await peer.stream.aclose()


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_more_than_may_be_discarded_closes_after_the_answer(
    is_chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    listener = listen()
    async with serving(listener, max_object_bytes=50_000) as server:
        peer = await connect(listener)
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 900000"
        head = HEAD % (b"refuse", framing)
        await peer.send(head + (chunked(900_000) if is_chunked else bytes(900_000)))
        with trio.fail_after(HANG_S):
            assert parse(await peer.rest()).status == 413
            await all_closed(server)
        assert not peer.was_reset
        await peer.stream.aclose()


async def test_a_last_answer_is_not_destroyed_by_a_reset() -> None:
    listener = listen()
    async with serving(listener):
        for head in (
            HEAD % (b"refuse", b"Connection: close\r\nContent-Length: 900000"),
            b"PUT /refuse HTTP/1.0\r\nContent-Length: 900000\r\n\r\n",
            b"GET / HTTP/3.0\r\n\r\n",
            b"nonsense\r\n\r\n",
        ):
            peer = await connect(listener)
            await peer.send(head + bytes(400_000), bytes(500_000))
            answer = parse(await peer.rest())
            assert answer.is_whole
            assert answer.status in (400, 413, 505)
            assert not peer.was_reset
            await peer.stream.aclose()


async def test_a_client_that_half_closes_in_a_head_is_told() -> None:
    listener = listen()
    async with serving(listener) as server:
        peer = await connect(listener)
        await peer.send(GET[:10])
        assert isinstance(peer.stream, trio.SocketStream)
        await peer.stream.send_eof()
        answer = parse(await peer.rest())
        assert answer.status == 400
        assert server.metrics.endings == {"refused": 1}
        await peer.stream.aclose()


async def test_pipelined_requests_are_answered_in_order(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        put = HEAD % (b"read", b"Content-Length: 3") + b"abc"
        refused = HEAD % (b"refuse", b"Transfer-Encoding: chunked") + chunked(2000)
        await peer.send((GET + put + refused) * 5 + GET)
        for _ in range(5):
            assert (await peer.answer()).body == b"hello"
            assert (await peer.answer()).body == b"3"
            assert (await peer.answer()).status == 413
        assert (await peer.answer()).body == b"hello"


async def test_methods_that_nobody_serves(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        for method, status in ((b"PATCH", 405), (b"BREW", 501), (b"get", 501)):
            await peer.send(method + GET[3:])
            await wait_all_tasks_blocked()
            answer = await peer.answer()
            assert answer.status == status
            assert answer.is_whole
        assert server.metrics.endings == {"complete": 3}


class Noted:
    """A log whose text can be read."""

    def __init__(self, form: str = "off") -> None:
        self._read, self._write = os.pipe()
        self.log = Log(form, self._write)

    def text(self) -> str:
        """All that was written; the end of it."""
        os.close(self._write)
        with os.fdopen(self._read) as file:
            return file.read()


async def test_a_handler_that_raises_is_a_500_and_a_traceback(nursery: trio.Nursery) -> None:
    noted = Noted()
    async with serving(log=noted.log) as server:
        peer = dial(server, nursery)
        await peer.send(b"GET /fail HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
        text = await peer.rest()
        answer = parse(text)
        assert (answer.status, answer.is_whole, answer.rest) == (500, True, b"")
        assert b"Connection: close\r\n" in text
        assert b"a bug of" not in text  # that's for the log alone
        assert server.metrics.endings == {"failed": 1}
        assert (await dial(server, nursery).ask(GET)).status == 200
    text_of_log = noted.text()
    assert text_of_log.count("RuntimeError: a bug of the handler") == 1
    assert "in fail" in text_of_log


async def test_a_handler_that_raises_in_mid_answer_cuts_it() -> None:
    noted, listener = Noted(), listen()
    async with serving(listener, log=noted.log) as server:
        peer = await connect(listener)
        await peer.send(b"GET /fail_late HTTP/1.1\r\nHost: h\r\n\r\n")
        assert not parse(await peer.rest()).is_whole
        assert peer.was_reset
        await all_closed(server)
        assert server.metrics.endings == {"failed": 1}
        await peer.stream.aclose()
    assert "a bug of the handler" in noted.text()
