"""A whole cluster in memory, as `chunkstore cluster check` sees it: the ports of its gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from trio.testing import memory_stream_pair

from chunkstore.client import Client, Connect, Url
from chunkstore.cluster.check import Peer
from chunkstore.cluster.inquiry import Inquiry
from chunkstore.cluster.links import Links
from chunkstore.cluster.overview import Overview
from chunkstore.cluster.reception import Reception
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.store import ClusterStore
from chunkstore.config import Settings
from chunkstore.server import Log, Server, StreamTransport
from tests.cluster.gateway import Gateway
from tests.cluster.nodes import SIGNER
from tests.origin.drive import WALL_S, Site

__all__ = ["PREFIX", "Service"]

PREFIX = "/a%20b/.check-0/"


class Service:
    """As above.

    Attributes:
        gateway: its nodes and metadata.
        store: its objects.
        site: what users talk to.
        peer: a client of it.
        overview: what its operator sees.
    """

    def __init__(
        self, gateway: Gateway, store: ClusterStore, site: Site, nursery: trio.Nursery
    ) -> None:
        self.gateway = gateway
        self.store = store
        self.site = site
        self._nursery = nursery
        self.peer = Peer(self.client, PREFIX)
        self.overview = Overview(gateway.membership, store)
        views = {"/status": self.overview.status, "/manifest": self.overview.manifest}
        self._reception = Reception(
            Settings(log="off"),
            gateway.membership,
            store.scribe,
            SIGNER,
            Log("off"),
            views,
            wall_s=_wall_s,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, count: int) -> AsyncIterator[Service]:
        """One with nodes 1 to `count`."""
        async with Gateway.open(count) as gateway, gateway.made() as store:
            async with trio.open_nursery() as nursery:
                site = await Site.open(nursery, disk=store)
                yield cls(gateway, store, site, nursery)
                nursery.cancel_scope.cancel()

    def client(self) -> Client:
        """A client of the users' port."""
        return Client(
            Url("http", "gateway.test", 80, "/"), connect=self._to(self.site.origin.server)
        )

    def inquiry(self, signer: Signer = SIGNER) -> Inquiry:
        """Who asks at the nodes' port."""
        url = Url("http", "gateway.test", 8090, "/")
        return Inquiry(url, signer, connect=self._to(self._reception.server), wall_s=_wall_s)

    def stranger(self) -> Inquiry:
        """Who takes the users' port for that of nodes."""
        url = Url("http", "gateway.test", 80, "/")
        return Inquiry(url, SIGNER, connect=self._to(self.site.origin.server), wall_s=_wall_s)

    def links(self, addresses: Callable[[int], str | None]) -> Links:
        """Links to its nodes, which are where the gateway says."""
        assert addresses(1) == self.gateway.nodes.address(1)
        return self.gateway.nodes.links()

    def _to(self, server: Server) -> Connect:
        async def connect(_: Url) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            self._nursery.start_soon(server.serve, StreamTransport(theirs, "memory"))
            return ours

        return connect


def _wall_s() -> float:
    return WALL_S + trio.current_time()
