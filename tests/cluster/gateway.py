"""A gateway's store over nodes in memory, with metadata in a file, on a clock that jumps."""

from __future__ import annotations

import math
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import trio

from chunkstore.cluster.fleet import Fleet
from chunkstore.cluster.hello import Fill
from chunkstore.cluster.membership import HEARTBEAT_S, Membership
from chunkstore.cluster.meta import Meta, NodeRecord
from chunkstore.cluster.names import Part
from chunkstore.cluster.scribe import Scribe
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.cluster.store import ClusterStore
from chunkstore.errors import DiskError
from tests.cluster.nodes import Nodes
from tests.origin.drive import WALL_S

__all__ = ["Gateway", "inline", "put"]

CAPACITY_BYTES = 2**40
_SHM = Path("/dev/shm")
MEMORY = _SHM if _SHM.is_dir() else None
"""Where syncs cost nothing: what a power cut leaves is no matter here."""


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
        capacities: of nodes that haven't that of all.
        absent: the last of the nodes, which have not registered yet.
    """

    def __init__(self, nodes: Nodes, folder: Path) -> None:
        self.nodes = nodes
        self.capacities: dict[int, int] = {}
        self.absent: set[int] = set()
        self.is_beating = False
        self._path = folder / "meta.sqlite"
        self._random = Random(0)

    @classmethod
    @asynccontextmanager
    async def open(cls, count: int, kind: type[Nodes] = Nodes) -> AsyncIterator[Gateway]:
        """One with nodes 1 to `count`."""
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            async with trio.open_nursery() as nursery:
                nodes = await kind.open(nursery, count, with_store=True)
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
            numbers = [number for number in self.nodes.sites if number not in self.absent]
            records = [self._record(self.meta, number) for number in numbers]
            self.membership = Membership(self.meta.cluster_id, records, trio.current_time())
            for record in records:
                self.hear(record)
            fleet = Fleet(self.membership, self._now_s, self._random.random)
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

    def _now_s(self) -> float:
        """Nobody is silent, unless a test has them beat."""
        return trio.current_time() if self.is_beating else 0.0

    def hear(self, record: NodeRecord) -> None:
        """A node is there from now on, and empty."""
        fill = Fill(record.capacity_bytes, 0, 0, record.capacity_bytes)
        self.membership.enter(record, fill, trio.current_time() if self.is_beating else math.inf)

    async def join(self) -> int:
        """One more node; its number."""
        number = await self.nodes.add(with_store=True)
        self.hear(self._record(self.meta, number))
        return number

    def lose(self, number: int) -> None:
        """A node is gone, and it is known."""
        member = self.membership.members[number]
        member.is_ending, member.heard_s = True, trio.current_time()
        self.nodes.down.add(number)

    def find(self, number: int) -> None:
        """A node is back, with all that it had."""
        self.nodes.down.discard(number)
        self.hear(self.membership.members[number].record)

    def strays(self, store: ClusterStore, keys: Iterable[str]) -> set[tuple[int, Part]]:
        """Parts on nodes that are there of which no manifest says that they are."""
        manifests = [one for key in keys if (one := store.manifest(key)) is not None]
        named = {
            (node, Part(one.generation, index))
            for one in manifests
            for index, node in enumerate(one.nodes)
        }
        up = self.nodes.sites.keys() - self.nodes.down
        return {(node, part) for node in up for part in self.nodes.listed(node)} - named

    async def come(self, store: ClusterStore, number: int) -> None:
        """A node that was absent registers."""
        self.absent.remove(number)
        self.hear(await store.scribe.ask(partial(self._register, number)))

    async def beat(self) -> None:
        """Have all nodes say every 3 s how full they are, but those that are down."""
        self.is_beating = True
        while True:
            for number, member in self.membership.members.items():
                store = self.nodes.sites[number].origin._disk
                if number not in self.nodes.down and store is not None:
                    capacity_bytes, live_bytes = member.record.capacity_bytes, store.live_bytes()
                    free_bytes = capacity_bytes - live_bytes
                    member.fill = Fill(capacity_bytes, live_bytes, live_bytes, free_bytes)
                    member.heard_s = trio.current_time()
            await trio.sleep(HEARTBEAT_S)

    def _record(self, meta: Meta, number: int) -> NodeRecord:
        [record] = meta.batch([partial(self._register, number)])
        assert isinstance(record, NodeRecord)
        return record

    def _register(self, number: int, meta: Meta) -> NodeRecord:
        capacity_bytes = self.capacities.get(number, CAPACITY_BYTES)
        address = f"node{number}.test:80"
        return meta.register(f"{number:032x}", address, capacity_bytes, "i" * 16, WALL_S)


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
