"""Blocks of fields and problem answers."""

from __future__ import annotations

import http
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.wire import REASONS, field_block, problem
from chunkstore.wire.response import STATUS_LINES


def test_field_block_keeps_order_and_case() -> None:
    pairs = [("ETag", '"a"'), ("x-b", "\xe9"), ("X-B", "")]
    assert field_block(pairs) == b'ETag: "a"\r\nx-b: \xe9\r\nX-B: \r\n'
    assert field_block([]) == b""


@given(st.text(max_size=6), st.text(max_size=6))
def test_field_block_is_never_more_than_one_line_a_pair(name: str, value: str) -> None:
    try:
        block = field_block([(name, value)])
    except ValueError:
        return
    assert block.count(b"\r") == block.count(b"\n") == 1
    assert block.partition(b":")[0].decode() == name


@pytest.mark.parametrize(
    "pair",
    [
        ("", "a"),
        ("a b", "c"),
        ("a:", "b"),
        ("a\n", "b"),
        ("a", "b\r\nc"),
        ("a", "\0"),
        ("a", "\u20ac"),
    ],
)
def test_field_block_refuses_what_would_be_another_field(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must be|latin-1"):
        field_block([pair])


def test_problem_is_json_with_a_sentence() -> None:
    fields, body = problem(404, "Nothing is stored at /a.", key="/a", tries=[1, None])
    assert fields == b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Nothing is stored at /a.",
        "key": "/a",
        "tries": [1, None],
    }
    with pytest.raises(ValueError, match="299"):
        problem(299, "Odd.")


def test_phrases_are_the_registered_ones() -> None:
    renamed = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable"}
    for status, phrase in REASONS.items():
        assert phrase == renamed.get(status, http.HTTPStatus(status).phrase)
        assert STATUS_LINES[status] == f"HTTP/1.1 {status} {phrase}\r\n".encode()
