"""The parts of an origin, put together."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

import trio

from chunkstore.auth import Gate
from chunkstore.config import Settings
from chunkstore.journal import Journal
from chunkstore.live import Catalog, Shelf
from chunkstore.metrics import Figure, Metrics
from chunkstore.objects import Namespace
from chunkstore.origin.browser import ALLOWED, CORS_FIELDS, options
from chunkstore.origin.guard import Guard, Protection
from chunkstore.origin.listing import Listing
from chunkstore.origin.read import Reading
from chunkstore.origin.write import Writing
from chunkstore.server import Handler, Listener, Log, Server
from chunkstore.store import MemoryStore, Store

__all__ = ["Origin"]


class Origin:
    """A live origin, ready to `run`.

    Args:
        settings: limits, policies, tokens.
        log: gets a line a request.
        sign_keys: what signed URLs are checked with.
        disk: where objects are kept; None: in memory alone.
        guard: who gets to them; None: whom the settings' tokens let in.
        wall_s: Unix time, by which credentials expire.

    Attributes:
        catalog: its objects.
        gate: who may do what; the admin listener asks it too.
        metrics: what it counts.
        server: its connections; `server.serve(transport)` serves one more, over any transport.
    """

    def __init__(
        self,
        settings: Settings,
        log: Log,
        sign_keys: Sequence[bytes] = (),
        *,
        disk: Store | None = None,
        guard: Protection | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.metrics = Metrics()
        self.gate = Gate(
            settings.tokens,
            sign_keys,
            open_reads=settings.open_reads,
            open_writes=settings.open_writes,
        )
        namespace = Namespace(secrets.token_hex(4), settings.hold_cap_s)
        self.catalog = Catalog(
            namespace,
            MemoryStore(settings.memory_bytes),
            self.metrics,
            Journal(),
            max_objects=settings.max_objects,
            max_waiters=settings.max_waiters,
        )
        policies = settings.policy_table()
        self._disk = disk
        if disk is not None:
            self.catalog.shelf = namespace.backing = Shelf(disk, self.catalog, policies)
        listing = Listing(namespace, lambda: time.time() - trio.current_time())
        reading = Reading(self.catalog, policies, listing, settings.hold_cap_s)
        writing = Writing(self.catalog, policies, settings)
        by_method: dict[str, Handler] = {
            "GET": reading.get,
            "HEAD": reading.head,
            "PUT": writing.put,
            "POST": writing.put,
            "DELETE": writing.delete,
            "LIST": listing.answer,
            "OPTIONS": options,
        }
        guard = guard or Guard(self.gate, self.metrics, wall_s)
        self.server = Server(
            settings,
            {method: guard.protect(method, by_method[method]) for method in ALLOWED},
            self.metrics,
            log,
            common_fields=CORS_FIELDS,
            on_drain=self.catalog.drain,
        )

    async def figures(self) -> list[Figure]:
        """What /metrics has beside what all origins count."""
        return []

    async def run(
        self,
        listeners: tuple[Listener, ...] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `server.stop()` and the drain after it; without listeners only `serve`."""
        async with trio.open_nursery() as nursery:
            if self.catalog.shelf is not None and self._disk is not None:
                self.catalog.namespace.add_cold(self.catalog.shelf.load())
                await nursery.start(self._disk.run)
            await nursery.start(self.catalog.run)
            await self.server.run(listeners, task_status=task_status)
            nursery.cancel_scope.cancel()
