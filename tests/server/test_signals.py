"""A real process: the first signal drains it, a second one ends it at once."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.live.rig import parse

END_S = 20.0
"""A hang guard: the drain itself may take 10 s, and must not in any of these."""


class Process:
    """`chunkstore serve` on a port that the kernel chose."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "chunkstore",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "off",
            ],
            stderr=subprocess.PIPE,
        )
        assert self._process.stderr is not None
        line = self._process.stderr.readline().decode()
        assert line.startswith("listening on http://127.0.0.1:")
        self._port = int(line.rpartition(":")[2])

    def send(self, data: bytes) -> socket.socket:
        """A connection that has sent `data`."""
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=END_S)
        raw.sendall(data)
        return raw

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def code(self) -> int:
        """How it ended."""
        return self._process.wait(END_S)

    def end(self) -> None:
        """Whatever happened, it ends."""
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()


@pytest.fixture
def process() -> Iterator[Process]:
    """One that runs."""
    process = Process()
    yield process
    process.end()


def read_until(raw: socket.socket, end: bytes) -> bytes:
    """Read up to `end`, or to the connection's."""
    found = b""
    while end not in found and (data := raw.recv(65536)):
        found += data
    return found


PUT = b"PUT /live HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
GET = b"GET /live HTTP/1.1\r\nHost: h\r\nPrefer: wait=5\r\n\r\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_what_runs_finish(
    process: Process, number: signal.Signals, code: int
) -> None:
    with process.send(PUT) as writer, process.send(GET) as reader, process.send(b"") as idle:
        began = read_until(reader, b"1\r\nx\r\n")
        process.signal(number)
        assert idle.recv(1) == b""
        writer.sendall(b"1\r\ny\r\n0\r\n\r\n")
        assert parse(read_until(writer, b"}\n")).status == 201
        answer = parse(began + read_until(reader, b"0\r\n\r\n"))
        assert (answer.is_whole, answer.body) == (True, b"1\r\nx\r\n1\r\ny\r\n")
    assert process.code() == code


def test_a_second_signal_ends_it_at_once(process: Process) -> None:
    with process.send(PUT), process.send(GET) as reader, process.send(b"") as idle:
        began = read_until(reader, b"1\r\nx\r\n")
        process.signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        process.signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            reader.recv(1)
        assert not parse(began).is_whole
    assert process.code() == 0


def test_a_signal_right_after_the_announcement_is_a_drain() -> None:
    for _ in range(5):
        process = Process()
        process.signal(signal.SIGTERM)
        try:
            assert process.code() == 0
        finally:
            process.end()
