"""What a node lists is read as it is, or refused: whoever follows it comes to an end."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.cluster.listing import Page, Row, list_page, parse_page
from chunkstore.cluster.names import PARTS
from chunkstore.errors import StalledError
from chunkstore.server import Exchange, Handler
from tests.cluster.nodes import Nodes

ROW: dict[str, Any] = {"path": "/parts/b", "size": 7, "etag": '"e"', "state": "complete"}


def page(*rows: object, after: object = None) -> bytes:
    """As a node would send it."""
    return json.dumps({"objects": rows, "prefixes": [], "next": after}).encode()


def test_a_page_is_read() -> None:
    body = page(ROW, {**ROW, "path": "/parts/c", "state": "open"}, after="/parts/c")
    assert parse_page(body, "/parts/a") == Page(
        [Row("/parts/b", 7, '"e"'), Row("/parts/c", None, '"e"')], "/parts/c"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"objects": []}',
        page(1),
        page({**ROW, "path": 1}),
        page({**ROW, "size": "7"}),
        page({**ROW, "size": None}),
        page({**ROW, "etag": None}),
        page({**ROW, "etag": "a\r\nb: c"}),
        page({**ROW, "etag": "\u20ac"}),
        page(ROW, ROW),
        page({**ROW, "path": "/parts/c"}, ROW),
        page({**ROW, "path": "/parts/a"}),
        page(after="/parts/a"),
        page(after="/parts/%61"),
        page(after=7),
        page(after="\u20ac"),
        page(after="/parts/b c"),
        page(after="/parts/b\r\nname: value"),
    ],
)
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any
        parse_page(body, "/parts/a")


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda tree: json.dumps({"objects": [tree], "next": tree}).encode()
))  # fmt: skip
def test_nothing_else_is_raised(body: bytes) -> None:
    try:
        parse_page(body)
    except ValueError:
        return


async def test_a_node_has_so_long_for_a_page(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def say_little(exchange: Exchange, _: Handler) -> None:
        await exchange.send([exchange.head(200, b"", 1000)])
        while True:
            await exchange.send([b" "])
            await trio.sleep(1)

    nodes = await Nodes.open(nursery, 1)
    nodes.mishaps[1] = say_little
    async with nodes.links() as links:
        with pytest.raises(StalledError, match="node 1 took more than 60 s"):
            await list_page(links, 1, PARTS)
