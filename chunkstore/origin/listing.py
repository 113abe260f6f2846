"""LIST, and `GET /prefix?list` for tools that can't send it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

import trio

from chunkstore.errors import PathError
from chunkstore.objects import Generation, Namespace
from chunkstore.origin.fields import NO_STORE
from chunkstore.paths import encode_key, parse_prefix
from chunkstore.ring import LAST_CHUNK
from chunkstore.server import Exchange
from chunkstore.wire import field_block

__all__ = ["Listing", "Query", "asks_for_list", "parse_query"]

PAGE_COUNT = 1000
"""Names looked at before others may run, and per chunk of a streamed listing."""
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
        """Answer with the names that start with the path, a page at a time.

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
        writer = _JsonWriter(self._wall_offset_s()) if is_json else _TextWriter()
        # HTTP/1.0 has no chunked: it gets a page, and where the next one begins.
        limit = query.limit or (LIMIT_MAX if request.http_1_0 else None)
        page = self._namespace.page(prefix, query.after, query.delimiter, limit or PAGE_COUNT)
        if limit is not None or page.next_after is None:
            if page.next_after is not None:
                way = "list&" if request.method == "GET" else ""  # the mirror's next is a mirror
                link = f"{encode_key(prefix)}?{way}{_next_query(query, page.next_after)}"
                fields += field_block([("Link", f'<{link}>; rel="next"')])
            body = [writer.items(page.items), writer.end(page.next_after)]
            await exchange.respond(200, fields, "".join(body).encode("ascii"))
            return
        await exchange.send([exchange.head(200, fields, None)])
        after: str | None = page.next_after
        while after is not None:
            await exchange.send([_frame(writer.items(page.items))])
            await trio.lowlevel.checkpoint()
            page = self._namespace.page(prefix, after, query.delimiter, PAGE_COUNT)
            after = page.next_after
        last = writer.items(page.items) + writer.end(None)
        await exchange.send([_frame(last) + LAST_CHUNK])
        exchange.finish()


def _frame(text: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text.encode("ascii")) if text else b""


def _next_query(query: Query, after: str) -> str:
    pairs = [("delimiter", query.delimiter), ("limit", str(query.limit or "")), ("after", after)]
    return "&".join(f"{name}={quote(value)}" for name, value in pairs if value)


class _TextWriter:
    """A percent-encoded path a line; common prefixes end with the delimiter."""

    def items(self, items: list[Generation | str]) -> str:
        return "".join(encode_key(one if isinstance(one, str) else one.key) + "\n" for one in items)

    def end(self, next_after: str | None) -> str:
        return ""


class _JsonWriter:
    """One JSON object, whose `objects` are streamed; `prefixes` and `next` follow at the end."""

    def __init__(self, wall_offset_s: float) -> None:
        self._wall_offset_s = wall_offset_s
        self._prefixes: list[str] = []
        self._opening = '{"objects":['

    def items(self, items: list[Generation | str]) -> str:
        return "".join(self._each(items))

    def _each(self, items: list[Generation | str]) -> Iterator[str]:
        for one in items:
            if isinstance(one, str):
                self._prefixes.append(encode_key(one))
            else:
                yield self._opening + json.dumps(self._members(one))
                self._opening = ",\n"

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

    def end(self, next_after: str | None) -> str:
        opening = self._opening if self._opening.startswith("{") else ""
        rest = {"prefixes": self._prefixes, "next": next_after and quote(next_after)}
        return f"{opening}],{json.dumps(rest)[1:]}\n"
