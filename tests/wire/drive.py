"""Feeding a protocol and writing down what it says, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from hypothesis import strategies as st

from chunkstore.wire import (
    NEED_DATA,
    PAUSED,
    Closed,
    Data,
    Event,
    FieldMemo,
    Refusal,
    Request,
    ServerProtocol,
    WireLimits,
)

__all__ = [
    "DATE",
    "SMALL",
    "ForgetfulMemo",
    "bytewise",
    "chunked_bodies",
    "drive",
    "first_request",
    "heads",
    "mutated",
    "requests",
    "splits",
]

DATE = b"Mon, 23 Nov 2026 14:03:00 GMT"

SMALL = WireLimits(head_bytes=400, target_bytes=100, fields=6, body_bytes=300)
"""Bounds that generated requests meet often."""


class ForgetfulMemo(FieldMemo):
    """A memo that remembers nothing: every head is parsed."""

    def remember(self, block: bytes, fields: object) -> None:
        """Drop both."""


def drive(
    pieces: Iterable[bytes],
    limits: WireLimits | None = None,
    memo: FieldMemo | None = None,
    *,
    eof: bool = True,
    takes: bool = False,
) -> list[Event]:
    """Feed pieces, answer each request at its end, and return all events.

    With `takes`, by `ServerProtocol.take`, whose data are views that hold until the next feeding.
    Adjacent pieces of a chunk are joined, so that only what the bytes mean is left. While the
    protocol waits for more, what it holds stays bounded.
    """
    limits = limits or WireLimits()
    protocol = ServerProtocol(limits, FieldMemo() if memo is None else memo)
    events: list[Event] = []
    for piece in [*filter(None, pieces), *([b""] if eof else [])]:
        for event in _feed(protocol, piece, takes=takes):
            if event is PAUSED:
                if not _answer(protocol):
                    return events
                continue
            _note(events, event)
            if isinstance(event, Closed):
                return events
            if isinstance(event, Refusal):
                assert protocol.next_event() is PAUSED
                assert not protocol.keep_alive
                assert protocol.buffered_bytes == 0
                return events
        assert protocol.buffered_bytes <= limits.head_bytes
    return events


def _feed(protocol: ServerProtocol, piece: bytes, *, takes: bool) -> Iterator[Event]:
    """Feed a view of a buffer that is overwritten at once: what is kept must have been copied."""
    buffer = bytearray(piece)
    if takes:
        events = protocol.take(memoryview(buffer))
    else:
        protocol.receive(memoryview(buffer))
        buffer[:] = bytes(len(buffer))
        events = [protocol.next_event()]
    *first, event = events
    yield from first
    while event is not NEED_DATA:
        yield event
        buffer[:] = bytes(len(buffer))
        event = protocol.next_event()


def _answer(protocol: ServerProtocol) -> bool:
    protocol.head(204, b"", None, DATE)
    protocol.message_sent()
    return protocol.start_next_cycle()


def _note(events: list[Event], event: Event) -> None:
    if isinstance(event, Data):
        data = bytes(event.data)
        assert data
        last = events[-1]
        if isinstance(last, Data) and not last.chunk_end:
            events[-1] = Data(bytes(last.data) + data, event.chunk_end)
        else:
            events.append(Data(data, event.chunk_end))
    else:
        events.append(event)


def bytewise(data: bytes) -> list[bytes]:
    """Cut into single bytes."""
    return [data[index : index + 1] for index in range(len(data))]


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Cut some bytes anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:stop] for start, stop in pairwise([0, *cuts, len(data)])]


_TOKENS = st.text("abcXYZ019-_.!~", min_size=1, max_size=8)
_VALUES = st.text(
    [chr(code) for code in [*range(0x21, 0x7F), 0x20, 0x09, 0xE9, 0xFF]], max_size=16
).map(lambda text: text.strip(" \t"))
_TARGETS = st.one_of(
    st.text("abc/%2F.~:@!$&'()*+,;=?", max_size=20).map("/".__add__),
    st.sampled_from(["*", "http://h", "HTTPS://h:1/p?q", "http://h?q", "/a#b", "a", "http://u@h/"]),
)
_LINES = st.one_of(
    st.sampled_from(
        [
            *("Connection: close", "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
            *("Expect: 100-continue", "Range: bytes=0-5", 'If-None-Match: "a"', "Host: other"),
            *(
                "Transfer-Encoding: gzip",
                "Content-Length: 3, 3",
                "Content-Length: x",
                "X:",
                " fold",
            ),
        ]
    ),
    st.tuples(_TOKENS, _VALUES).map(": ".join),
)


@st.composite
def heads(draw: st.DrawFn, framing: str | None = None) -> bytes:
    """Make a head that is nearly always right."""
    method = draw(
        st.sampled_from(["GET", "HEAD", "PUT", "POST", "LIST", "OPTIONS", "x-y", "CONNECT"])
    )
    version = draw(st.sampled_from(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/2.0"]))
    lines = draw(st.lists(_LINES, max_size=3))
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["Host: h", "Host: h:80"])))
    if framing:
        lines.append(framing)
    target = draw(_TARGETS)
    head = "\r\n".join([f"{method} {target} {version}", *lines, "", ""]).encode("latin-1")
    return draw(st.sampled_from([b"", b"", b"\r\n", b"\r\n\r\n"])) + head


@st.composite
def chunked_bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Make a chunked body: its bytes, and the data of its chunks."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    extension = st.sampled_from(["", "", ";a", ";a=b", "  ", ';a="b c\té"'])
    size = st.sampled_from(["x", "X", "04x"])
    wire = b"".join(
        (format(len(chunk), draw(size)) + draw(extension)).encode("latin-1")
        + b"\r\n"
        + chunk
        + b"\r\n"
        for chunk in chunks
    )
    trailers = draw(st.sampled_from(["", "", "A: b\r\n", "Content-Length: x\r\nB:\r\n"]))
    return wire + f"0{draw(extension)}\r\n{trailers}\r\n".encode("latin-1"), chunks


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make a whole request, framed in any of the three ways."""
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        return draw(heads())
    if kind == "length":
        body = draw(st.binary(max_size=40))
        return draw(heads(f"Content-Length: {len(body)}")) + body
    return draw(heads("Transfer-Encoding: Chunked")) + draw(chunked_bodies())[0]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Make pipelined requests, then change a few bytes of them."""
    data = bytearray(b"".join(draw(st.lists(requests(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 2))):
        where = draw(st.integers(0, len(data)))
        what = draw(
            st.sampled_from(
                [b"\r", b"\n", b"\0", b" ", b":", b"\r\n", b"\x16", b"0", b"fffffff", b"a" * 150]
            )
        )
        data[where : where + draw(st.integers(0, 3))] = what
    return bytes(data)


def first_request(events: list[Event]) -> Request:
    """Return the first event, which must be a request."""
    event = events[0]
    assert isinstance(event, Request), event
    return event
