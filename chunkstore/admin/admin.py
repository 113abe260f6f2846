"""The paths of the admin listener, who may ask for them, and the server that answers."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import trio

from chunkstore.admin.console import Console
from chunkstore.admin.events import Events
from chunkstore.admin.exposition import Exposition, Figures
from chunkstore.admin.tables import Tables
from chunkstore.auth import Gate
from chunkstore.config import Settings
from chunkstore.live import Catalog
from chunkstore.metrics import Metrics
from chunkstore.server import CHALLENGE, Exchange, Handler, Listener, Log, Server
from chunkstore.wire import field_block

__all__ = ["Admin"]

MAX_CONNECTIONS = 256
"""Consoles, scrapers and probes together."""
_OPEN = frozenset(("/health/live", "/health/ready", "/time"))
"""They say nothing of anybody, and probes and players that ask have no token."""
_COMMON = field_block([("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")])
_TEXT = field_block([("Content-Type", "text/plain; charset=utf-8")]) + _COMMON


class Admin:
    """The operator's view of one origin.

    Args:
        settings: deadlines and limits of the connections here too.
        catalog: the origin's objects.
        origin: the server of its data port.
        gate: asked for a token, where there is one with the right ADMIN.
        data_urls: where the origin listens, for the console.
        figures: what /metrics has besides; None: nothing.
        wall_s: Unix time.

    Attributes:
        server: its own connections; `server.serve(transport)` serves one more.
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
        self._gate = gate
        self._wall_s = wall_s
        tables = Tables(catalog, origin, _COMMON)
        self._paths: dict[str, Handler] = {
            "/metrics": Exposition(catalog, origin, _COMMON, figures).answer,
            "/events": Events(catalog.journal, _COMMON).answer,
            "/objects": tables.objects,
            "/connections": tables.connections,
            "/health/live": self._live,
            "/health/ready": self._ready,
            "/time": self._time,
            **Console(settings, data_urls, _COMMON).paths,
        }
        own = replace(settings, max_connections=min(settings.max_connections, MAX_CONNECTIONS))
        handlers: dict[str, Handler] = {"GET": self._get, "HEAD": self._get}
        self.server = Server(own, handlers, Metrics(), Log("off"), common_fields=_COMMON)

    async def run(
        self,
        listeners: tuple[Listener, ...],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer until cancelled: also while the origin drains."""
        await self.server.run(listeners, task_status=task_status)

    async def _get(self, exchange: Exchange) -> None:
        if self._gate.is_open("ADMIN"):
            # Nobody but this machine reaches it, so a page in its browser must not either.
            host = exchange.request.fields.get("host") or ""
            if not _is_of_this_machine(host):
                detail = f"asked for as {host!r}: use this machine's loopback, or localhost"
                await exchange.refuse(421, detail)
                return
        elif exchange.request.path not in _OPEN:
            denial = self._gate.judge(
                "ADMIN",
                "/",
                authorization=exchange.request.fields.get("authorization"),
                query="",
                now_s=self._wall_s(),
            )
            if denial is not None:
                challenge = CHALLENGE if denial.status == 401 else b""
                await exchange.refuse(denial.status, denial.detail, challenge)
                return
        answer = self._paths.get(exchange.request.path)
        if answer is None:
            await exchange.refuse(404, f"there are {', '.join(self._paths)}")
            return
        await answer(exchange)

    async def _live(self, exchange: Exchange) -> None:
        await exchange.respond(200, _TEXT, b"alive\n")

    async def _ready(self, exchange: Exchange) -> None:
        if self._origin.is_draining:
            await exchange.refuse(503, "draining: running requests finish, new ones go elsewhere")
            return
        shelf = self._catalog.shelf
        trouble = shelf.trouble() if shelf is not None else []
        if trouble:
            await exchange.refuse(503, "; ".join(trouble))
        else:
            await exchange.respond(200, _TEXT, b"ready\n")

    async def _time(self, exchange: Exchange) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = now.replace("+00:00", "Z").encode("ascii")
        # A page of the player's own origin reads it.
        allowed = field_block([("Access-Control-Allow-Origin", "*")])
        await exchange.respond(200, _TEXT + allowed, body)


def _is_of_this_machine(host: str) -> bool:
    """Whether a Host field names the loopback; a browser always sends one.

    Source: RFC 9110 section 7.2.
    """
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.lower() in ("", "localhost"):  # "": HTTP/1.0, which no browser speaks
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
