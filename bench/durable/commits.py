"""Uploads that complete at once: how long each waits for its 201, and how many syncs that took.

Each upload sends all but its last chunk, and has a moment to be taken in; then the last chunks of
all are sent, one connection after the other. The syncs are counted in turns of their own, under
strace, which slows them down.
"""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from math import ceil
from pathlib import Path

from bench.build import BenchError
from bench.durable.place import Place
from bench.harness import JsonLines, Result, Server
from bench.outcome import Verdicts

__all__ = ["UPLOADS", "ask", "complete_at_once"]

UPLOADS = 64
_BODY_BYTES = 64 * 1024
_TAKEN_IN_S = 0.3
_DEADLINE_S = 30.0
_WARM_TURNS = 2
_ASKED_SYNCS = 16
_ASKED_MS = 50.0
_LATENCY = "p99 ms of a 201"
_SYNCS = ("fsync", "fdatasync", "sync_file_range", "msync", "syncfs")


def complete_at_once(server: Server, turn: int) -> list[float]:
    """Milliseconds from each upload's last chunk to its 201.

    Args:
        turn: names are new in each.
    Raises:
        BenchError: an answer is another one, or doesn't come.
    """
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for number in range(UPLOADS):
            sock = stack.enter_context(socket.create_connection((server.host, server.port)))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = f"PUT /commits/{turn}/{number} HTTP/1.1\r\nHost: bench\r\n"
            head += f"Transfer-Encoding: chunked\r\n\r\n{_BODY_BYTES:x}\r\n"
            sock.sendall(head.encode() + os.urandom(_BODY_BYTES) + b"\r\n")
            selector.register(sock, selectors.EVENT_READ)
        time.sleep(_TAKEN_IN_S)
        sent_s: dict[object, float] = {}
        for key in list(selector.get_map().values()):
            sent_s[key.fileobj] = time.perf_counter()
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.sendall(b"0\r\n\r\n")
        return list(_answers(selector, sent_s))


def _answers(selector: selectors.BaseSelector, sent_s: dict[object, float]) -> Iterator[float]:
    while selector.get_map():
        ready = selector.select(_DEADLINE_S)
        now_s = time.perf_counter()
        if not ready:
            raise BenchError(f"{len(selector.get_map())} uploads got no answer")
        for key, _ in ready:
            assert isinstance(key.fileobj, socket.socket)
            said = key.fileobj.recv(65536)
            if not said.startswith(b"HTTP/1.1 201 "):
                raise BenchError(f"an upload was answered {said[:60]!r}")
            selector.unregister(key.fileobj)
            yield (now_s - sent_s[key.fileobj]) * 1000


def ask(place: Place, turns: int, out: JsonLines, verdicts: Verdicts) -> None:
    """So many turns timed, and as many counted."""
    with place.dir() as data, place.serve("ours", data) as server:
        for turn in range(_WARM_TURNS):
            complete_at_once(server, turn)
        times = sorted(
            ms for turn in range(turns) for ms in complete_at_once(server, _WARM_TURNS + turn)
        )
    floor = sorted(_floor_ms(place) for _ in range(max(turns, 20)))
    p50, p99 = (times[ceil(share * len(times)) - 1] for share in (0.5, 0.99))
    counts = _counted(place, turns)
    case = f"{UPLOADS} uploads complete at once"
    figures = {_LATENCY: p99, "p50 ms of a 201": p50}
    if counts:
        figures["syncs"] = max(counts)
    else:
        out.write("missing", {"server": "strace", "reason": "syncs were not counted without it"})
    out.write("result", asdict(Result("disk", case, "ours", figures)))
    least = {_LATENCY: floor[ceil(0.99 * len(floor)) - 1], "syncs": 1.0}
    out.write("result", asdict(Result("disk", case, "floor (one write, one fdatasync)", least)))
    print(f"{case}: p50 {p50:.1f} ms, p99 {p99:.1f} ms; floor {least[_LATENCY]:.1f} ms")
    verdicts.add(f"commits: p99 of a 201 {p99:.1f} ms <= {_ASKED_MS:.0f} ms", p99 <= _ASKED_MS)
    if counts:
        most = max(counts)
        shown = ", ".join(map(str, counts))
        text = f"commits: at most {most} syncs for {UPLOADS} (turns {shown}) <= {_ASKED_SYNCS}"
        verdicts.add(text, most <= _ASKED_SYNCS)


def _floor_ms(place: Place) -> float:
    """All of the uploads' bytes in one write, and one sync."""
    data = os.urandom(UPLOADS * _BODY_BYTES)
    with place.dir() as path:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            began_s = time.perf_counter()
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            return (time.perf_counter() - began_s) * 1000
        finally:
            os.close(descriptor)


def _counted(place: Place, turns: int) -> list[int]:
    """The syncs of each turn, from the first last chunk to the last answer; none without strace."""
    if shutil.which("strace") is None:
        print("syncs: not counted, there is no strace")
        return []
    with place.dir() as data:
        log = data.with_name("strace")
        # Detached, so that the server is the process that was started, and is ended by its id.
        under = ["strace", "-D", "-f", "-qq", "-e", f"trace={','.join(_SYNCS)}", "-o", str(log)]
        with place.serve("ours", data, under=under) as server:
            for turn in range(_WARM_TURNS):
                complete_at_once(server, turn)
            return [_syncs_of(server, _WARM_TURNS + turn, log) for turn in range(turns)]


def _syncs_of(server: Server, turn: int, log: Path) -> int:
    before = _count(log)
    complete_at_once(server, turn)
    return _count(log) - before


def _count(log: Path) -> int:
    """Calls begun; a line that says how one went on isn't another one."""
    return sum(any(f" {name}(" in line for name in _SYNCS) for line in log.read_text().splitlines())
