"""What any input means: the same however it is cut, however much is remembered, and as h11 says."""

from __future__ import annotations

import h11
from hypothesis import assume, given
from hypothesis import strategies as st

from chunkstore.wire import (
    NEED_DATA,
    PAUSED,
    Closed,
    Data,
    EndOfBody,
    Event,
    FieldMemo,
    Refusal,
    Request,
    ServerProtocol,
    WireLimits,
)
from tests.wire.drive import (
    DATE,
    SMALL,
    ForgetfulMemo,
    bytewise,
    chunked_bodies,
    drive,
    first_request,
    heads,
    mutated,
    requests,
    splits,
)

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
PUT = b"PUT /a HTTP/1.1\r\nHost: h\r\n"


@given(st.data(), mutated(), st.sampled_from([SMALL, WireLimits()]))
def test_any_split_gives_the_same_events(
    data: st.DataObject, wire: bytes, limits: WireLimits
) -> None:
    whole = drive([wire], limits)
    for takes in (False, True):
        assert drive(data.draw(splits(wire)), limits, takes=takes) == whole
        assert drive(bytewise(wire), limits, takes=takes) == whole


@given(st.lists(mutated(), min_size=1, max_size=2), st.sampled_from([SMALL, WireLimits()]))
def test_memo_changes_nothing(wires: list[bytes], limits: WireLimits) -> None:
    memo = FieldMemo(max_entries=2)
    for wire in [*wires, *wires]:
        assert drive([wire], limits, memo) == drive([wire], limits, ForgetfulMemo())
    assert len(memo) <= 2


@given(heads(), heads())
def test_memo_hit_equals_a_parse_for_any_request_line(one: bytes, other: bytes) -> None:
    line, _, _ = one.lstrip(b"\r\n").partition(b"\r\n")
    _, _, block = other.lstrip(b"\r\n").partition(b"\r\n")
    memo = FieldMemo()
    drive([b"GET / HTTP/1.1\r\n" + block], memo=memo)
    wire = line + b"\r\n" + block
    assert drive([wire], memo=memo) == drive([wire], memo=ForgetfulMemo())


def _ask_h11(wire: bytes) -> tuple[h11.Request, list[bytes], bool]:
    """Return what h11 makes of one request: its head, its chunks, and whether it ended."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    connection.receive_data(wire)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    data = []
    while isinstance(event := connection.next_event(), h11.Data):
        data.append(bytes(event.data))
    return request, data, isinstance(event, h11.EndOfMessage)


@given(requests())
def test_what_passes_is_what_h11_says(wire: bytes) -> None:
    # h11 judges trailers as it judges heads; we drop them.
    events = drive([wire], eof=False)
    assume(not isinstance(events[-1], Refusal) and b"\r\nContent-Length: x\r\n" not in wire)
    head, data, ended = _ask_h11(wire.lstrip(b"\r\n"))
    request = first_request(events)
    assert request.method == head.method.decode()
    assert request.target == head.target.decode()
    for name, value in head.headers:
        if name != b"host" or request.target.startswith("/"):
            assert value.decode("latin-1") in (request.fields.get(name.decode()) or "")
    assert [bytes(event.data) for event in events if isinstance(event, Data)] == data
    has_body = request.fields.chunked or bool(request.fields.content_length)
    assert ended == (EndOfBody() in events or not has_body)


@given(chunked_bodies(), st.data())
def test_chunks_keep_their_boundaries(body: tuple[bytes, list[bytes]], data: st.DataObject) -> None:
    wire, chunks = body
    pieces = data.draw(splits(PUT + b"Transfer-Encoding: chunked\r\n\r\n" + wire + GET))
    events = drive(pieces)
    assert events[1:-2] == [*(Data(chunk, chunk_end=True) for chunk in chunks), EndOfBody()]
    assert isinstance(events[-2], Request)
    assert events[-1] == Closed(clean=True)


@given(st.binary(max_size=60), st.data())
def test_declared_length_ends_where_it_says(body: bytes, data: st.DataObject) -> None:
    head = PUT + b"Content-Length: %d\r\n\r\n" % len(body)
    events = drive(data.draw(splits(head + body + GET)), takes=data.draw(st.booleans()))
    expected = [Data(body, chunk_end=False), EndOfBody()] if body else []
    assert events[1:-2] == expected
    assert isinstance(events[-2], Request)


@given(st.binary(max_size=300), st.data())
def test_random_bytes_give_events_and_nothing_else(noise: bytes, data: st.DataObject) -> None:
    assert drive(data.draw(splits(noise)), SMALL) == drive([noise], SMALL)


def test_chunk_is_whole_without_its_crlf() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    protocol.receive(PUT + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc")
    assert isinstance(protocol.next_event(), Request)
    assert protocol.next_event() == Data(b"abc", chunk_end=True)
    assert protocol.next_event() is NEED_DATA


def test_pipelined_request_waits_for_its_turn() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    protocol.receive(GET + GET + b"GET")
    for held in (len(GET) + 3, 3):
        assert isinstance(protocol.next_event(), Request)
        assert not protocol.has_body
        assert not protocol.head_started
        assert protocol.next_event() is PAUSED
        assert protocol.buffered_bytes == held
        protocol.head(200, b"", 0, DATE)
        protocol.message_sent()
        assert protocol.start_next_cycle()
    assert protocol.next_event() is NEED_DATA
    assert protocol.head_started


def test_head_starts_behind_the_empty_lines() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    protocol.receive(b"\r\n\r\n")
    assert protocol.next_event() is NEED_DATA
    assert not protocol.head_started
    protocol.receive(GET)
    assert isinstance(protocol.next_event(), Request)


def test_eof_is_clean_only_between_requests() -> None:
    chunked = PUT + b"Transfer-Encoding: chunked\r\n\r\n"
    cases: list[tuple[bytes, bool]] = [
        *((b"", True), (b"\r\n", True), (GET, True), (chunked + b"0\r\n\r\n", True)),
        *((b"G", False), (b"\r", False), (GET + b"GET / HTTP/1.1\r\n", False)),
        *((chunked, False), (chunked + b"3\r\nabc\r\n", False), (chunked + b"0\r\n", False)),
        (PUT + b"Content-Length: 3\r\n\r\nab", False),
    ]
    for wire, clean in cases:
        assert drive([wire])[-1] == Closed(clean), wire


def test_body_of_tiny_chunks_is_given_out_in_full() -> None:
    count = 5000
    wire = PUT + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * count + b"0\r\n\r\n"
    events = drive([wire])
    assert events[1:-1] == [Data(b"x", chunk_end=True)] * count + [EndOfBody()]


def test_targets_are_split() -> None:
    cases = {
        b"/a/b?c?d": ("/a/b", "c?d", "h"),
        b"/": ("/", "", "h"),
        b"/a?": ("/a", "", "h"),
        b"//a": ("//a", "", "h"),
        b"http://o:8/p%20q?r": ("/p%20q", "r", "o:8"),
        b"HTTP://o": ("/", "", "o"),
        b"https://[::1]:8?x": ("/", "x", "[::1]:8"),
    }
    for target, expected in cases.items():
        wire = b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"
        memo = FieldMemo()
        for _ in range(2):
            request = first_request(drive([wire], memo=memo))
            assert (request.path, request.query, request.fields.host) == expected
            assert request.fields.get("host") == expected[2]
            assert request.target == target.decode()
    for target in (b"*", b"http://h"):
        request = first_request(drive([b"OPTIONS " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"]))
        assert request.path == "*"


def test_fields_say_what_matters() -> None:
    def fields(lines: bytes, version: bytes = b"1.1") -> Event:
        return drive([b"PUT / HTTP/" + version + b"\r\nHost: h\r\n" + lines + b"\r\n"], eof=False)[
            0
        ]

    event = fields(b"X-A: 1\r\nx-a:  2 \r\nN\xe4: \r\n")
    assert isinstance(event, Refusal)
    request = first_request([fields(b"X-A: 1\r\nx-a:  2 \r\nB: \xe4\r\n")])
    assert request.fields.get("x-a") == "1, 2"
    assert request.fields.get("b") == "\xe4"
    assert request.fields.get("c") is None
    assert request.fields.is_plain
    assert request.fields.keep_alive
    assert not request.http_1_0
    for line in (b"Range", b"If-Match", b"Prefer", b"Origin", b"Access-Control-Request-Method"):
        assert not first_request([fields(line + b": x\r\n")]).fields.is_plain
    assert not first_request([fields(b"Connection: x, Close\r\n")]).fields.keep_alive
    assert first_request([fields(b"Upgrade: h2c\r\nConnection: Upgrade\r\n")]).fields.keep_alive
    old = first_request([fields(b"Connection: keep-alive\r\nExpect: 100-continue\r\n", b"1.0")])
    assert (old.http_1_0, old.fields.keep_alive, old.fields.expects_continue) == (
        True,
        False,
        False,
    )
    sized = first_request([fields(b"Content-Length: 007\r\n")])
    assert (sized.fields.content_length, sized.fields.chunked) == (7, False)


def test_what_comes_at_once_is_taken_at_once() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    protocol.receive(b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(protocol.next_event(), Request)
    assert protocol.take(memoryview(b"3\r\nab")) == [Data(b"ab", chunk_end=False)]
    assert protocol.take(memoryview(b"c\r\n1\r\nd\r\n2\r\nef\r\n0\r\n\r\nGET /b")) == [
        Data(b"c", chunk_end=True),
        Data(b"d", chunk_end=True),
        Data(b"ef", chunk_end=True),
        EndOfBody(),
    ]
    assert protocol.buffered_bytes == len(b"GET /b")


def test_a_flood_of_tiny_chunks_is_taken_in_bounded_batches() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    protocol.receive(b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(protocol.next_event(), Request)
    assert protocol.take(memoryview(b"1\r\nx\r\n" * 100)) == [Data(b"x", chunk_end=True)] * 32
    assert [protocol.next_event() for _ in range(68)] == [Data(b"x", chunk_end=True)] * 68
    assert protocol.next_event() is NEED_DATA
