"""The operator's listener of a worker."""

from __future__ import annotations

import time
from collections.abc import Callable

from chunkstore.admin import COMMON, TEXT, Desk, Exposition
from chunkstore.server import Exchange
from chunkstore.worker.face.worker import Worker

__all__ = ["Office"]


class Office(Desk):
    """Metrics, health and status of one worker.

    Args:
        worker: runs.
        wall_s: Unix time.
    """

    def __init__(self, worker: Worker, *, wall_s: Callable[[], float] = time.time) -> None:
        self._worker = worker
        exposition = Exposition(None, worker.server, COMMON, worker.figures)
        paths = {
            "/metrics": exposition.answer,
            "/health/ready": self._ready,
            "/status": worker.answer_status,
        }
        super().__init__(worker.server.settings, worker.gate, paths, wall_s=wall_s)

    async def _ready(self, exchange: Exchange) -> None:
        """A worker with troubles goes on serving what it has: they are said, and it is ready."""
        if self._worker.server.is_draining:
            await exchange.refuse(503, "draining: running requests finish, new ones go elsewhere")
            return
        troubles = await self._worker.troubles()
        body = "".join(f"{line}\n" for line in ["ready", *troubles])
        await exchange.respond(200, TEXT, body.encode())
