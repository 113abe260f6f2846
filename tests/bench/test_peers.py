"""Each peer does what it is compared for: read while write, truthful ends, and a clean goodbye.

Everything goes over raw sockets with a deadline, so that nothing is judged by another library.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.harness import Server, serve
from bench.peers import PEERS, Peer
from bench.usage import family, is_running

DEADLINE_S = 10.0
FIRST, SECOND = b"first." * 1000, b"second." * 5000

pytestmark = pytest.mark.real


@dataclass
class Client:
    """A connection, and what has been received of it but not yet taken."""

    server: Server
    socket: socket.socket = field(init=False)
    received: bytes = b""

    def __post_init__(self) -> None:
        self.socket = socket.create_connection((self.server.host, self.server.port), DEADLINE_S)

    def send(self, data: bytes) -> None:
        """Sends all of it."""
        self.socket.sendall(data)

    def request(self, method: str, path: str, *fields: str) -> None:
        """Sends a request's head."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.server.host}:{self.server.port}"]
        self.send("\r\n".join([*lines, *fields, "", ""]).encode())

    def chunk(self, data: bytes) -> None:
        """Sends one chunk; the last one if it is empty."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def take(self, size: int) -> bytes:
        """The next `size` bytes; EOFError if the peer ends before."""
        while len(self.received) < size:
            self.received += self._receive()
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    def take_until(self, end: bytes) -> bytes:
        """All up to `end`, and without it; EOFError if the peer ends before."""
        while end not in self.received:
            self.received += self._receive()
        taken, _, self.received = self.received.partition(end)
        return taken

    def head(self) -> tuple[int, dict[str, str]]:
        """A response's status and fields, the names in lower case."""
        status, *lines = self.take_until(b"\r\n\r\n").decode().split("\r\n")
        fields = (line.partition(":") for line in lines)
        return int(status.split()[1]), {name.lower(): value.strip() for name, _, value in fields}

    def take_chunk(self) -> bytes:
        """One chunk's bytes, b"" for the last one."""
        data = self.take(int(self.take_until(b"\r\n").partition(b";")[0], 16))
        assert self.take(2) == b"\r\n"
        return data

    def take_chunked(self, size: int) -> bytes:
        """At least `size` bytes of a chunked body."""
        body = b""
        while len(body) < size:
            part = self.take_chunk()
            assert part, "the last chunk came too early"
            body += part
        return body

    def close(self, *, abruptly: bool = False) -> None:
        """Closes; abruptly is with a reset."""
        if abruptly:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _receive(self) -> bytes:
        data = self.socket.recv(65536)  # a TimeoutError after the deadline
        if not data:
            raise EOFError(f"the peer ended after {self.received[-100:]!r}")
        return data


@pytest.fixture(scope="module", params=list(PEERS.values()), ids=list(PEERS))
def peer(request: pytest.FixtureRequest) -> Peer:
    found: Peer = request.param
    if why := found.missing():
        pytest.skip(why)
    return found


@pytest.fixture(scope="module")
def server(peer: Peer) -> Iterator[Server]:
    with serve(peer.name, peer.command()) as server:
        yield server


@pytest.fixture
def clients(server: Server) -> Iterator[tuple[Client, Client]]:
    pair = Client(server), Client(server)
    yield pair
    for client in pair:
        client.close()


def start_put(writer: Client, path: str) -> None:
    """Begins an upload and sends its first chunk."""
    writer.request("PUT", path, "Transfer-Encoding: chunked")
    writer.chunk(FIRST)


def follow(reader: Client, path: str) -> dict[str, str]:
    """Begins to read an open object, as soon as it is there; the head's fields."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        reader.request("GET", path)
        status, fields = reader.head()
        if status == 200:
            return fields
        reader.take(int(fields["content-length"]))
        assert status == 404
        time.sleep(0.01)
    raise TimeoutError(f"{path} never came to be")


def assert_complete(reader: Client, path: str) -> None:
    """GET gives a length and all the bytes, and leaves the connection usable."""
    reader.request("GET", path)
    status, fields = reader.head()
    assert status == 200
    assert int(fields["content-length"]) == len(FIRST + SECOND)
    assert "transfer-encoding" not in fields
    assert reader.take(len(FIRST + SECOND)) == FIRST + SECOND


def test_a_complete_object_has_a_length(clients: tuple[Client, Client]) -> None:
    writer, reader = clients
    start_put(writer, "/live/complete")
    writer.chunk(SECOND)
    writer.chunk(b"")
    assert writer.head()[0] in (200, 201, 204)
    for _ in range(2):  # the same connection serves both
        assert_complete(reader, "/live/complete")


def test_an_open_object_is_followed_to_its_end(peer: Peer, clients: tuple[Client, Client]) -> None:
    if not peer.live:
        return
    writer, reader = clients
    start_put(writer, "/live/open")
    assert follow(reader, "/live/open").get("transfer-encoding") == "chunked"
    assert reader.take_chunked(len(FIRST)) == FIRST  # before the second is sent
    writer.chunk(SECOND)
    assert reader.take_chunked(len(SECOND)) == SECOND
    writer.chunk(b"")
    assert reader.take_chunk() == b""
    assert writer.head()[0] == 201
    assert_complete(reader, "/live/open")


def test_a_killed_upload_has_no_clean_end(peer: Peer, clients: tuple[Client, Client]) -> None:
    writer, reader = clients
    start_put(writer, "/live/killed")
    if peer.live:
        follow(reader, "/live/killed")
        assert reader.take_chunked(len(FIRST)) == FIRST
    writer.send(b"%x\r\n%b" % (len(SECOND), SECOND[:100]))
    writer.close(abruptly=True)
    if peer.live:
        with pytest.raises((EOFError, ConnectionResetError)):
            reader.take_chunked(len(SECOND))  # what came of it may be sent, but no last chunk
    else:
        reader.request("GET", "/live/killed")
        assert reader.head()[0] == 404


def test_two_hundred_readers_all_get_it(peer: Peer, server: Server) -> None:
    writer = Client(server)
    start_put(writer, "/live/many")
    readers = [Client(server) for _ in range(200)]
    if peer.live:
        for reader in readers:
            follow(reader, "/live/many")
    writer.chunk(SECOND)
    writer.chunk(b"")
    assert writer.head()[0] in (200, 201, 204)
    for reader in readers:
        if peer.live:
            assert reader.take_chunked(len(FIRST + SECOND)) == FIRST + SECOND
            assert reader.take_chunk() == b""
        else:
            assert_complete(reader, "/live/many")
        reader.close()
    writer.close()


def test_terminated_it_leaves_nothing(peer: Peer, tmp_path: Path) -> None:
    with serve(peer.name, peer.command(), {"TMPDIR": str(tmp_path)}) as server:
        writer, idle = Client(server), Client(server)
        start_put(writer, "/live/unfinished")
        idle.request("GET", "/live/nothing")
        assert idle.head()[0] == 404
        started = family(server.pid)
        server.process.terminate()
        server.process.wait(DEADLINE_S)
        for client in (writer, idle):
            client.close()
        assert [pid for pid in started if is_running(pid)] == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_said_in_a_sentence() -> None:
    assert Peer("a", "a.py", modules=("no_such_module",)).missing() == (
        "no_such_module is not installed (it comes with the extra `bench`)"
    )
    assert Peer("b", "b.mjs", program="no-such-program").missing() == (
        "there is no program no-such-program here"
    )
