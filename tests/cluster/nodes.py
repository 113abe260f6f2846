"""Origins over memory streams as the nodes of a cluster, and what may be wrong with each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

from chunkstore.client import Timeouts, Url
from chunkstore.cluster.codec import Codec
from chunkstore.cluster.links import Links
from chunkstore.cluster.names import Part, parse_part, part_path
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.stripe import STRIPE_BYTES, K, cut
from chunkstore.cluster.unit import Record
from chunkstore.server import Exchange, Handler, StreamTransport
from chunkstore.testing import ReferenceStore
from tests.origin.drive import WALL_S, Site

__all__ = ["SIGNER", "Mishap", "Nodes", "Trusting", "parts_of", "signed"]

Stream: TypeAlias = "trio.StapledStream[MemorySendStream, MemoryReceiveStream]"
SIGNER = Signer(b"the secret of all")

Mishap: TypeAlias = Callable[[Exchange, Handler], Awaitable[None]]
"""Answers a request in place of a handler, or has that do so after all."""


def parts_of(data: bytes, generation: int, m: int, description: bytes = b"CSd1") -> list[bytes]:
    """An object's parts, as they lie on nodes."""
    codec = Codec(m)
    parts = [bytearray() for _ in range(K + m)]
    for stripe, start in enumerate(range(0, len(data), STRIPE_BYTES)):
        units = cut(data[start : start + STRIPE_BYTES])
        for index, unit in enumerate([*units, *codec.encode(units)]):
            parts[index] += Record(generation, index, stripe, unit).header() + unit
    return [bytes(part + description) for part in parts]


class Trusting:
    """In place of a node's guard: it lets all in."""

    def protect(self, method: str, handler: Handler) -> Handler:
        """The handler."""
        return handler


class Nodes:
    """Nodes 1 to `count`, started in `nursery`; each refuses what isn't signed.

    Attributes:
        down: numbers of nodes that take no connection.
        stopped: numbers of nodes that take requests and answer none.
        mishaps: by number of the node.
        asked: number of the node, method and target of each request, in order.
        made: our ends of all connections.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.sites: dict[int, Site] = {}
        self.down: set[int] = set()
        self.stopped: set[int] = set()
        self.mishaps: dict[int, Mishap] = {}
        self.asked: list[tuple[int, str, str]] = []
        self.made: list[Stream] = []

    @property
    def open_count(self) -> int:
        """Connections that are open at our end."""
        return sum(not stream.receive_stream._closed for stream in self.made)

    @classmethod
    async def open(cls, nursery: trio.Nursery, count: int, *, with_store: bool = False) -> Nodes:
        """Start them, in memory alone or with a store behind each."""
        nodes = cls(nursery)
        for _ in range(count):
            await nodes.add(with_store=with_store)
        return nodes

    async def add(self, *, with_store: bool = False) -> int:
        """Start one more; its number."""
        changes: dict[str, object] = {"guard": Trusting()}
        if with_store:
            changes["disk"] = ReferenceStore()
        number = len(self.sites) + 1
        site = self.sites[number] = await Site.open(self._nursery, **changes)
        handlers = site.origin.server._handlers
        for method, handler in list(handlers.items()):
            assert isinstance(handlers, dict)
            handlers[method] = partial(self._answer, number, handler)
        return number

    def links(self, **timeouts: float) -> Links:
        """Links to them, as a gateway has them."""
        return Links(
            self.address,
            SIGNER,
            wall_s=lambda: WALL_S + trio.current_time(),
            timeouts=Timeouts(**timeouts),
            connect=self._connect,
        )

    def address(self, number: int) -> str | None:
        """HOST:PORT of a node; None for one that never was."""
        return f"node{number}.test:80" if number in self.sites else None

    async def put(self, parts: Sequence[bytes], generation: int) -> None:
        """Store part i on node i + 1."""
        for index, data in enumerate(parts):
            answer = await self.sites[index + 1].put(
                path := part_path(Part(generation, index)), data, signed(path, len(data))
            )
            assert answer.status == 201

    async def content(self, number: int, part: Part) -> bytes | None:
        """A part as a node has it; None: it has none that is whole."""
        site, path = self.sites[number], part_path(part)
        generation = site.origin.catalog.namespace.visible(path)
        if generation is None or generation.is_open:
            return None
        answer = await site.get(path, signed(path, 0, "GET"))
        return answer.body if answer.status == 200 else None

    def listed(self, number: int) -> set[Part]:
        """The parts that a node has, whole or not."""
        names = self.sites[number].origin.catalog.namespace._entries
        return {part for name in names if (part := parse_part(name)) is not None}

    async def spoil(self, number: int, part: Part) -> None:
        """Have a part be other bytes than it should, of the same length."""
        data = await self.content(number, part)
        assert data is not None
        wrong = bytes(byte ^ 0x55 for byte in data[:4096]) + data[4096:]
        path = part_path(part)
        answer = await self.sites[number].put(path, wrong, signed(path, len(wrong)))
        assert answer.status in (200, 201)

    async def _connect(self, url: Url) -> trio.abc.Stream:
        number = int(url.host.removeprefix("node").removesuffix(".test"))
        await trio.lowlevel.checkpoint()
        if number in self.down:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = memory_stream_pair()
        self.made.append(ours)
        server = self.sites[number].origin.server
        self._nursery.start_soon(server.serve, StreamTransport(theirs, "memory"))
        return ours

    async def _answer(self, number: int, handler: Handler, exchange: Exchange) -> None:
        request = exchange.request
        part = parse_part(request.path)
        self.asked.append((number, request.method, request.target))
        length = request.fields.get("content-length")
        is_chunked = request.fields.get("transfer-encoding") is not None
        denial = SIGNER.judge(
            request.method,
            request.target,
            request.fields.get("authorization"),
            now_s=WALL_S + trio.current_time(),
            length=None if is_chunked else int(length or 0),
            generation=part.generation if part else None,
        )
        if denial is not None:
            await exchange.refuse(denial.status, denial.detail)
        elif number in self.stopped:
            await trio.sleep_forever()
        elif number in self.mishaps:
            await self.mishaps[number](exchange, handler)
        else:
            await handler(exchange)


def signed(path: str, length: int | None, method: str = "PUT") -> str:
    """The header line that signs a request for a part; `length` None: chunked."""
    part = parse_part(path)
    assert part is not None
    name, value = SIGNER.field(
        method, path, now_s=WALL_S + trio.current_time(), length=length, generation=part.generation
    )
    return f"{name}: {value}"
