"""Servers that answer when or as they shouldn't."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from chunkstore.errors import CutError
from tests.client.peer import Peer, Stream

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
