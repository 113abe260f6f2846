"""What does TLS cost a fan-out, beside the same readers without it?

Method: one writer over a plain Unix socket in both cases, and readers over TCP that follow its
object, with TLS (1.3, a P-256 certificate) or without. They join one after the other; the steady
state behind that is judged: server CPU per GiB of payload, latency from the writer's send to a
reader having a chunk. The two take turns. Joins are shown apart: server CPU for each.

Caveats: writer and readers are one Python process, this one, since the C generator speaks no TLS.
It opens every record itself and is the slower side: its share of a core (`client`) is shown, and a
run in which it used more than 0.9 is void. What is compared is not the cipher alone: plain readers
are pushed to by one task, readers over TLS each run in their own, since their bytes differ.
"""

from __future__ import annotations

import itertools
import os
import selectors
import shlex
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trustme

from bench.build import BenchError
from bench.contest import Contestant, Results, turns
from bench.harness import OURS, Parser, Result, Server, main, open_results, serve
from bench.outcome import CPU, Verdicts

__all__ = ["Reader", "measure"]

_OBJECT = "/tls/1.m4s"
_STAMP = struct.Struct("<QQ")
_DEADLINE_S = 30.0
_BUSY_CORES = 0.9
_PLAIN, _TLS = "ours", "ours over TLS"


@dataclass
class Reader:
    """One reader: checks each chunk against what was sent.

    Args:
        sock: connected, GET sent.
        chunk: what every chunk has behind its stamp.
        ages_s: gets the latency of each chunk.
    """

    sock: socket.socket
    chunk: bytes
    ages_s: list[float]
    buffer: bytearray = field(default_factory=bytearray)
    is_in_body: bool = False
    count: int = 0
    is_ended: bool = False

    def receive(self) -> None:
        """Take all that is there.

        Raises:
            BenchError: a wrong byte, or an end before its time.
        """
        while not self.is_ended:
            try:
                data = self.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not data:
                raise BenchError(f"a reader was cut after {self.count} chunks")
            self.buffer += data
            self._take()

    def _take(self) -> None:
        if not self.is_in_body:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200 "):
                raise BenchError(f"a reader got {bytes(head[:60])!r}")
            self.is_in_body, self.buffer = True, rest
        while (stop := self.buffer.find(b"\r\n", 0, 20)) > 0:
            size = int(self.buffer[:stop], 16)
            if len(self.buffer) < stop + size + 4:
                return
            data = bytes(memoryview(self.buffer)[stop + 2 : stop + 2 + size])
            del self.buffer[: stop + size + 4]
            if not size:
                self.is_ended = True
                return
            number, sent_ns = _STAMP.unpack_from(data)
            if number != self.count or data[_STAMP.size :] != self.chunk[_STAMP.size :]:
                raise BenchError(f"a reader got a wrong chunk after {self.count}")
            self.count += 1
            self.ages_s.append((time.monotonic_ns() - sent_ns) / 1e9)


class _Load:
    """A writer and its readers, in one loop."""

    def __init__(self, server: Server, unix_path: str, chunk_bytes: int) -> None:
        self._server = server
        self._chunk = os.urandom(chunk_bytes)
        self._numbers = itertools.count()
        self._selector = selectors.DefaultSelector()
        self.readers: list[Reader] = []
        self.ages_s: list[float] = []
        self._writer = socket.socket(socket.AF_UNIX)
        self._writer.settimeout(_DEADLINE_S)
        self._writer.connect(unix_path)
        self._writer.sendall(
            f"PUT {_OBJECT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )

    def write(self) -> None:
        """Send the next chunk."""
        stamp = _STAMP.pack(next(self._numbers), time.monotonic_ns())
        data = stamp + self._chunk[_STAMP.size :]
        self._writer.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Say that the object is whole."""
        self._writer.sendall(b"0\r\n\r\n")

    def join(self, context: ssl.SSLContext | None) -> None:
        """One more reader, which gets what there is before the next one comes."""
        sock = socket.create_connection((self._server.host, self._server.port), _DEADLINE_S)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname="localhost")
        sock.sendall(f"GET {_OBJECT} HTTP/1.1\r\nHost: h\r\nPrefer: wait=5\r\n\r\n".encode())
        sock.setblocking(False)
        reader = Reader(sock, self._chunk, self.ages_s)
        self.readers.append(reader)
        self._selector.register(sock, selectors.EVENT_READ, reader)
        self.receive_until(lambda: reader.count > 0)

    def receive_until(self, holds: Callable[[], bool], due_s: float = 0.0) -> None:
        """Receive until something holds; then, or before, until `due_s` has come."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while not holds():
            now_s = time.monotonic()
            if now_s > deadline_s:
                raise BenchError(f"readers got nothing more for {_DEADLINE_S:.0f} s")
            for key, _ in self._selector.select(max(0.0, due_s - now_s) if due_s else 1.0):
                key.data.receive()

    def close(self) -> None:
        """Close all."""
        for sock in (self._writer, *(reader.sock for reader in self.readers)):
            sock.close()
        self._selector.close()


def _is_past(due_s: float) -> bool:
    return time.monotonic() >= due_s


def measure(
    server: Server,
    context: ssl.SSLContext | None,
    unix_path: str,
    *,
    readers: int,
    chunk_bytes: int,
    rate: float,
    seconds: float,
) -> Result:
    """One turn: join, measure, end."""
    load = _Load(server, unix_path, chunk_bytes)
    try:
        load.write()
        before = server.usage()
        for _ in range(readers):
            load.join(context)
        joined, client_s = server.usage(), time.process_time()
        load.ages_s.clear()
        began_s = time.monotonic()
        chunks = round(seconds * rate)
        for number in range(1, chunks + 1):
            due_s = began_s + number / rate
            load.receive_until(partial(_is_past, due_s), due_s)
            load.write()
        load.receive_until(lambda: all(reader.count > chunks for reader in load.readers))
        took_s = time.monotonic() - began_s
        used, client_s = server.usage(), time.process_time() - client_s
        load.end()
        load.receive_until(lambda: all(reader.is_ended for reader in load.readers))
    finally:
        load.close()
    ages_ms = sorted(age * 1000 for age in load.ages_s)
    gib = readers * chunks * chunk_bytes / 2**30
    figures = {
        CPU: (used.cpu_s - joined.cpu_s) / gib,
        "p50 ms": ages_ms[len(ages_ms) // 2],
        "p99 ms": ages_ms[len(ages_ms) * 99 // 100],
        "join CPU ms": (joined.cpu_s - before.cpu_s) * 1000 / readers,
        "RSS KiB a reader": (joined.resident_bytes - before.resident_bytes) / 1024 / readers,
        "client": client_s / took_s,
    }
    is_void = figures["client"] > _BUSY_CORES
    fault = f"void: the client used {figures['client']:.2f} of a core" if is_void else ""
    return Result("tls", f"1 writer x {readers} readers", server.name, figures, fault)


@contextmanager
def _certificate(folder: Path) -> Iterator[ssl.SSLContext]:
    """Writes a certificate and its key; the context of a client that trusts it."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    yield context


def _start(name: str, command: str | None, flags: list[str]) -> AbstractContextManager[Server]:
    return serve(name, [*(shlex.split(command) if command else OURS), *flags])


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--readers", type=int, default=128, help="default %(default)s")
    parser.add_argument("--chunk", type=int, default=32768, help="bytes; default %(default)s")
    parser.add_argument("--rate", type=float, default=8.0, help="chunks/s; default %(default)s")
    parser.add_argument("--seconds", type=float, default=10.0, help="default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    args = parser.parse_args()
    out = open_results(args.json)
    results = Results(out)
    with tempfile.TemporaryDirectory() as name, _certificate(Path(name)) as context:
        unix_path = f"{name}/socket"
        plain = ["--listen", f"unix:{unix_path}"]
        tls = [*plain, "--tls-cert", f"{name}/cert.pem", "--tls-key", f"{name}/key.pem"]
        entered = [
            Contestant(_PLAIN, partial(_start, _PLAIN, args.server, plain)),
            Contestant(_TLS, partial(_start, _TLS, args.server, tls)),
        ]
        for contestant, server in turns(entered, args.runs, f"1 writer x {args.readers} readers"):
            results.add(
                measure(
                    server,
                    context if contestant.name == _TLS else None,
                    unix_path,
                    readers=args.readers,
                    chunk_bytes=args.chunk,
                    rate=args.rate,
                    seconds=args.seconds,
                )
            )
    verdicts = Verdicts()
    verdicts.add("every run valid " + "; ".join(results.faults), not results.faults)
    # Else a BenchError has ended the run.
    verdicts.add(f"{args.readers} readers held over TLS: every byte, nobody cut", True)
    costs = results.medians(f"1 writer x {args.readers} readers", CPU)
    if len(costs) == 2:
        print(f"TLS costs {costs[_TLS] / costs[_PLAIN]:.2f}x plain")
    return verdicts.print(out, "tls")


if __name__ == "__main__":
    main(_run)
