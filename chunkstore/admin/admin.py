"""The paths of an origin's admin listener."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from chunkstore.admin.console import Console
from chunkstore.admin.desk import COMMON, TEXT, Desk
from chunkstore.admin.events import Events
from chunkstore.admin.exposition import Exposition, Figures
from chunkstore.admin.tables import Tables
from chunkstore.auth import Gate
from chunkstore.config import Settings
from chunkstore.live import Catalog
from chunkstore.server import Exchange, Handler, Server
from chunkstore.wire import field_block

__all__ = ["Admin"]


class Admin(Desk):
    """The operator's view of one origin.

    Args:
        settings: deadlines and limits of the connections here too.
        catalog: the origin's objects.
        origin: the server of its data port.
        gate: asked for a token, where there is one with the right ADMIN.
        data_urls: where the origin listens, for the console.
        figures: what /metrics has besides; None: nothing.
        wall_s: Unix time.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        origin: Server,
        gate: Gate,
        *,
        data_urls: tuple[str, ...] = (),
        figures: Figures | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._origin = origin
        tables = Tables(catalog, origin, COMMON)
        paths: dict[str, Handler] = {
            "/metrics": Exposition(catalog, origin, COMMON, figures).answer,
            "/events": Events(catalog.journal, COMMON).answer,
            "/objects": tables.objects,
            "/connections": tables.connections,
            "/health/ready": self._ready,
            "/time": self._time,
            **Console(settings, data_urls, COMMON).paths,
        }
        super().__init__(settings, gate, paths, wall_s=wall_s)

    async def _ready(self, exchange: Exchange) -> None:
        if self._origin.is_draining:
            await exchange.refuse(503, "draining: running requests finish, new ones go elsewhere")
            return
        shelf = self._catalog.shelf
        trouble = shelf.trouble() if shelf is not None else []
        if trouble:
            await exchange.refuse(503, "; ".join(trouble))
        else:
            await exchange.respond(200, TEXT, b"ready\n")

    async def _time(self, exchange: Exchange) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = now.replace("+00:00", "Z").encode("ascii")
        # A page of the player's own origin reads it.
        allowed = field_block([("Access-Control-Allow-Origin", "*")])
        await exchange.respond(200, TEXT + allowed, body)
