"""The memo of header blocks: bounded, exact, and only for what is safe to share."""

from __future__ import annotations

import pytest

from chunkstore.wire import FieldMemo, Fields, Request, WireLimits
from tests.wire.drive import drive


def _parse(block: str, memo: FieldMemo, version: str = "1.1") -> Fields:
    event = drive([f"PUT / HTTP/{version}\r\n{block}\r\n".encode()], memo=memo, eof=False)[0]
    assert isinstance(event, Request)
    return event.fields


def test_equal_blocks_share_their_fields() -> None:
    memo = FieldMemo()
    fields = _parse("Host: h\r\n", memo)
    assert _parse("Host: h\r\n", memo) is fields
    assert _parse("host: h\r\n", memo) is not fields
    assert _parse("host: h\r\n", memo) == fields
    assert fields != "h"


def test_oldest_block_goes_first() -> None:
    memo = FieldMemo(max_entries=2)
    first = _parse("Host: a\r\n", memo)
    second = _parse("Host: b\r\n", memo)
    _parse("Host: c\r\n", memo)
    assert len(memo) == 2
    assert _parse("Host: b\r\n", memo) is second
    assert _parse("Host: a\r\n", memo) is not first


@pytest.mark.parametrize(
    "block",
    [
        "Host: h\r\nContent-Length: 1\r\n",
        f"Host: h\r\nA: {'b' * 2048}\r\n",
    ],
)
def test_lengths_and_long_blocks_are_not_remembered(block: str) -> None:
    memo = FieldMemo()
    _parse(block, memo)
    assert len(memo) == 0


def test_old_version_neither_fills_nor_uses_the_memo() -> None:
    memo = FieldMemo()
    assert not _parse("Host: h\r\n", memo, "1.0").keep_alive
    assert len(memo) == 0
    assert _parse("Host: h\r\n", memo).keep_alive
    assert not _parse("Host: h\r\n", memo, "1.0").keep_alive


def test_absolute_target_leaves_the_remembered_host_alone() -> None:
    memo = FieldMemo()
    fields = _parse("Host: h\r\nConnection: close\r\n", memo)
    wire = b"GET http://other/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    event = drive([wire], memo=memo, eof=False)[0]
    assert isinstance(event, Request)
    assert (event.fields.host, event.fields.keep_alive) == ("other", False)
    assert fields.host == "h"


@pytest.mark.parametrize(
    "wrong",
    [{"target_bytes": 8}, {"head_bytes": 100}, {"fields": 0}, {"body_bytes": -1}],
)
def test_limits_that_no_request_keeps_are_mistakes(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        WireLimits(**wrong)
