"""Connections to the nodes: kept, counted, and every request on them signed.

A connection carries one request at a time, so requests to a node side by side have one each. One
whose answer was read to its end is kept for the next; any other is closed, since what is still on
its way has no reader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from chunkstore.client import Answer, Client, Connect, Timeouts, dial, parse_url
from chunkstore.cluster.sign import Signer
from chunkstore.errors import ConnectError

__all__ = ["IDLE_MAX", "IDLE_S", "LINKS_MAX", "Links"]

LINKS_MAX = 512
"""Connections to a node at a time. Uploads have one to each of theirs for as long as they last."""
IDLE_MAX = 32
"""Of those, the ones that are kept although they carry nothing."""
IDLE_S = 20.0
"""One that carried nothing for so long is closed: before its node does, after 75 s."""


@dataclass(slots=True)
class _Peer:
    """A node, as it was last seen here.

    Attributes:
        idle: since when, whereto, and the connection; the longest idle first.
    """

    slots: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(LINKS_MAX))
    idle: deque[tuple[float, str, Client]] = field(default_factory=deque)


class Links(trio.abc.AsyncResource):
    """Makes signed requests of nodes.

    Args:
        addresses: HOST:PORT of a node by its number, None while it has none.
        signer: has the secret of the cluster.
        wall_s: Unix time, for the signatures.
        timeouts: how long a node may be silent.
        connect: makes a connection.
    """

    def __init__(
        self,
        addresses: Callable[[int], str | None],
        signer: Signer,
        *,
        wall_s: Callable[[], float],
        timeouts: Timeouts | None = None,
        connect: Connect = dial,
    ) -> None:
        self._addresses = addresses
        self._signer = signer
        self._wall_s = wall_s
        self._timeouts = timeouts or Timeouts()
        self._connect = connect
        self._peers: dict[int, _Peer] = {}

    @asynccontextmanager
    async def request(
        self,
        node: int,
        method: str,
        target: str,
        *,
        generation: int | None,
        fields: Sequence[tuple[str, str]] = (),
        body: AsyncIterable[bytes] | bytes | None = None,
        length: int | None = None,
    ) -> AsyncGenerator[Answer, None]:
        """Make a request, and have its answer for as long as the context lasts.

        Args:
            node: number of the node.
            target: path and query, percent-encoded.
            generation: whose part it is about; None: it is about none.
            fields: beyond what `Client` sends, and the signature.
            body, length: as for `Client.request`.
        Raises:
            ConnectError: the node has no address, takes no connection, or has as many as it may.
            FetchError: as `Client.request`.
            Exception: whatever `body` raised.
        Cancellation: the connection is closed, and no other one is touched.
        """
        if body is None or isinstance(body, bytes):
            length = len(body or b"")
        signature = self._signer.field(
            method, target, now_s=self._wall_s(), length=length, generation=generation
        )
        peer = self._peers.setdefault(node, _Peer())
        address = self._addresses(node)
        if address is None:
            raise ConnectError(f"{method} {target}: node {node} has no address")
        await self._take_slot(peer, node)
        client = None
        try:
            client = await self._kept(peer, address) or self._made(address)
            yield await client.request(
                method, target, [signature, *fields], body=body, length=length
            )
        finally:
            peer.slots.release()
            if client is not None and client.is_ready and len(peer.idle) < IDLE_MAX:
                peer.idle.append((trio.current_time(), address, client))
            elif client is not None:
                await client.aclose()

    def busy(self, node: int) -> int:
        """How many connections to a node carry a request now."""
        return LINKS_MAX - self._peers[node].slots.value if node in self._peers else 0

    async def aclose(self) -> None:
        """Close what is idle; what carries a request is closed at its end, by cancelling it."""
        for peer in self._peers.values():
            while peer.idle:
                await peer.idle.popleft()[2].aclose()

    async def _take_slot(self, peer: _Peer, node: int) -> None:
        with suppress(trio.WouldBlock):
            peer.slots.acquire_nowait()
            return
        # Bounded, since uploads that have some connections wait here for their others.
        with trio.move_on_after(self._timeouts.connect_s):
            await peer.slots.acquire()
            return
        raise ConnectError(f"node {node} has {LINKS_MAX} connections, and none became free")

    async def _kept(self, peer: _Peer, address: str) -> Client | None:
        """The one that carried something last: the others may grow old."""
        while peer.idle and peer.idle[0][0] < trio.current_time() - IDLE_S:
            await peer.idle.popleft()[2].aclose()
        while peer.idle:
            _, its_address, client = peer.idle.pop()
            if its_address == address and client.is_ready:
                return client
            await client.aclose()
        return None

    def _made(self, address: str) -> Client:
        url = parse_url(f"http://{address}/")
        return Client(url, timeouts=self._timeouts, connect=self._connect)
