"""What we write: legal answers by h11's client side, and only in their turn."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import LocalProtocolError
from chunkstore.wire import (
    NO_LENGTH,
    REASONS,
    Data,
    EndOfBody,
    FieldMemo,
    ServerProtocol,
    WireLimits,
    field_block,
)
from chunkstore.wire.states import TRANSITIONS, Reply, Step, advance
from tests.wire.drive import DATE

FIELDS = field_block([("ETag", '"a"'), ("X-B", "c d")])


def _asked(method: str = "GET", fields: str = "", version: str = "1.1") -> ServerProtocol:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    wire = f"{method} / HTTP/{version}\r\nHost: h\r\n{fields}\r\n"
    protocol.receive(wire.encode())
    protocol.next_event()
    return protocol


def _read(method: str, wire: bytes) -> tuple[h11.Response, bytes, type[h11.Event] | object]:
    """Let h11's client read an answer: head, body, and what it says then."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head, body, client.their_state


@given(
    st.sampled_from([status for status in REASONS if status >= 200]),
    st.sampled_from(["GET", "HEAD", "PUT"]),
    st.one_of(st.none(), st.binary(max_size=20)),
    st.booleans(),
)
def test_h11_reads_what_we_write(
    status: int, method: str, sized: bytes | None, close: bool
) -> None:
    protocol = _asked(method, "Connection: close\r\n" if close else "")
    wire = protocol.head(status, FIELDS, None if sized is None else len(sized), DATE)
    bodyless = status in (204, 304)
    body = b""
    if not bodyless and method != "HEAD":
        body = b"chunk" if sized is None else sized
        wire += b"5\r\nchunk\r\n0\r\n\r\n" if sized is None else sized
    protocol.message_sent()
    head, read, state = _read(method, wire)
    got = {name.decode(): value for name, value in head.headers}
    framing = "content-length" if sized is not None else "transfer-encoding"
    value = b"chunked" if sized is None else str(len(sized)).encode()
    assert (head.status_code, head.reason) == (status, REASONS[status].encode())
    assert read == body
    assert got == {
        "date": DATE,
        "etag": b'"a"',
        "x-b": b"c d",
        **({} if bodyless else {framing: value}),
        **({"connection": b"close"} if close else {}),
    }
    assert (state is h11.MUST_CLOSE) == close
    assert protocol.start_next_cycle() is not close


def test_head_of_an_open_object_has_no_framing() -> None:
    wire = _asked("HEAD").head(200, FIELDS, NO_LENGTH, DATE)
    head, body, _ = _read("HEAD", wire)
    assert {name for name, _ in head.headers} == {b"date", b"etag", b"x-b"}
    assert body == b""


def test_old_clients_get_a_length_and_a_close() -> None:
    protocol = _asked(version="1.0")
    with pytest.raises(ValueError, match="length is needed"):
        protocol.head(200, b"", None, DATE)
    # The mistake wrote nothing: the answer may still be given.
    assert protocol.head(200, b"", 0, DATE).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not protocol.keep_alive


@pytest.mark.parametrize(("status", "length"), [(100, 0), (299, 0), (200, NO_LENGTH)])
def test_mistakes_in_a_head_are_errors(status: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"status must be|length is needed"):
        _asked().head(status, b"", length, DATE)


def test_steps_out_of_turn_are_errors() -> None:
    protocol = ServerProtocol(WireLimits(), FieldMemo())
    with pytest.raises(LocalProtocolError, match="HEAD is not allowed in state IDLE"):
        protocol.head(200, b"", 0, DATE)
    protocol = _asked()
    with pytest.raises(LocalProtocolError, match="SENT is not allowed in state SEND_RESPONSE"):
        protocol.message_sent()
    protocol.head(200, b"", 0, DATE)
    with pytest.raises(LocalProtocolError, match="HEAD is not allowed in state SEND_BODY"):
        protocol.head(200, b"", 0, DATE)
    with pytest.raises(LocalProtocolError, match="CONTINUE is not allowed in state SEND_BODY"):
        protocol.continue_100()
    assert not protocol.start_next_cycle()
    protocol.message_sent()
    with pytest.raises(LocalProtocolError, match="SENT is not allowed in state DONE"):
        protocol.message_sent()
    assert protocol.start_next_cycle()
    assert not protocol.start_next_cycle()
    protocol.receive(b"")
    with pytest.raises(LocalProtocolError, match="no data is expected"):
        protocol.receive(b"x")


def test_table_allows_what_is_written_down_and_nothing_else() -> None:
    for state in Reply:
        for step in Step:
            if (state, step) in TRANSITIONS:
                assert advance(state, step) is TRANSITIONS[state, step]
            else:
                with pytest.raises(LocalProtocolError):
                    advance(state, step)
    # Refusing is always possible and never takes back what was written.
    assert [TRANSITIONS[state, Step.REFUSE] >= state for state in Reply] == [True] * len(Reply)


def test_continue_is_sent_once_and_only_to_who_waits() -> None:
    put = "Expect: 100-Continue\r\nContent-Length: 3\r\n"
    protocol = _asked("PUT", put)
    waits = [protocol.must_continue]
    interim = protocol.continue_100()
    waits.append(protocol.must_continue)
    assert waits == [True, False]
    assert protocol.continue_100() == b""
    client = h11.Connection(h11.CLIENT)
    client.send(
        h11.Request(method="PUT", target="/", headers=[("Host", "h"), ("Content-Length", "3")])
    )
    client.receive_data(interim)
    event = client.next_event()
    assert isinstance(event, h11.InformationalResponse)
    assert event.status_code == 100
    assert not _asked("PUT", "Content-Length: 3\r\n").must_continue
    assert not _asked("PUT", put, "1.0").must_continue
    assert not _asked("GET", "Expect: 100-continue\r\n").must_continue


def test_client_that_sent_its_body_waits_no_more() -> None:
    protocol = _asked("PUT", "Expect: 100-continue\r\nContent-Length: 3\r\n")
    protocol.receive(b"a")
    assert protocol.next_event() == Data(b"a", chunk_end=False)
    assert not protocol.must_continue


def test_early_answer_keeps_the_connection_once_the_body_is_whole() -> None:
    protocol = _asked("PUT", "Content-Length: 3\r\n")
    assert b"Connection" not in protocol.head(413, b"", 0, DATE)
    protocol.message_sent()
    assert (protocol.has_body, protocol.keep_alive) == (True, False)
    assert not protocol.start_next_cycle()
    protocol.receive(b"abc")
    assert protocol.next_event() == Data(b"abc", chunk_end=False)
    assert protocol.next_event() == EndOfBody()
    assert (protocol.has_body, protocol.keep_alive) == (False, True)
    assert protocol.start_next_cycle()


def test_close_after_is_said_in_the_head() -> None:
    protocol = _asked()
    protocol.close_after()
    assert b"\r\nConnection: close\r\n" in protocol.head(200, b"", 0, DATE)
    protocol.message_sent()
    assert not protocol.start_next_cycle()
    protocol = _asked()
    assert b"Connection" not in protocol.head(200, b"", 0, DATE)
    protocol.close_after()
    protocol.message_sent()
    assert not protocol.start_next_cycle()
