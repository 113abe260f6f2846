"""Requests of the service under test, each on a connection of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote

import trio

from chunkstore.client import Client, expect
from chunkstore.errors import CheckError, ChunkstoreError, FetchError

__all__ = ["Got", "Peer", "expect_taken", "together"]

PIECE_BYTES = 64 * 1024


class Got(NamedTuple):
    """A whole answer.

    Attributes:
        status, fields: of its head; names are lower-case.
        body: all of it.
    """

    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> str:
        """Status, and what the service says of it."""
        return f"{self.status} {self.body[:300].decode('utf-8', 'replace')}".strip()


@dataclass(frozen=True, slots=True)
class Peer:
    """The service, and where in it there is room to try.

    Attributes:
        client: makes a connection to it.
        prefix: percent-encoded, ends with "/"; nothing else is touched.
    """

    client: Callable[[], Client]
    prefix: str

    def key(self, name: str) -> str:
        """What the service calls a name under the prefix."""
        return unquote(self.prefix) + name

    async def put(
        self,
        name: str,
        body: bytes | AsyncIterable[bytes],
        fields: Sequence[tuple[str, str]] = (),
        *,
        is_length_known: bool = True,
    ) -> Got:
        """PUT an object; a body that comes by and by has no known length.

        Raises:
            FetchError: it wasn't answered.
            Exception: whatever the body raised.
        Cancellation: the connection is closed, and the upload broken off.
        """
        length = len(body) if isinstance(body, bytes) and is_length_known else None
        pieces = _pieces(body) if isinstance(body, bytes) else body
        async with self.client() as client:
            answer = await client.request(
                "PUT", self.prefix + name, fields, body=pieces, length=length
            )
            return Got(answer.status, answer.fields, await answer.body())

    async def ask(self, method: str, name: str = "", fields: Sequence[tuple[str, str]] = ()) -> Got:
        """Any request without a body; as `put`."""
        came: list[bytes] = []

        async def take(data: bytes) -> None:
            came.append(data)

        status, heads = await self.follow(method, name, fields, take)
        return Got(status, heads, b"".join(came))

    async def follow(
        self,
        method: str,
        name: str,
        fields: Sequence[tuple[str, str]],
        took: Callable[[bytes], Awaitable[None]],
    ) -> tuple[int, Mapping[str, str]]:
        """The same piece by piece; the service waits for who takes them, as it would for anybody.

        Returns:
            status and fields, when it has ended.
        """
        async with self.client() as client:
            answer = await client.request(method, self.prefix + name, fields, hold_s=10.0)
            while (piece := await answer.piece()) is not None:
                await took(piece.data)
            return answer.status, answer.fields

    async def names(self) -> list[tuple[str, int]]:
        """Names under the prefix, and their sizes, as LIST has them.

        Raises:
            FetchError: it isn't answered so.
        """
        async with self.client() as client:
            accept = ("Accept", "application/json")
            answer = await client.request("LIST", self.prefix, [accept])
            await expect(answer, 200)
            try:
                rows: list[dict[str, Any]] = json.loads(await answer.body())["objects"]
                folder = unquote(self.prefix)
                return [(unquote(row["path"]).removeprefix(folder), row["size"]) for row in rows]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise FetchError(f"LIST {self.prefix}: the answer is no listing") from error

    async def clear(self) -> None:
        """Take away all that is there.

        Raises:
            FetchError: something stays.
        """
        for name, _ in await self.names():
            async with self.client() as client:
                answer = await client.request("DELETE", self.prefix + name)
                await expect(answer, 200, 404)
                await answer.body()


def expect_taken(name: str, put: Got) -> None:
    """Hold a PUT's answer against what it should be.

    Raises:
        CheckError: it wasn't taken.
    """
    if put.status not in (200, 201):
        raise CheckError(f"status of PUT {name}: expected 201 or 200, got {put.said}")


async def together(*jobs: Callable[[], Awaitable[None]]) -> None:
    """Do all of them side by side; the first that fails ends the others.

    Raises:
        ChunkstoreError: what that one raised, without a group around it.
    """
    failures: list[ChunkstoreError] = []

    async def do(job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except ChunkstoreError as error:
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(do, job)
    if failures:
        raise failures[0]


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
