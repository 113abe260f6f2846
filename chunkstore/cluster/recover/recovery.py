"""All of it over the network: nodes come to the gateway's address, are asked, and let go again.

The new metadata is made in a folder beside the one that it will have, and renamed when it is whole:
what was interrupted leaves nothing that a gateway could start with.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from chunkstore.client import expect
from chunkstore.cluster.database import disk_errors
from chunkstore.cluster.gateway import open_meta
from chunkstore.cluster.link import LAST_RETRY_S
from chunkstore.cluster.links import Links
from chunkstore.cluster.listing import list_page
from chunkstore.cluster.meta import Manifest, NodeRecord
from chunkstore.cluster.names import PARTS, parse_part, part_path
from chunkstore.cluster.reception import Reception
from chunkstore.cluster.recover.build import Builder, Pending, Report
from chunkstore.cluster.recover.copies import Copies
from chunkstore.cluster.recover.decide import described
from chunkstore.cluster.recover.known import Known, number_nodes
from chunkstore.cluster.recover.merge import Copy, Merge
from chunkstore.cluster.recover.muster import Muster
from chunkstore.cluster.scribe import Scribe
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.cluster.unit import Description
from chunkstore.config import Settings
from chunkstore.errors import ChunkstoreError, DataDirError, FetchError
from chunkstore.server import Listener, Log

__all__ = ["Order", "Recovery", "recover"]

SETTLE_S = LAST_RETRY_S + 1.0
"""Behind the last one that was waited for: all that are alive come within so long."""
TASKS = 64
"""Parts that are asked what they are at a time."""
TAIL_BYTES = 1024
"""Of a part: as long as nearly all descriptions."""
NAMED_COUNT = 5
"""Lost objects that an error names."""

LinksTo = Callable[[Callable[[int], str | None]], Links]
InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Attributes:
        folder: of the new metadata; there is none yet, or it is empty.
        count: nodes that are waited for.
        timeout_s: how long.
        drops_incomplete: go on without what can't be read.
    """

    folder: Path
    count: int
    timeout_s: float
    drops_incomplete: bool = False


async def recover(
    order: Order,
    secret: bytes,
    listeners: tuple[Listener, ...],
    say: Callable[[str], None],
) -> Report:
    """Make metadata from what the nodes of a cluster have.

    Args:
        order: as above.
        secret: of the cluster.
        listeners: where nodes look for their gateway.
        say: told in words how far it is.
    Raises:
        DataDirError: the folder isn't empty, or can't be made.
        ChunkstoreError: too few nodes came, or those of two clusters; one was lost in the middle;
            or there is what can't be read, and it wasn't ordered to do without. No folder is made.
        DiskError: the new metadata can't be written.
    Cancellation: no folder is made.
    """
    signer = Signer(secret)
    links_to = partial(Links, signer=signer, wall_s=time.time)
    with _workplace(order.folder) as text:
        work, muster, ear = Path(text), Muster(trio.current_time()), _Ear()
        failure: ChunkstoreError | None = None  # raised outside: callers see no group
        with closing(SqliteMeta(work / "came.sqlite")) as roll:
            scribe = Scribe(roll)
            reception = Reception(Settings(log="off"), muster, scribe, signer, ear)
            async with trio.open_nursery() as nursery:
                await nursery.start(scribe.run)
                await nursery.start(reception.run, listeners)
                try:
                    await _gather(order, muster, ear, say)
                    came = [one.record for one in muster.members.values()]
                    recovery = Recovery(work, muster.cluster_id, came, links_to, say)
                    report = await recovery.run(drops_incomplete=order.drops_incomplete)
                except ChunkstoreError as error:
                    failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        await trio.to_thread.run_sync(_publish, work / "new", order.folder)
    return report


class _Ear(Log):
    """Keeps why somebody was refused."""

    def __init__(self) -> None:
        super().__init__("off")
        self.refused = ""

    def note(self, text: str) -> None:
        if text.startswith("refused"):
            self.refused = text


async def _gather(order: Order, muster: Muster, ear: _Ear, say: Callable[[str], None]) -> None:
    """Wait for the nodes; then nobody else is let in."""
    say(f"waiting for {order.count} storage servers, for at most {order.timeout_s:g} s")
    with trio.move_on_after(order.timeout_s):
        while len(muster.members) < order.count and not muster.stranger:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.1)
    if len(muster.members) < order.count and not muster.stranger:
        came = [one.record.address for one in muster.members.values()]
        raise ChunkstoreError(
            f"{len(came)} of {order.count} storage servers came within {order.timeout_s:g} s"
            + (f": {', '.join(came)}" if came else "")
            + (f"; {ear.refused}" if ear.refused else "")
        )
    await trio.sleep(SETTLE_S)
    muster.is_closed = True
    if muster.stranger:
        raise ChunkstoreError(muster.stranger)
    say(f"{len(muster.members)} storage servers of the cluster {muster.cluster_id} are here")


class Recovery:
    """With the nodes that came.

    Args:
        work: a folder for all that is made on the way.
        cluster_id: of the cluster.
        came: the nodes, by any numbers.
        links_to: makes links to nodes at some addresses.
        say: told in words how far it is.
        in_thread: calls what blocks, in a thread.
    """

    def __init__(
        self,
        work: Path,
        cluster_id: str,
        came: Sequence[NodeRecord],
        links_to: LinksTo,
        say: Callable[[str], None],
        in_thread: InThread = trio.to_thread.run_sync,
    ) -> None:
        self._work = work
        self._cluster_id = cluster_id
        self._came = came
        self._links_to = links_to
        self._say = say
        self._in_thread = in_thread

    async def run(self, *, drops_incomplete: bool = False) -> Report:
        """The new metadata is in the folder `new` of the work's, whole and durable.

        Args:
            drops_incomplete: go on without what can't be read.
        Raises:
            ChunkstoreError: a node was lost; or there is what can't be read.
            DiskError: the new metadata can't be written.
        """
        addresses = {one.number: one.address for one in self._came}
        async with self._links_to(addresses.get) as links:
            copies = Copies(links, self._work, self._cluster_id, self._say, self._in_thread)
            copy = await copies.newest(list(addresses))
        try:
            report = await self._build(await self._in_thread(partial(Known, copy)))
        finally:
            if copy is not None:
                copy.close()
        if report.incomplete and not drops_incomplete:
            raise ChunkstoreError(_say_incomplete(report))
        return report

    async def _build(self, known: Known) -> Report:
        nodes = number_nodes(known.records, self._came)
        ids = {one.id for one in self._came}
        here = {one.number: one.address for one in nodes if one.id in ids}
        for number, node_id, address, *_ in nodes:
            if number not in here:
                self._say(f"node {number}, which was at {address}, is not here ({node_id})")
        meta = open_meta(self._work / "new", self._cluster_id)
        try:
            builder = await self._in_thread(partial(Builder, meta, known, nodes, here))
            async with self._links_to(here.get) as links:
                return await _Walk(links, list(here), builder, self._in_thread).run()
        finally:
            meta.close()


class _Walk:
    """Along all that nodes have."""

    def __init__(
        self, links: Links, nodes: Sequence[int], builder: Builder, in_thread: InThread
    ) -> None:
        self._links = links
        self._builder = builder
        self._in_thread = in_thread
        self._merge = Merge(nodes)
        self._after = dict.fromkeys(nodes, "")
        self._error: FetchError | None = None

    async def run(self) -> Report:
        """To its end.

        Raises:
            FetchError: a node doesn't say what it has.
        """
        merge, builder = self._merge, self._builder
        while wanted := merge.wanted:
            async with trio.open_nursery() as nursery:
                for node in wanted:
                    nursery.start_soon(self._page, node)
            if self._error is not None:
                raise self._error
            founds, below = merge.take(), merge.horizon
            batch = await self._in_thread(partial(builder.pending, founds, below))
            await self._in_thread(partial(builder.write, await self._described(batch)))
        report: Report = await self._in_thread(partial(builder.finish, merge.highest))
        return report

    async def _page(self, node: int) -> None:
        try:
            page = await list_page(self._links, node, PARTS, self._after[node])
        except FetchError as error:
            self._error = error
            return
        parts = ((parse_part(row.path), row.size_bytes) for row in page.rows)
        copies = [Copy(part, node, size_bytes) for part, size_bytes in parts if part is not None]
        self._merge.feed(node, copies, is_last=page.next_after is None)
        self._after[node] = page.next_after or ""

    async def _described(self, batch: Sequence[Pending]) -> list[Pending]:
        """With what parts say of those that nobody else knows of."""
        told = list(batch)
        todo = iter([i for i, one in enumerate(batch) if one.expected is None])
        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(self._ask, told, todo)
        return told

    async def _ask(self, told: list[Pending], todo: Iterator[int]) -> None:
        for i in todo:
            found = told[i].found
            for copy in found.copies:
                manifest = await self._manifest(copy)
                if manifest is not None:
                    told[i] = Pending(found, manifest)
                    self._builder.report.described_count += 1
                    break

    async def _manifest(self, copy: Copy) -> Manifest | None:
        """What a part says that its object is; None: nothing that could be right."""
        assert copy.size_bytes is not None
        try:
            tail = await self._tail(copy, TAIL_BYTES)
            size = Description.size_of(tail)
            if size is not None and TAIL_BYTES < size <= copy.size_bytes:
                tail = await self._tail(copy, size)
        except FetchError:
            return None
        description = Description.parse(tail)
        if description is None:
            return None
        if (description.generation, description.part) != (copy.part.generation, copy.part.index):
            return None
        return described(description, copy.size_bytes)

    async def _tail(self, copy: Copy, size_bytes: int) -> bytes:
        assert copy.size_bytes is not None
        start = max(0, copy.size_bytes - size_bytes)
        fields = [("Range", f"bytes={start}-{copy.size_bytes - 1}")]
        path, generation = part_path(copy.part), copy.part.generation
        async with self._links.request(
            copy.node, "GET", path, generation=generation, fields=fields
        ) as answer:
            await expect(answer, 206)
            return await answer.body()


def _say_incomplete(report: Report) -> str:
    lost = report.incomplete
    named = [
        f"{one.key or 'what no part names'} (generation {one.generation})"
        for one in lost[:NAMED_COUNT]
    ]
    if len(lost) > NAMED_COUNT:
        named.append(f"and {len(lost) - NAMED_COUNT} more")
    return (
        f"of {len(lost)} uploads too few parts are here to read them: {', '.join(named)};"
        " start the storage servers that are missing, or go on without with --drop-incomplete"
    )


def _workplace(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Where the new metadata is made: beside where it will be.

    Raises:
        DataDirError: it isn't to be made there.
    """
    parent = folder.absolute().parent
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataDirError(folder, "expected a new or an empty folder for the metadata")
        parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".recover-", dir=parent)
    except OSError as error:
        raise DataDirError(folder, error.strerror or str(error)) from error


def _publish(made: Path, folder: Path) -> None:
    """The name that gateways look for; blocking."""
    with disk_errors(folder):
        made.rename(folder)
        fd = os.open(folder.absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
