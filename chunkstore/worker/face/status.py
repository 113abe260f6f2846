"""How it stands with a worker: as JSON, and as figures for /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from chunkstore.metrics import Figure
from chunkstore.server import Exchange
from chunkstore.wire import field_block
from chunkstore.worker.assignment import Assignment
from chunkstore.worker.core.states import State
from chunkstore.worker.face.shown import encode, status_members
from chunkstore.worker.manager import ChunkManager, WorkerStatus

__all__ = ["Reporter"]

_JSON = field_block([("Content-Type", "application/json"), ("Cache-Control", "no-store")])


class Reporter:
    """Says how it stands.

    Args:
        manager: has the chunks.
        assignment: says which; None: callers do.
        in_thread: calls what takes long with many chunks, in a thread.
    """

    def __init__(
        self,
        manager: ChunkManager,
        assignment: Assignment | None,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        self._manager = manager
        self._assignment = assignment
        self._in_thread = in_thread

    async def answer(self, exchange: Exchange) -> None:
        """All of it, as JSON."""
        status: WorkerStatus = await self._in_thread(self._manager.status)
        source, assignment = self._assignment, None
        if source is not None:
            assignment = {"source": source.source, "chunks": source.count, "error": source.error}
        members = status_members(status, assignment, self._troubles(status))
        await exchange.respond(200, _JSON, encode(members))

    async def troubles(self) -> list[str]:
        """What is wrong, a sentence each."""
        return self._troubles(await self._in_thread(self._manager.status))

    def _troubles(self, status: WorkerStatus) -> list[str]:
        found = []
        if self._assignment is not None and self._assignment.error:
            found.append(f"the assignment is not in force: {self._assignment.error}")
        if status.is_full:
            found.append("the disk is full: downloads wait")
        if status.notes_error:
            found.append(f"what is wanted can't be noted: {status.notes_error}")
        if failed := status.counts.get(State.FAILED):
            found.append(f"chunks that can't be had, and aren't tried again: {failed}")
        return found

    async def figures(self) -> list[Figure]:
        """For /metrics."""
        status: WorkerStatus = await self._in_thread(self._manager.status)
        return list(_figures(status, len(self._troubles(status))))


def _figures(status: WorkerStatus, trouble_count: int) -> Iterator[Figure]:
    counts = {
        state.name.lower(): status.counts.get(state, 0)
        for state in State
        if state is not State.GONE
    }
    space = {"stored": status.stored_bytes, "claimed": status.claimed_bytes}
    ends = {"published": status.published_count, "failed": status.failure_count}
    yield Figure("worker_chunks", "Chunks by their state.", "state", counts)
    yield Figure("worker_bytes", "The data folder.", "use", space)
    yield Figure("worker_downloads", "Downloads by how they ended.", "outcome", ends, True)
    fetched = {"": status.fetched_bytes}
    yield Figure("worker_fetched_bytes", "Bytes that came.", "", fetched, True)
    yield Figure("worker_references", "References held.", "", {"": status.hold_count})
    yield Figure("worker_troubles", "Things that are wrong.", "", {"": trouble_count})
