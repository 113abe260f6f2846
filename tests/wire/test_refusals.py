"""Bad input: each kind has its status, at once, however it arrives and whatever follows."""

from __future__ import annotations

import pytest

from chunkstore.wire import (
    NEED_DATA,
    PAUSED,
    FieldMemo,
    Refusal,
    Request,
    ServerProtocol,
    WireLimits,
)
from chunkstore.wire.chunks import OVERHEAD_BYTES
from tests.wire.drive import DATE, bytewise, drive

LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: h\r\n"
CHUNKED = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def _get(fields: bytes) -> bytes:
    return LINE + fields + b"\r\n"


# Every case ends with the byte that makes it wrong: nothing after it is waited for.
HEADS: list[tuple[int, bytes]] = [
    # request line
    (400, b"\x16"),
    (400, b"\0"),
    (400, b" "),
    (400, b"\n"),
    (400, b"\r\n\r\n\r"),
    (400, b"\r\r"),
    (400, b"GET\r"),
    (400, b"GET\t"),
    (400, b"GET / HTTP/1.1\n"),
    (400, b"GET /\rx"),
    (400, b"GET /\0"),
    (400, b"GET /\x80"),
    (400, b"GET /\r\n"),
    (400, b"GET  / HTTP/1.1\r\n"),
    (400, b"GET / HTTP/1.1 \r\n"),
    (400, b"GET / http/1.1\r\n"),
    (400, b"GET / HTTP/11\r\n"),
    (505, b"GET / HTTP/0.9\r\n"),
    (505, b"GET / HTTP/1.2\r\n"),
    (505, b"PRI * HTTP/2.0\r\n"),
    (400, b"GET a HTTP/1.1\r\n"),
    (400, b"GET * HTTP/1.1\r\n"),
    (400, b"GET /a#b HTTP/1.1\r\n"),
    (400, b"GET ftp://h/ HTTP/1.1\r\n"),
    (400, b"GET http:///a HTTP/1.1\r\n"),
    (400, b"GET http://u@h/ HTTP/1.1\r\n"),
    (501, b"CONNECT h:80 HTTP/1.1\r\n"),
    (501, b"CONNECT /a HTTP/1.1\r\n"),
    (501, b"M" * 33),
    (414, b"GET /" + b"a" * 8188),
    # the fields' bytes
    (400, LINE + b"Host: h\n"),
    (400, LINE + b"Host: h\rX"),
    (400, LINE + b"Host: h\0"),
    (431, LINE + b"A: b\r\n" * 101),
    (431, LINE + b"A: " + b"b" * (65536 - len(LINE) - 2)),
    # the fields as a whole
    (400, _get(b"")),
    (400, _get(HOST * 2)),
    (400, _get(b" Host: h\r\n")),
    (400, _get(b"Host : h\r\n")),
    (400, _get(b"Host: \r\n")),
    (400, _get(b"Host: a b\r\n")),
    (400, _get(b"Host: a,b\r\n")),
    (400, _get(b"Host: u@h\r\n")),
    (400, _get(b"Host: h/\r\n")),
    (400, _get(b"Host: h:x\r\n")),
    (400, _get(b"Host: h:65536\r\n")),
    (400, _get(b"Host: [::1\r\n")),
    (400, _get(HOST + b"no colon\r\n")),
    (400, _get(HOST + b"A: b\r\n Content-Length: 5\r\n")),
    (400, _get(HOST + b"A: b\r\n\tc\r\n")),
    (400, _get(HOST + b"long" * 1000 + b"\r\n")),
    (400, _get(HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
    (400, _get(HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n")),
    (400, _get(HOST + b"Content-Length: 1, 2\r\n")),
    (400, _get(HOST + b"Content-Length: -1\r\n")),
    (400, _get(HOST + b"Content-Length: +1\r\n")),
    (400, _get(HOST + b"Content-Length: 1_0\r\n")),
    (400, _get(HOST + b"Content-Length:\r\n")),
    (413, _get(HOST + b"Content-Length: 9007199254740993\r\n")),
    (413, _get(HOST + b"Content-Length: 00000000000000000001\r\n")),
    (413, _get(HOST + b"Content-Length: " + b"9" * 40 + b"\r\n")),
    (501, _get(HOST + b"Transfer-Encoding: gzip, chunked\r\n")),
    (501, _get(HOST + b"Transfer-Encoding: identity\r\n")),
    (501, _get(HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
    (400, b"PUT / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
]

BODIES: list[tuple[int, bytes]] = [
    (400, b"\r"),
    (400, b"x"),
    (400, b"-"),
    (400, b"0x"),
    (400, b"1 ;"),
    (400, b"1\n"),
    (400, b"1\r\r"),
    (400, b"1;a\n"),
    (400, b"1;a\0"),
    (400, b"1\r\nab"),
    (400, b"1\r\na\n"),
    (400, b"1\r\na\rb"),
    (413, b"0" * 17),
    (413, b"ffffffffffffff"),
    (413, b"20000000000001"),
    (413, b"1\r\na\r\n20000000000000"),
    (400, b"1;" + b"a" * (OVERHEAD_BYTES + 31)),
    (400, b"1;" + b"a" * 8221 + b"\r\nb\r\n1;" + b"a" * 8222),
    (400, b"0\r\n:"),
    (400, b"0\r\n "),
    (400, b"0\r\na "),
    (400, b"0\r\na: b\n"),
    (400, b"0\r\na: b\rc"),
    (400, b"0\r\n\rx"),
    (431, b"0\r\na:" + b"b" * (OVERHEAD_BYTES - 1)),
    (431, b"0\r\n" + b"a: b\r\n" * (OVERHEAD_BYTES // 6) + b"a: b\r"),
]

CASES = [*HEADS, *((status, CHUNKED + body) for status, body in BODIES)]


@pytest.mark.parametrize(("status", "wire"), CASES, ids=lambda case: repr(case)[-60:])
def test_refused_at_once_and_for_the_same_reason(status: int, wire: bytes) -> None:
    # Not earlier: without its last byte it might still become right.
    *before, last = drive([wire[:-1]], eof=False) or [NEED_DATA]
    assert not isinstance(last, Refusal)
    refusals = [
        drive(pieces, eof=False)[-1]
        for pieces in (
            [wire],
            [wire[:-1], wire[-1:]],
            bytewise(wire),
            [wire + b"more\r\n\r\n" + LINE],
        )
    ]
    for refusal in refusals:
        assert isinstance(refusal, Refusal)
        assert refusal == refusals[0]
        assert refusal.status == status
        assert refusal.detail.endswith(".")
        assert len(refusal.detail) < 200


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n\r\n" + _get(HOST),
        b"M" * 32 + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /" + b"a" * 8178 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        _get(HOST + b"A: b\r\n" * 99),
        _get(HOST + b"A: " + b"b" * (65536 - len(LINE) - len(HOST) - 7) + b"\r\n"),
        _get(b"Host: [fe80::1%25eth0]:65535\r\n"),
        _get(b"Host: h:\r\n"),
        b"GET / HTTP/1.0\r\n\r\n",
        _get(HOST + b"Expect: something-else\r\n"),
        _get(HOST + b"Content-Length: 0, 0\r\nContent-Length: 0\r\n"),
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9007199254740992\r\n\r\n",
        CHUNKED + b"0000000000000001 \t\r\na\r\n0;" + b"a" * 16384 + b"\r\n\r\n",
        CHUNKED + b"1ffffffffffff0\r\n",
        CHUNKED + b"0\r\na:" + b"b" * (OVERHEAD_BYTES - 6) + b"\r\n\r\n",
        CHUNKED + b"1;ext=0123456789012345678901\r\na\r\n" * 2000 + b"0\r\n\r\n",
    ],
    ids=lambda case: repr(case)[-60:],
)
def test_just_inside_the_bounds(wire: bytes) -> None:
    events = drive([wire])
    assert isinstance(events[0], Request)
    assert not any(isinstance(event, Refusal) for event in events)
    assert drive(bytewise(wire)) == events


def test_refusal_may_be_answered_and_then_ends_the_connection() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    protocol.receive(b"GET / HTTP/3.0\r\n")
    refusal = protocol.next_event()
    assert isinstance(refusal, Refusal)
    assert refusal.status == 505
    protocol.receive(LINE + HOST + b"\r\n")
    assert protocol.next_event() is PAUSED
    assert b"\r\nConnection: close\r\n" in protocol.head(505, b"", 0, DATE)
    protocol.message_sent()
    assert not protocol.start_next_cycle()


def test_refusal_inside_a_body_leaves_what_was_written_alone() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    protocol.receive(CHUNKED + b"1\r\na")
    protocol.next_event()
    protocol.head(200, b"", 0, DATE)
    protocol.message_sent()
    protocol.receive(b"x")
    protocol.next_event()
    assert isinstance(protocol.next_event(), Refusal)
    assert not protocol.has_body
    assert not protocol.start_next_cycle()


def test_slow_head_may_be_given_up() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    protocol.receive(b"GET / HTT")
    assert protocol.next_event() is NEED_DATA
    protocol.give_up()
    assert protocol.buffered_bytes == 0
    assert not protocol.keep_alive
    assert b"\r\nConnection: close\r\n" in protocol.head(408, b"", 0, DATE)
    protocol.message_sent()
    assert not protocol.start_next_cycle()
