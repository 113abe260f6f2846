"""Who may ask an operator's listener, and the server that answers there."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import trio

from chunkstore.auth import Gate
from chunkstore.config import Settings
from chunkstore.metrics import Metrics
from chunkstore.server import CHALLENGE, Exchange, Handler, Listener, Log, Server
from chunkstore.wire import field_block

__all__ = ["COMMON", "TEXT", "Desk"]

MAX_CONNECTIONS = 256
"""Consoles, scrapers and probes together."""
_OPEN = frozenset(("/health/live", "/health/ready", "/time"))
"""They say nothing of anybody, and probes and players that ask have no token."""
COMMON = field_block([("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")])
TEXT = field_block([("Content-Type", "text/plain; charset=utf-8")]) + COMMON


class Desk:
    """Answers GET and HEAD of whoever may ask.

    Args:
        settings: deadlines and limits of the connections here too.
        gate: asked for a token, where there is one with the right ADMIN.
        paths: what answers each, beside /health/live.
        wall_s: Unix time.

    Attributes:
        server: its own connections; `server.serve(transport)` serves one more.
    """

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        paths: Mapping[str, Handler],
        *,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._gate = gate
        self._paths = {**paths, "/health/live": _live}
        self._wall_s = wall_s
        own = replace(settings, max_connections=min(settings.max_connections, MAX_CONNECTIONS))
        handlers: dict[str, Handler] = {"GET": self._get, "HEAD": self._get}
        self.server = Server(own, handlers, Metrics(), Log("off"), common_fields=COMMON)

    async def run(
        self,
        listeners: tuple[Listener, ...],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer until cancelled: also while the data port drains."""
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


async def _live(exchange: Exchange) -> None:
    await exchange.respond(200, TEXT, b"alive\n")


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
