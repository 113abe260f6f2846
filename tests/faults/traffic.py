"""A load on a cluster's gateway, whose every answer is judged.

Each name has one writer. So a GET may have what was acknowledged last before it was asked, and what
was asked for until it was answered; nothing else, and nothing in part.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from random import Random

import trio

from chunkstore.client import Answer, Client
from chunkstore.errors import FetchError
from tests.faults.cluster import Cluster
from tests.faults.running import Body

__all__ = ["Traffic", "sha256_field"]

WRITERS = 4
READERS = 3
SMALL_BYTES = 4 << 20
LARGE_BYTES = 12 << 20
LARGE_SHARE = 0.02
OVERWRITE_SHARE = 0.2
PIECE_BYTES = 300_000


def sha256_field(content: bytes) -> str:
    """Its Repr-Digest."""
    return f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"


class Traffic:
    """Writers and readers.

    Args:
        cluster: whose gateway they talk to.
        seed: of all chance.

    Attributes:
        acknowledged: PUTs that were.
        counts: what else came of requests, for who asks how the test went.
    """

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._chance = Random(seed)
        self._seeds: Iterator[int] = iter(range(seed * 1_000_000, (seed + 1) * 1_000_000))
        self._may: dict[str, list[Body | None]] = {}
        self._open: dict[str, Body] = {}
        self._grew = trio.Event()
        self.acknowledged = 0
        self.counts: Counter[str] = Counter()

    async def until(self, count: int) -> None:
        """Wait until so many PUTs were acknowledged."""
        while self.acknowledged < count:
            await self._grew.wait()

    async def write(self, count: int) -> None:
        """Have so many acknowledged, by several writers, while others read."""
        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(self._read_on)
            nursery.start_soon(self._follow_on)
            async with trio.open_nursery() as writing:
                for writer in range(WRITERS):
                    writing.start_soon(self._write_on, writer, self.acknowledged + count)
            nursery.cancel_scope.cancel()

    async def read_all(self) -> None:
        """Every name, by several readers: it has what it must, and HEAD says the same of it."""
        left = iter(sorted(self._may))

        async def read() -> None:
            async with self._cluster.client() as client:
                for key in left:
                    content = await self._get(client, key)
                    head = await client.request("HEAD", key)
                    length = None if content is None else len(content)
                    assert head.length == length or content is None, (key, head.length, length)
                    self.counts["read at rest"] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(read)

    # --- writers -------------------------------------------------------------------------------

    async def _write_on(self, writer: int, upto: int) -> None:
        async with self._cluster.client() as client:
            number = 0
            while self.acknowledged < upto:
                number += 1
                old = [key for key in self._may if key.startswith(f"/{writer}/")]
                is_old = old and self._chance.random() < OVERWRITE_SHARE
                key = (
                    self._chance.choice(old)
                    if is_old
                    else f"/{writer}/{self.acknowledged}.{number}"
                )
                await self._put(client, key)

    async def _put(self, client: Client, key: str) -> None:
        size = int(SMALL_BYTES ** self._chance.random())
        if self._chance.random() < LARGE_SHARE:
            size = LARGE_BYTES
        body = Body(next(self._seeds), size)
        before = self._may.get(key, [None])
        self._may[key] = [*before, body]
        length = self._chance.choice([None, size])
        self._open[key] = body
        answer = await client.request("PUT", key, body=self._pieces(body), length=length)
        said = await answer.body()
        del self._open[key]
        if answer.status == 503:  # a busy machine may lose a third node for a while
            assert b"storage nodes" in said
            self._may[key] = before
            self.counts["refused"] += 1
            return
        assert answer.status == (201 if before == [None] else 200), (key, answer.status, said)
        self._may[key] = [body]
        self.acknowledged += 1
        self.counts[f"redundancy {answer.fields['chunkstore-redundancy']}"] += 1
        self._grew.set()
        self._grew = trio.Event()

    async def _pieces(self, body: Body) -> AsyncIterator[bytes]:
        content = memoryview(body.content())
        for start in range(0, len(content), PIECE_BYTES):
            yield bytes(content[start : start + PIECE_BYTES])
            await trio.lowlevel.checkpoint()

    # --- readers -------------------------------------------------------------------------------

    async def _read_on(self) -> None:
        async with self._cluster.client() as client:
            while True:
                key = self._chance.choice([*self._may, "/none"])
                await self._get(client, key)
                self.counts["read under load"] += 1
                await trio.sleep(0.005)

    async def _follow_on(self) -> None:
        """Those that are being written, to their end."""
        async with self._cluster.client() as client:
            while True:
                if self._open:
                    await self._get(client, self._chance.choice([*self._open]))
                await trio.sleep(0.01)

    async def _get(self, client: Client, key: str) -> bytes | None:
        """What a name has, which it may have."""
        may = list(self._may.get(key, [None]))
        answer = await client.request("GET", key, [("TE", "trailers")])
        content = await self._whole(answer)
        may += [one for one in self._may.get(key, [None]) if one not in may]
        if answer.status == 404:
            assert None in may, f"{key} is lost"
            return None
        assert answer.status == 200, (key, answer.status, content)
        right = [one for one in may if one is not None and one.size_bytes == len(content)]
        assert any(one.content() == content for one in right), (key, len(content), may)
        digest = {**answer.fields, **answer.trailers}.get("repr-digest")
        if "trailer" in answer.fields:
            self.counts["followed"] += 1
            assert digest is not None
        assert digest in (None, sha256_field(content))
        return content

    async def _whole(self, answer: Answer) -> bytes:
        pieces: list[bytes] = []
        try:
            while (piece := await answer.piece()) is not None:
                pieces.append(piece.data)
        except FetchError as error:
            raise AssertionError(f"{answer.asked} was cut: {error}") from error
        return b"".join(pieces)
