"""An origin and its admin side, over memory streams, on a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from chunkstore.admin import Admin
from chunkstore.server import StreamTransport
from tests.jumping import mark_jumping
from tests.origin.drive import Answer, Client, Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """This folder's tests run on a clock that jumps."""
    mark_jumping(items, Path(__file__).parent)


class Office:
    """An origin, and clients of its admin listener."""

    def __init__(self, site: Site, nursery: trio.Nursery) -> None:
        self.site = site
        self._nursery = nursery
        origin = site.origin
        self.admin = Admin(origin.server.settings, origin.catalog, origin.server, origin.gate)

    def connect(self) -> Client:
        """A new connection to the admin listener."""
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self.admin.server.serve, StreamTransport(theirs, "memory"))
        return Client(ours)

    async def get(self, target: str, *lines: str) -> Answer:
        """GET on a connection of its own."""
        client = self.connect()
        answer = await client.ask("GET", target, *(lines or ("Host: localhost:8081",)))
        await client.close()
        return answer

    async def metrics(self) -> dict[str, float]:
        """All samples by name and labels, as the exposition has them."""
        text = (await self.get("/metrics")).body.decode()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
async def office(nursery: trio.Nursery) -> Office:
    """An origin that runs, and its admin side."""
    rows = [
        {"match": "/endless/*", "on_idle": "complete"},
        {"match": "/short/*", "ttl": "2s"},
    ]
    site = await Site.open(nursery, memory_bytes=1_000_000, policies=rows)
    office = Office(site, nursery)
    await nursery.start(office.admin.run, ())
    return office
