"""LIST, and `GET /prefix?list` for tools that can't send it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, quote

import trio

from chunkstore.errors import PathError
from chunkstore.objects import Generation, Namespace
from chunkstore.objects import Listing as Step
from chunkstore.origin.fields import NO_STORE
from chunkstore.paths import encode_key, parse_prefix
from chunkstore.ring import LAST_CHUNK
from chunkstore.server import Exchange
from chunkstore.wire import field_block

__all__ = ["Listing", "Query", "asks_for_list", "parse_query"]

STEP_COUNT = 250
"""Names listed before others may run, and per chunk of a streamed listing."""
LIMIT_MAX = 10_000
"""Largest `limit`: such a page is made whole before its head, which says where the next begins."""
DELIMITER_BYTES = 64


class Query(NamedTuple):
    """The parameters of a LIST."""

    delimiter: str
    limit: int | None
    after: str


def asks_for_list(query: str) -> bool:
    """Whether a GET's query has the parameter `list`."""
    return any(one.partition("=")[0] == "list" for one in query.split("&"))


def parse_query(query: str) -> Query:
    """Read the parameters; those that mean nothing here are ignored.

    Raises:
        ValueError: with a sentence for the client.
    """
    try:
        pairs = dict(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError:
        raise ValueError("the query must be percent-encoded UTF-8 of at most 100 fields") from None
    limit = pairs.get("limit")
    if limit is not None and not (limit.isascii() and limit.isdigit() and len(limit) < 10):
        raise ValueError(f"limit must be a number from 1 to {LIMIT_MAX}, not {limit[:40]!r}")
    if limit is not None and not 1 <= int(limit) <= LIMIT_MAX:
        raise ValueError(f"limit must be from 1 to {LIMIT_MAX}, not {limit}")
    delimiter = pairs.get("delimiter", "")
    if len(delimiter) > DELIMITER_BYTES:
        raise ValueError(f"delimiter must have at most {DELIMITER_BYTES} characters")
    return Query(delimiter, None if limit is None else int(limit), pairs.get("after", ""))


class Listing:
    """The handler of LIST.

    Args:
        namespace: what is listed.
        wall_offset_s: Unix time minus the monotonic clock, to say when objects expire.
    """

    def __init__(self, namespace: Namespace, wall_offset_s: Callable[[], float]) -> None:
        self._namespace = namespace
        self._wall_offset_s = wall_offset_s

    async def answer(self, exchange: Exchange) -> None:
        """Answer with the names that start with the path, a step at a time.

        No match is 200 and empty. Without `limit` all are listed, streamed: names that come and go
        meanwhile are listed or not, all others exactly once.
        """
        request = exchange.request
        try:
            prefix, query = parse_prefix(request.path), parse_query(request.query)
        except (PathError, ValueError) as error:
            await exchange.refuse(400, str(error))
            return
        is_json = "application/json" in (request.fields.get("accept") or "")
        media_type = "application/json" if is_json else "text/plain; charset=utf-8"
        fields = field_block([("Content-Type", media_type)]) + NO_STORE
        writer: _Writer = _JsonWriter(self._wall_offset_s()) if is_json else _TextWriter()
        # HTTP/1.0 has no chunked: it gets a page, and where the next one begins.
        limit = query.limit or (LIMIT_MAX if request.http_1_0 else None)
        steps = self._steps(prefix, query, limit)
        first = next(steps)
        steps = chain([first], steps)
        if limit is None and first.next_after is not None:
            await exchange.send([exchange.head(200, fields, None)])
            await _stream(exchange, writer, steps)
            return
        body, next_after = await _whole(writer, steps)
        if next_after is not None:
            way = "list&" if request.method == "GET" else ""  # the mirror's next is a mirror
            link = f"{encode_key(prefix)}?{way}{_next_query(query, next_after)}"
            fields += field_block([("Link", f'<{link}>; rel="next"')])
        await exchange.send([exchange.head(200, fields, sum(map(len, body))), *body])
        exchange.finish()

    def _steps(self, prefix: str, query: Query, limit: int | None) -> Iterator[Step]:
        """The names in steps, each looked up when it's asked for."""
        after, left = query.after, math.inf if limit is None else limit
        while True:
            count = int(min(STEP_COUNT, left))
            step = self._namespace.page(prefix, after, query.delimiter, count)
            left -= len(step.items)
            yield step
            if step.next_after is None or not left:
                return
            after = step.next_after


async def _stream(exchange: Exchange, writer: _Writer, steps: Iterable[Step]) -> None:
    for piece in chain((writer.items(step.items) for step in steps), writer.end(None)):
        if piece:
            await exchange.send([b"%x\r\n%b\r\n" % (len(piece), piece)])
        await trio.lowlevel.checkpoint()
    await exchange.send([LAST_CHUNK])
    exchange.finish()


async def _whole(writer: _Writer, steps: Iterable[Step]) -> tuple[list[bytes], str | None]:
    """The pieces of a page, and where the next page begins."""
    body: list[bytes] = []
    next_after: str | None = None
    for step in steps:
        body.append(writer.items(step.items))
        next_after = step.next_after
        # After the last step too: a sent answer alone lets nobody run before a pipelined LIST.
        await trio.lowlevel.checkpoint()
    return [*body, *writer.end(next_after)], next_after


def _next_query(query: Query, after: str) -> str:
    pairs = [("delimiter", query.delimiter), ("limit", str(query.limit or "")), ("after", after)]
    return "&".join(f"{name}={quote(value)}" for name, value in pairs if value)


class _Writer(Protocol):
    """Writes a listing piece by piece."""

    def items(self, items: list[Generation | str]) -> bytes:
        """What a step adds, perhaps nothing."""

    def end(self, next_after: str | None) -> Iterator[bytes]:
        """What follows the last step."""


class _TextWriter:
    """A percent-encoded path a line; common prefixes end with the delimiter."""

    def items(self, items: list[Generation | str]) -> bytes:
        keys = (one if isinstance(one, str) else one.key for one in items)
        return "".join(encode_key(key) + "\n" for key in keys).encode("ascii")

    def end(self, next_after: str | None) -> Iterator[bytes]:
        return iter(())


class _JsonWriter:
    """One JSON object, whose `objects` are streamed; `prefixes` and `next` follow at the end."""

    def __init__(self, wall_offset_s: float) -> None:
        self._wall_offset_s = wall_offset_s
        self._opening = '{"objects":['
        self._prefixes: list[bytes] = []  # encoded step by step: at the end there may be millions

    def items(self, items: list[Generation | str]) -> bytes:
        prefixes = [json.dumps(encode_key(one)) for one in items if isinstance(one, str)]
        if prefixes:
            comma = ",\n" if self._prefixes else ""
            self._prefixes.append((comma + ",\n".join(prefixes)).encode("ascii"))
        objects = [json.dumps(self._members(one)) for one in items if not isinstance(one, str)]
        if not objects:
            return b""
        opening, self._opening = self._opening, ",\n"
        return (opening + ",\n".join(objects)).encode("ascii")

    def _members(self, one: Generation) -> dict[str, str | int | float | None]:
        expires = one.expires_at_s
        return {
            "path": encode_key(one.key),
            "size": one.ring.end,
            "state": one.state.value,
            "etag": one.etag,
            "content_type": one.content_type,
            "created": one.created_s,
            "modified": one.modified_s,
            "expires": None if expires is None else expires + self._wall_offset_s,
            "generation": one.id,
            "readers": one.readers,
        }

    def end(self, next_after: str | None) -> Iterator[bytes]:
        opening = self._opening if self._opening.startswith("{") else ""
        yield f'{opening}],"prefixes":['.encode("ascii")
        yield from self._prefixes
        after = json.dumps(next_after and quote(next_after))
        yield f'],"next":{after}}}\n'.encode("ascii")
