"""Reading along: at every byte of every kind of request it knows whose body passes, and how far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.studio.framing import Requests
from tests.bench.studio.test_fmp4 import pieces


def is_wanted(path: str) -> bool:
    """Segments are."""
    return path.endswith(".m4s")


@dataclass
class Request:
    """A request, and how its body is framed."""

    method: str
    path: str
    query: str
    framing: str
    chunks: list[bytes]

    def trace(self) -> list[tuple[int, str, int, bool]]:
        """Its bytes, and after each of them what is known: path, offset, amid."""
        found: list[tuple[int, str, int, bool]] = []
        offset, amid = 0, False

        def frame(data: bytes) -> None:
            found.extend((byte, self.path, offset, amid) for byte in data)

        wanted = self.method in ("PUT", "POST") and is_wanted(self.path)
        line = f"{self.method} {self.path}{self.query} HTTP/1.1\r\n".encode()
        frame(line)
        frame(b"Host: a\r\n")
        body = b"".join(self.chunks)
        if self.framing == "chunked":
            frame(b"Transfer-Encoding: chunked\r\n")
        elif self.framing == "length":
            frame(b"content-length: %d\r\n" % len(body))
        frame(b"\r\n")
        if self.framing == "chunked":
            amid = wanted
            found[-1] = (*found[-1][:3], amid)
            for chunk in self.chunks:
                frame(b"%X;x=y\r\n" % len(chunk))
                for byte in chunk:
                    offset += 1
                    frame(bytes([byte]))
                frame(b"\r\n")
            frame(b"0\r")
            amid = False
            frame(b"\nTrailer: 1\r\n\r\n")
        elif self.framing == "length" and body:
            amid = wanted
            found[-1] = (*found[-1][:3], amid)
            for at, byte in enumerate(body):
                offset, amid = at + 1, wanted and at + 1 < len(body)
                frame(bytes([byte]))
        return found


requests = st.builds(
    Request,
    method=st.sampled_from(["PUT", "POST", "GET", "DELETE"]),
    path=st.sampled_from(["/live/1.m4s", "/live/2.m4s", "/live/a.mpd"]),
    query=st.sampled_from(["", "?a=b"]),
    framing=st.sampled_from(["chunked", "length", "none"]),
    chunks=st.lists(st.binary(min_size=1, max_size=200), max_size=4),
)


@given(st.lists(requests, max_size=5), st.lists(st.integers(0), max_size=8))
def test_at_every_byte_it_knows_where_it_is(sent: list[Request], cuts: list[int]) -> None:
    trace = [step for request in sent for step in request.trace()]
    data = bytes(step[0] for step in trace)
    one_by_one = Requests(is_wanted)
    for byte, path, offset, amid in trace:
        assert one_by_one.feed(bytes([byte])) == 1
        assert one_by_one.is_amid is amid
        if amid:
            assert (one_by_one.path, one_by_one.offset) == (path, offset)
    in_pieces = Requests(is_wanted)
    for piece in pieces(data, cuts):
        assert in_pieces.feed(memoryview(piece)) == len(piece)
    for name in ("path", "offset", "is_amid"):
        assert getattr(in_pieces, name) == getattr(one_by_one, name)


@given(st.lists(requests, max_size=4), st.integers(1, 300), st.lists(st.integers(0), max_size=8))
def test_it_stops_at_an_offset(sent: list[Request], stop_at: int, cuts: list[int]) -> None:
    trace = [step for request in sent for step in request.trace()]
    data = bytes(step[0] for step in trace)
    reached = [at for at, step in enumerate(trace, 1) if step[3] and step[2] == stop_at]
    assert read_until(stop_at, pieces(data, cuts)) == (reached[0] if reached else len(data))


def read_until(stop_at: int, some: Iterable[bytes]) -> int:
    """How many bytes pass until an upload of interest has come so far, as the proxy does it."""
    under_test, read = Requests(is_wanted), 0
    for piece in some:
        at = 0
        while at < len(piece):
            at += (size := under_test.feed(piece[at:], stop_at))
            assert size
            read += size
            if under_test.is_amid and under_test.offset >= stop_at:
                return read
    return read


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\n",
        b"PUT /live/1.m4s HTTP/2.0\r\n",
        b"PUT /live/1.m4s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
        b"PUT /" + b"x" * 70_000,
    ],
)
def test_what_it_cannot_read_it_lets_pass(data: bytes) -> None:
    under_test = Requests(is_wanted)
    assert under_test.feed(data) == len(data)
    assert under_test.feed(b"PUT /1.m4s HTTP/1.1\r\nContent-Length: 5\r\n\r\n123", 1) == 45
    assert not under_test.is_amid
