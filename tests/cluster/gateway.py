"""A gateway's store over nodes in memory, with metadata in a file, on a clock that jumps."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import trio

from chunkstore.cluster.fleet import Fleet
from chunkstore.cluster.hello import Fill
from chunkstore.cluster.membership import Membership
from chunkstore.cluster.meta import Meta, NodeRecord
from chunkstore.cluster.scribe import Scribe
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.cluster.store import ClusterStore
from chunkstore.errors import DiskError
from tests.cluster.nodes import Nodes
from tests.origin.drive import WALL_S

__all__ = ["Gateway", "inline", "put"]

CAPACITY_BYTES = 2**40


async def inline(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """In place of a thread, which a clock that jumps would leap over."""
    await trio.lowlevel.checkpoint()
    return call()


class Gateway:
    """What outlives the lives of a gateway: nodes and metadata.

    Attributes:
        nodes: as above.
        meta: as above, of the life under way.
        membership: of the life under way; its nodes are as alive as `nodes` has them.
    """

    def __init__(self, nodes: Nodes, folder: Path) -> None:
        self.nodes = nodes
        self._path = folder / "meta.sqlite"
        self._random = Random(0)

    @classmethod
    @asynccontextmanager
    async def open(cls, count: int) -> AsyncIterator[Gateway]:
        """One with nodes 1 to `count`."""
        with tempfile.TemporaryDirectory() as folder:
            async with trio.open_nursery() as nursery:
                nodes = await Nodes.open(nursery, count, with_store=True)
                yield cls(nodes, Path(folder))
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def life(self, **timeouts: float) -> AsyncIterator[ClusterStore]:
        """The store at work; at the end it is stopped well."""
        async with self.made(**timeouts) as store, trio.open_nursery() as nursery:
            await nursery.start(store.run)
            yield store
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def made(self, **timeouts: float) -> AsyncIterator[ClusterStore]:
        """The store, for who runs it."""
        self.meta = SqliteMeta(self._path)
        try:
            records = [self._record(self.meta, number) for number in self.nodes.sites]
            self.membership = Membership(self.meta.cluster_id, records, trio.current_time())
            for record in records:
                self.hear(record)
            fleet = Fleet(self.membership, lambda: 0.0, self._random.random)
            links = self.nodes.links(**timeouts)
            async with links:
                yield ClusterStore(
                    self.meta,
                    Scribe(self.meta, inline),
                    fleet,
                    links,
                    wall_s=lambda: WALL_S + trio.current_time(),
                    in_thread=inline,
                )
        finally:
            self.meta.close()

    def hear(self, record: NodeRecord) -> None:
        """A node is there, and empty."""
        self.membership.enter(record, Fill(CAPACITY_BYTES, 0, 0, CAPACITY_BYTES), 0.0)

    @staticmethod
    def _record(meta: Meta, number: int) -> NodeRecord:
        address = f"node{number}.test:80"

        def register(meta: Meta) -> NodeRecord:
            return meta.register(f"{number:032x}", address, CAPACITY_BYTES, "i" * 16, WALL_S)

        [record] = meta.batch([register])
        assert isinstance(record, NodeRecord)
        return record


async def put(store: ClusterStore, key: str, data: bytes, run_bytes: int = 1 << 20) -> None:
    """Have a name have this.

    Raises:
        DiskError: it couldn't be stored.
    """
    upload = store.begin(key)
    for start in range(0, len(data), run_bytes):
        await upload.append([data[start : start + run_bytes]])
    told: list[DiskError | None] = []
    done = trio.Event()

    def on_done(error: DiskError | None) -> None:
        told.append(error)
        done.set()

    upload.commit(len(data), b"facts", on_done)
    await done.wait()
    if told[0] is not None:
        raise told[0]
