"""Credentials before all else: handlers behind it run for those alone who may ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chunkstore.auth import CLUSTER_SCHEME, Gate
from chunkstore.errors import PathError
from chunkstore.metrics import Metrics
from chunkstore.origin.listing import asks_for_list
from chunkstore.paths import parse_key, parse_prefix
from chunkstore.server import CHALLENGE, Exchange, Handler

__all__ = ["Guard", "Protection"]

_UPLOADS = ("PUT", "POST")
_WRITES = (*_UPLOADS, "DELETE")
_MISDIRECTED = (
    421,
    "this is an address of users: storage servers and their gateway don't meet here, but at what"
    " the gateway says behind 'nodes at'",
)


class Protection(Protocol):
    """Decides who gets to handlers."""

    def protect(self, method: str, handler: Handler) -> Handler:
        """What answers `method` instead of its handler, or that itself."""


class Guard:
    """Puts handlers behind a gate.

    Args:
        gate: judges.
        metrics: counts refused uploads.
        wall_s: Unix time.
    """

    def __init__(self, gate: Gate, metrics: Metrics, wall_s: Callable[[], float]) -> None:
        self._gate = gate
        self._metrics = metrics
        self._wall_s = wall_s

    def protect(self, method: str, handler: Handler) -> Handler:
        """What answers `method`: the handler itself where anybody reads, so that it costs nothing.

        The refusal comes before the handler sees the request, so before 100 (Continue) and before
        it is said whether a name exists.
        """
        is_open = method == "OPTIONS" or self._gate.is_open(method)
        if is_open and method not in _WRITES:
            return handler

        async def guarded(exchange: Exchange) -> None:
            shown = exchange.request.fields.get("authorization")
            refused: tuple[int, str] | None = None
            if shown is not None and shown.startswith(CLUSTER_SCHEME):
                refused = _MISDIRECTED  # else a node's `/register` would be an object
            elif not is_open:
                refused = self._refusal(method, exchange)
            if refused is None:
                await handler(exchange)
                return
            status, detail = refused
            if method in _UPLOADS:
                self._metrics.uploads_refused[status] += 1
            await exchange.refuse(status, detail, CHALLENGE if status == 401 else b"")

        return guarded

    def _refusal(self, method: str, exchange: Exchange) -> tuple[int, str] | None:
        request = exchange.request
        if method == "GET" and asks_for_list(request.query):
            method = "LIST"
        try:
            key = (parse_prefix if method == "LIST" else parse_key)(request.path)
        except PathError as error:
            return 400, str(error)
        return self._gate.judge(
            method,
            key,
            authorization=request.fields.get("authorization"),
            query=request.query,
            now_s=self._wall_s(),
        )
