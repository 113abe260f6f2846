"""/objects and /connections: what is there now, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar
from urllib.parse import parse_qs

import trio

from chunkstore.live import Catalog
from chunkstore.objects import Generation
from chunkstore.paths import encode_key
from chunkstore.server import Connection, Exchange, Server
from chunkstore.wire import JSON, field_block

__all__ = ["Tables"]

ROWS_MAX = 1_000
STEP_COUNT = 100
"""Rows made before others run: less than a millisecond of work."""
_JSON = field_block([("Content-Type", "application/json")])
_T = TypeVar("_T")
_Row = dict[str, JSON]


class Tables:
    """The handlers.

    Args:
        catalog: the origin's objects.
        origin: the server whose connections are shown.
        fields: go into every answer.
    """

    def __init__(self, catalog: Catalog, origin: Server, fields: bytes) -> None:
        self._catalog = catalog
        self._origin = origin
        self._fields = _JSON + fields

    async def objects(self, exchange: Exchange) -> None:
        """`?open` or `?after=KEY`: at most 1,000 generations.

        With `open` those that are being written, oldest first; else what the names show, in order,
        and `next`, to go on after.
        """
        asked = parse_qs(exchange.request.query, keep_blank_values=True)
        next_after: str | None = None
        shown: Iterable[Generation | str]
        if "open" in asked:
            shown = list(islice(self._catalog.open_generations(), ROWS_MAX))
        else:
            shown, next_after = self._catalog.namespace.page(
                "", asked.get("after", [""])[-1], "", ROWS_MAX
            )
        rows = await _rows([one for one in shown if isinstance(one, Generation)], self._object)
        await self._respond(exchange, {"objects": rows, "next": next_after})

    async def connections(self, exchange: Exchange) -> None:
        """Those of the data port; of more than 1,000 those whose clients take longest to read.

        With `?slow` those alone that wait for their client to read: of thousands, it is seldom many
        (asking the system what each has yet to take costs a fan-out of 4,096 half as much again).
        """
        shown = list(self._origin.connections)
        if "slow" in parse_qs(exchange.request.query, keep_blank_values=True):
            shown = [one for one in shown if one.waits_for_client]
        rows = await _rows(shown, _connection)
        rows.sort(key=lambda row: -int(str(row["unsent_bytes"])))
        await self._respond(exchange, {"connections": rows[:ROWS_MAX], "count": len(rows)})

    def _object(self, one: Generation) -> _Row:
        row: _Row = {
            "path": encode_key(one.key),
            "generation": one.id,
            "state": one.state.value,
            "bytes": one.ring.end,
            "chunks": one.ring.chunk_count,
            "readers": one.readers,
            "created": one.created_s,
        }
        if one.is_open:
            broadcast = self._catalog.broadcast(one)
            row["readers_at_edge"] = broadcast.edge_count
            row["longest_gap_s"] = round(broadcast.longest_gap_s, 3)
            last_s = broadcast.last_byte_at_s
            row["silent_s"] = None if last_s is None else round(trio.current_time() - last_s, 3)
        return row

    async def _respond(self, exchange: Exchange, body: _Row) -> None:
        await exchange.respond(200, self._fields, json.dumps(body).encode("ascii") + b"\n")


async def _rows(items: Iterable[_T], row_of: Callable[[_T], _Row]) -> list[_Row]:
    """A row of each; now and then others run."""
    rows: list[_Row] = []
    for item in items:
        rows.append(row_of(item))
        if not len(rows) % STEP_COUNT:
            await trio.lowlevel.checkpoint()
    return rows


def _connection(connection: Connection) -> _Row:
    row: _Row = {
        "client": connection.transport.peer,
        "unsent_bytes": connection.transport.unsent_bytes(),
    }
    exchange = connection.exchange
    if exchange is not None:
        row["method"] = exchange.request.method
        row["path"] = exchange.request.path
        row["status"] = exchange.status
        row["generation"] = exchange.generation
        row["age_s"] = round(trio.current_time() - exchange.started_s, 3)
    return row
