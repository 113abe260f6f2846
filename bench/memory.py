"""What does a connection cost in memory, and does the writer's pace depend on its readers?

Method: the server's resident set at 1,000 and at 4,000 connections, and the slope between: once
with idle keep-alive connections (one small GET each), once with readers parked at the live edge of
an open upload. Then one writer at 16 chunks of 32 KiB a second: alone, with 1 and 1,000 readers,
and with 1 reader beside 100 that never read. Shown are how late its chunks were accepted (due to
sent), and the latency of a control reader; what a never-reading reader adds to the resident set is
the difference to the same run without them.

Caveats: the resident set leaves out the kernel's socket buffers, which are shown apart for readers
that never read: the growth of all TCP memory of the machine, both ends of loopback, divided by
them. The slope hides what the first thousand cost. With 1,000 readers the control reader waits for
its turn among them; that is the fan-out's time, not the writer's.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench.build import BenchError
from bench.harness import (
    JsonLines,
    Parser,
    Result,
    Server,
    generate,
    main,
    open_results,
    serve_ours,
)
from bench.outcome import Verdicts, faults
from bench.usage import kernel_socket_bytes, need_descriptors

__all__ = ["Pace", "idle_slope", "pace", "parked_slope"]

_IDLE_BYTES = 12 * 1024
_PARKED_BYTES = 10 * 1024
_CHUNK_BYTES = 32768
_RATE = 16
_CLIENT_TIMEOUT_S = 20.0


def idle_slope(server: Server, low: int, high: int) -> float:
    """Resident bytes per idle keep-alive connection, between `low` and `high` of them."""
    with contextlib.ExitStack() as stack:
        _exchange(_connect(server, stack), _head("PUT", "/bench/idle", 4) + b"idle", b"\r\n\r\n")

        def add(count: int) -> None:
            for _ in range(count):
                _exchange(_connect(server, stack), _head("GET", "/bench/idle"), b"idle")

        return _slope(server, low, high, add)


def parked_slope(server: Server, low: int, high: int) -> float:
    """Resident bytes per reader at the live edge of one open upload."""
    with contextlib.ExitStack() as stack:
        writer = _connect(server, stack)
        writer.sendall(_head("PUT", "/bench/parked.m4s", None))
        readers: list[socket.socket] = []

        def chunk(mark: bytes) -> None:
            writer.sendall(b"400\r\n" + mark * 1024 + b"\r\n")
            for reader in readers:
                _receive(reader, mark * 1024 + b"\r\n")

        def add(count: int) -> None:
            for _ in range(count):
                reader = _connect(server, stack)
                _exchange(reader, _head("GET", "/bench/parked.m4s"), b"\r\n\r\n")
                readers.append(reader)
            chunk(b"b")  # all have had it: all are at the edge

        writer.sendall(b"400\r\n" + b"a" * 1024 + b"\r\n")
        # Nothing is there before its first byte is: this one waits for it.
        waiting = _head("GET", "/bench/parked.m4s", fields="Prefer: wait=5\r\n")
        _exchange(_connect(server, stack), waiting, b"a" * 1024)
        return _slope(server, low, high, add)


def _slope(server: Server, low: int, high: int, add: Callable[[int], None]) -> float:
    add(low)
    first = _settled_bytes(server)
    add(high - low)
    return (_settled_bytes(server) - first) / (high - low)


def _settled_bytes(server: Server) -> int:
    """The resident set once three looks in a row agree; the newest after 3 s."""
    seen: list[int] = []
    for _ in range(15):
        seen.append(server.usage().resident_bytes)
        if len(seen) >= 3 and len(set(seen[-3:])) == 1:
            break
        time.sleep(0.2)
    return seen[-1]


def _connect(server: Server, stack: contextlib.ExitStack) -> socket.socket:
    try:
        sock = socket.create_connection((server.host, server.port), timeout=_CLIENT_TIMEOUT_S)
    except OSError as error:
        raise BenchError(f"can't connect to {server.name}: {error}") from error
    # Closed with a reset: thousands in TIME_WAIT would eat the ports of the next run.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    return stack.enter_context(sock)


def _head(method: str, path: str, length: int | None = 0, fields: str = "") -> bytes:
    if length is None:
        fields += "Transfer-Encoding: chunked\r\n"
    elif length:
        fields += f"Content-Length: {length}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode()


def _exchange(sock: socket.socket, request: bytes, ending: bytes) -> None:
    """Sends a request and receives its answer up to `ending`; one that isn't 2xx is an error."""
    sock.sendall(request)
    answer = _receive(sock, ending)
    if not answer.startswith(b"HTTP/1.1 2"):
        raise BenchError(f"{request[:40]!r} was answered with {answer[:40]!r}")


def _receive(sock: socket.socket, ending: bytes) -> bytes:
    """Receives until `ending` has come, anywhere in what comes; all that came."""
    data = b""
    while ending not in data:
        try:
            more = sock.recv(65536)
        except OSError as error:
            raise BenchError(f"a connection broke: {error}") from error
        if not more:
            raise BenchError(f"a connection was closed after {data[:60]!r}")
        data += more
    return data


@dataclass(frozen=True)
class Pace:
    """One writer's run beside `readers` that read and `stalled` that don't."""

    readers: int
    stalled: int
    report: dict[str, Any]
    resident_bytes: int
    kernel_bytes: int
    wanted_chunks: float

    @property
    def chunks(self) -> int:
        """Chunks the writer began in the window."""
        return int(self.report["write_lag"]["count"])

    @property
    def row(self) -> str:
        """One line of the report."""
        accepted, control = self.report["write_time"], self.report["control_latency"]
        latency = f"{control['p50_ms']:.2f} / {control['p99_ms']:.2f}" if self.readers else "-"
        return (
            f"{self.readers:>5} readers, {self.stalled:>3} that never read: "
            f"{self.chunks}/{self.wanted_chunks:.0f} chunks, accepted after p50 "
            f"{accepted['p50_ms']:.2f} p99 {accepted['p99_ms']:.2f} ms; control reader p50 / p99 "
            f"{latency} ms {faults(self.report)}"
        )

    @property
    def result(self) -> Result:
        """The same, as what the report shows."""
        figures = {"accepted p99 ms": self.report["write_time"]["p99_ms"]}
        if self.readers:
            figures["control p50 ms"] = self.report["control_latency"]["p50_ms"]
            figures["control p99 ms"] = self.report["control_latency"]["p99_ms"]
        figures["RSS MiB"] = self.resident_bytes / 2**20
        case = f"a writer, {self.readers} readers, {self.stalled} that never read"
        return Result("memory", case, "ours", figures, faults(self.report))


def pace(command: str | None, seconds: float, readers: int, stalled: int) -> Pace:
    """One run on a server of its own."""
    kernel: dict[str, int] = {}

    def on_mark(name: str) -> None:
        kernel[name] = kernel_socket_bytes()

    with serve_ours(command) as server:
        before = kernel_socket_bytes()
        options: dict[str, int | str] = {
            "objects": 1,
            "readers": readers,
            "stalled": stalled,
            "chunk": _CHUNK_BYTES,
            "rate": _RATE,
            "seconds_ms": round(seconds * 1000),
            "join_ms": 500,
        }
        done = generate("loadgen", server, options, on_mark)
    resident_bytes = done.usage_at["end"].resident_bytes
    held = kernel["end"] - before
    return Pace(readers, stalled, done.report, resident_bytes, held, seconds * _RATE)


def _paces(
    command: str | None, seconds: float, many: int, stalled: int, out: JsonLines
) -> Iterator[tuple[str, bool]]:
    """Runs and prints the paces; gives the verdicts."""
    runs: list[Pace] = []
    for readers, idle in ((0, 0), (1, 0), (many, 0), (1, stalled)):
        runs.append(pace(command, seconds, readers, idle))
        print(runs[-1].row, flush=True)
        out.write("pace", {"stalled": idle, **runs[-1].report, "rss": runs[-1].resident_bytes})
        out.write("result", asdict(runs[-1].result))
    _, alone, _, beside = runs
    each_kib = (beside.resident_bytes - alone.resident_bytes) / stalled / 1024
    kernel_kib = (beside.kernel_bytes - alone.kernel_bytes) / stalled / 1024
    figures = {"KiB of RSS": each_kib, "KiB of kernel": kernel_kib}
    out.write("result", asdict(Result("memory", "a reader that never reads", "ours", figures)))
    print(f"a reader that never reads: {each_kib:.1f} KiB of RSS, {kernel_kib:.0f} KiB of kernel")
    yield "every pace run valid", not any(faults(run.report) for run in runs)
    yield (
        "the writer sent every chunk that was due",
        all(run.chunks >= run.wanted_chunks - 1 for run in runs),
    )
    period_ms = 1000 / _RATE
    slowest = max(run.report["write_time"]["p99_ms"] for run in runs)
    bound_ms = period_ms / 4
    yield f"accepted p99 {slowest:.2f} ms <= {bound_ms:.1f} ms in all", slowest <= bound_ms
    before, after = (run.report["control_latency"]["p99_ms"] for run in (alone, beside))
    bound = 2 * before + 1
    yield f"control p99 beside stalled {after:.2f} ms <= {bound:.2f} ms", after <= bound


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--low", type=int, default=1000, help="connections; default %(default)s")
    parser.add_argument("--high", type=int, default=4000, help="connections; default %(default)s")
    parser.add_argument("--readers", type=int, default=1000, help="default %(default)s")
    parser.add_argument("--stalled", type=int, default=100, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=7.0, help="a pace; default %(default)s")
    args = parser.parse_args()
    if not 0 < args.low < args.high or not args.stalled:
        parser.error("asks for 0 < low < high, and at least one stalled reader")
    need_descriptors(args.high + 64)
    out = open_results(args.json)
    verdicts = Verdicts()
    for name, measured, bound in (
        ("idle keep-alive", idle_slope, _IDLE_BYTES),
        ("parked at the edge", parked_slope, _PARKED_BYTES),
    ):
        with serve_ours(args.server) as server:
            slope = measured(server, args.low, args.high)
        out.write("slope", {"name": name, "bytes": slope, "low": args.low, "high": args.high})
        figures = {"KiB a connection": slope / 1024}
        out.write("result", asdict(Result("memory", name, "ours", figures)))
        text = f"{name}: {slope / 1024:.1f} KiB a connection <= {bound / 1024:.0f} KiB"
        verdicts.add(text, slope <= bound)
        print(f"{name}: {slope:.0f} bytes a connection, from {args.low} to {args.high}", flush=True)
    for text, holds in _paces(args.server, args.seconds, args.readers, args.stalled, out):
        verdicts.add(text, holds)
    return verdicts.print(out, "memory")


if __name__ == "__main__":
    main(_run)
