"""What a node has, as it lists it: a page at a time, in the order of the names."""

from __future__ import annotations

import json
from typing import NamedTuple

from chunkstore.client import expect
from chunkstore.cluster.links import Links
from chunkstore.errors import FetchError

__all__ = ["PAGE_COUNT", "Page", "Row", "list_page"]

PAGE_COUNT = 10_000
"""Names a page, some 2.5 MB of JSON."""


class Row(NamedTuple):
    """An object of a node.

    Attributes:
        path: its name there.
        size_bytes: all of it; None: it is still being written.
    """

    path: str
    size_bytes: int | None


class Page(NamedTuple):
    """Some of what there is.

    Attributes:
        rows: by name.
        next_after: what to ask for next; None: these were the last.
    """

    rows: list[Row]
    next_after: str | None


async def list_page(links: Links, node: int, folder: str, after: str = "") -> Page:
    """The next names of a node in a folder.

    Args:
        after: "", or `next_after` of the page before.
    Raises:
        FetchError: the node can't be asked, or says what no node says.
    """
    target = f"{folder}?limit={PAGE_COUNT}&after={after}"
    fields = [("Accept", "application/json")]
    async with links.request(node, "LIST", target, generation=None, fields=fields) as answer:
        await expect(answer, 200)
        body = await answer.body()
    try:
        members = json.loads(body)
        rows = [
            Row(str(one["path"]), int(one["size"]) if one["state"] == "complete" else None)
            for one in members["objects"]
        ]
        next_after = members["next"]
    except (ValueError, TypeError, KeyError) as error:
        raise FetchError(f"LIST {target}: node {node} answers with no listing") from error
    return Page(rows, None if next_after is None else str(next_after))
