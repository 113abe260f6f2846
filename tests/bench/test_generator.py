"""The generator against a double that serves segments, rightly or with one fault: it must tell.

The double is a read-while-write server without a hold, on threads: a GET that comes too early is
404, one that comes late has a length, and closes its connection.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench.build import NoCompilerError, build

OBJECTS, READERS, CHUNK = 2, 4, 64
FAULTY_FROM = 30 * OBJECTS  # names with this number and above, of the run's 40 segments or more

pytestmark = pytest.mark.real


class Growing:
    """An object: its chunks, and whether that is all."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.is_whole = False


class Origin(ThreadingHTTPServer):
    """The double; `fault` says what it does wrong with later segments."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fault: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.objects: dict[int, Growing] = {}
        self.changed = threading.Condition()
        self.gets_by_connection: dict[tuple[str, int], int] = {}

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that reset are part of the test."""


class Handler(BaseHTTPRequestHandler):
    """One connection's requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Origin

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_PUT(self) -> None:
        """Take a chunked body as it comes."""
        origin, growing = self.server, Growing()
        while size := int(self.rfile.readline(), 16):
            chunk = self.rfile.read(size)
            self.rfile.readline()
            with origin.changed:
                growing.chunks.append(chunk)
                origin.objects[self.number] = growing
                origin.changed.notify_all()
        self.rfile.readline()
        with origin.changed:
            growing.is_whole = True
            origin.changed.notify_all()
        self.answer(201, b"stored")

    def do_GET(self) -> None:
        """Follow an object, in one of the ways that a fault names."""
        origin, number = self.server, self.number
        counts = origin.gets_by_connection
        counts[self.client_address] = counts.get(self.client_address, 0) + 1
        fault = origin.fault if number >= FAULTY_FROM else ""
        if fault == "skips a segment":
            number += OBJECTS
        growing = origin.objects.get(number)
        if growing is None or fault == "never has it":
            self.answer(404, b"not yet")
        elif growing.is_whole and not fault:
            self.close_connection = True
            self.answer(200, b"".join(growing.chunks))
        else:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for index, chunk in enumerate(self.follow(growing)):
                if fault == "loses a chunk" and index == 1:
                    continue
                if fault == "ends early" and index == 2:
                    break
                if fault == "cuts" and index == 2:
                    self.close_connection = True
                    return
                data = chunk[:-1] + b"!" if fault == "changes a byte" else chunk
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")

    def follow(self, growing: Growing) -> Iterator[bytes]:
        """All chunks, each as soon as it is there."""
        index = 0
        while True:
            with self.server.changed:
                while index == len(growing.chunks) and not growing.is_whole:
                    self.server.changed.wait()
                if index == len(growing.chunks):
                    return
            yield growing.chunks[index]
            index += 1

    def answer(self, status: int, body: bytes) -> None:
        """A whole answer with its length."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    @property
    def number(self) -> int:
        """The object's, from its name."""
        return int(self.path.removeprefix("/live/o-").removesuffix(".m4s"))


def load(origin: Origin) -> dict[str, Any]:
    """The generator's report of segments of five chunks, 25 ms each."""
    options = {
        **{"port": origin.server_address[1], "objects": OBJECTS, "readers": READERS},
        **{"chunk": CHUNK, "rate": 200, "segment": 5, "check-one-in": 1},
        **{"lead-ms": 50, "join-ms": 50, "settle-ms": 20, "seconds-ms": 1000},
        **{"give-up-ms": 300, "drain-ms": 2000},
    }
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    try:
        command = [str(build("loadgen")), *flags]
    except NoCompilerError as error:
        pytest.skip(str(error))
    thread = threading.Thread(target=origin.serve_forever, args=(0.01,))
    thread.start()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    finally:
        origin.shutdown()
        thread.join()
        origin.server_close()
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_every_reader_gets_every_segment() -> None:
    origin = Origin("")
    report = load(origin)
    for count in ("wrong", "cut", "refused", "hung", "false_ends", "writers_failed"):
        assert report[count] == 0, count
    assert report["delivered_bytes"] == report["expected_bytes"] > 0
    # All readers of a slot are owed the same; of two slots one may be a chunk ahead at the end.
    assert report["expected_bytes"] % (READERS * CHUNK) == 0
    assert report["checked_bytes"] > 0
    assert report["clean_ends"] == OBJECTS * READERS
    assert report["segments"] > OBJECTS * READERS * 10
    assert report["retries"] > 0
    assert report["first_chunk"]["count"] > 0
    for slot in range(OBJECTS):
        stored = sorted(number for number in origin.objects if number % OBJECTS == slot)
        assert stored == list(range(slot, stored[-1] + 1, OBJECTS))
    assert report["writers_ok"] == len(origin.objects)


def test_slots_begin_their_segments_at_different_times() -> None:
    origin = Origin("")
    load(origin)
    sizes = [[len(origin.objects[slot + OBJECTS * n].chunks) for n in (0, 1)] for slot in (0, 1)]
    assert sizes == [[5, 5], [3, 5]]


def test_half_of_the_readers_keep_their_connection() -> None:
    origin = Origin("")
    report = load(origin)
    counts = origin.gets_by_connection.values()
    # Who reconnects asks for one segment a connection, and asks again on it while that isn't there.
    assert len(counts) > report["segments"] / 3
    assert len(counts) < report["segments"] + OBJECTS * READERS


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ("changes a byte", "wrong"),
        ("loses a chunk", "wrong"),
        ("skips a segment", "wrong"),
        ("ends early", "false_ends"),
        ("cuts", "cut"),
        ("never has it", "refused"),
    ],
)
def test_a_fault_is_counted_and_its_bytes_are_still_owed(fault: str, counted: str) -> None:
    report = load(Origin(fault))
    assert report[counted] > 0
    assert report["hung"] == 0
    if fault != "changes a byte":
        assert report["delivered_bytes"] < report["expected_bytes"]
