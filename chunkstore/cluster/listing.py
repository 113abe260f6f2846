"""What a node has, as it lists it: a page at a time, in the order of the names."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from urllib.parse import unquote

import trio

from chunkstore.client import expect
from chunkstore.cluster.links import Links
from chunkstore.errors import FetchError, StalledError

__all__ = ["PAGE_COUNT", "Page", "Row", "list_page", "parse_page"]

PAGE_COUNT = 10_000
"""Names a page, some 2.5 MB of JSON."""
PAGE_S = 60.0
"""So long a node has for a page: others wait for their turn meanwhile."""
_TARGET = re.compile(r"[\x21-\x7e]*")


class Row(NamedTuple):
    """An object of a node.

    Attributes:
        path: its name there.
        size_bytes: all of it; None: it is still being written.
        etag: of just this writing of it.
    """

    path: str
    size_bytes: int | None
    etag: str


class Page(NamedTuple):
    """Some of what there is.

    Attributes:
        rows: by name.
        next_after: what to ask for next, percent-encoded; None: these were the last.
    """

    rows: list[Row]
    next_after: str | None


async def list_page(
    links: Links, node: int, folder: str, after: str = "", count: int = PAGE_COUNT
) -> Page:
    """The next names of a node in a folder.

    Args:
        after: "", or `next_after` of the page before.
        count: as many names at most.
    Raises:
        FetchError: the node can't be asked, or says what no node says.
    """
    target = f"{folder}?limit={count}&after={after}"
    fields = [("Accept", "application/json")]
    body: bytes | None = None
    with trio.move_on_after(PAGE_S):
        async with links.request(node, "LIST", target, generation=None, fields=fields) as answer:
            await expect(answer, 200)
            body = await answer.body()
    if body is None:
        raise StalledError(f"LIST {target}: node {node} took more than {PAGE_S:g} s")
    try:
        return parse_page(body, after)
    except ValueError as error:
        raise FetchError(f"LIST {target}: node {node} answers with no listing: {error}") from error


def parse_page(body: bytes, after: str = "") -> Page:
    """Read what a node answers to LIST. Who follows `next_after` comes to an end.

    Args:
        after: as it was asked for.
    Raises:
        ValueError: it is no such answer.
    """
    try:
        members = json.loads(body)
        rows = [_row(one) for one in members["objects"]]
        next_after = members["next"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"expected a list of objects: {type(error).__name__}") from error
    names = [unquote(after), *(row.path for row in rows)]
    if any(low >= high for low, high in zip(names, names[1:], strict=False)):
        raise ValueError("its names are out of order")
    if next_after is not None:
        if not isinstance(next_after, str) or not _TARGET.fullmatch(next_after):
            raise ValueError("expected a name behind which the list goes on")
        if unquote(next_after) <= unquote(after):
            raise ValueError("it goes on where it was")
    return Page(rows, next_after)


def _row(members: Any) -> Row:  # noqa: ANN401 - as it was sent
    """Raises: KeyError, TypeError, ValueError: it is none."""
    path, size, etag = members["path"], members["size"], members["etag"]
    if not isinstance(path, str) or not isinstance(etag, str) or not isinstance(size, int):
        raise TypeError("not an object's members")
    if not etag.isascii() or not etag.isprintable():
        raise ValueError("expected an etag")
    return Row(path, size if members["state"] == "complete" else None, etag)
