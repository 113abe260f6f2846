"""Which field says where an answer's body ends."""

from __future__ import annotations

import trio

from tests.client.peer import Peer

BOTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_chunks_count_and_not_the_length_beside_them(nursery: trio.Nursery) -> None:
    whole = BOTH + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    async with Peer(nursery, [whole, whole]).client() as client:
        for _ in range(2):
            answer = await client.request("GET", "/a")
            assert answer.length is None
            assert "content-length" not in answer.fields
            assert await answer.body() == b"abc"
