"""Bytes over a real socket: all of them, in order, whatever the peer does in between."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from chunkstore.client.flow import Buffer, Flow

PIECES: list[Buffer] = [b"head", bytes(range(256)) * 8192, memoryview(b"tail"), b"x" * 300_000]
WHOLE = b"".join(PIECES)


def _pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = socket.socketpair()
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
        trio.SocketStream(trio.socket.from_stdlib_socket(theirs)),
    )


async def test_all_pieces_come_in_order_through_small_buffers() -> None:
    ours, theirs = _pair()
    received = bytearray()

    async def send() -> None:
        assert await Flow(ours).send(PIECES, 60.0)
        await ours.aclose()

    async with theirs, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        flow = Flow(theirs)
        while data := await flow.receive(100_000, 60.0, least_bytes=7):
            assert len(data) <= 100_000
            received += data
    assert received == WHOLE


async def test_a_peer_that_does_nothing_is_told_from_one_that_is_gone() -> None:
    ours, theirs = _pair()
    async with ours:
        assert await Flow(ours).receive(9, 0.01) is None
        assert not await Flow(ours).send([bytes(64 << 20)], 0.01)
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await Flow(ours).send([b"x"], 60.0)


async def test_what_is_less_than_the_least_is_given_once_patience_ends() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as raw:
        accepted, _ = listener.accept()
        async with trio.SocketStream(trio.socket.from_stdlib_socket(accepted)) as stream:
            flow = Flow(stream)
            raw.sendall(b"abc")
            assert await flow.receive(2, 60.0) == b"ab"
            assert await flow.receive(9, 60.0, least_bytes=1) == b"c"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send_soon, raw, b"de")
                assert await flow.receive(9, 0.5, least_bytes=5) == b"de"
            raw.close()
            assert await flow.receive(9, 60.0, least_bytes=5) == b"", "its end is told at once"


async def _send_soon(raw: socket.socket, data: bytes) -> None:
    await trio.testing.wait_all_tasks_blocked()
    raw.sendall(data)
