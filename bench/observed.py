"""What does it cost a fan-out to be observed: by a scraper, and by five open consoles?

Method: a fan-out shape with the admin listener on, with nobody there or with six clients: one that
GETs /metrics each second, as a scraper does, and five that do what an open console does: follow
/events, and once a second ask for what its views show. The two take turns, and take turns at going
first; server CPU per GiB delivered is compared pair by pair. Judged is the upper end of the 95 %
interval of the pairs' mean ratio (Student's t of its logarithm).

Caveats: the clients read the answers and throw them away. What a browser does with them would take
the cores from server and generator alike, and is no cost of the server's.
"""

from __future__ import annotations

import http.client
import math
import shlex
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from statistics import mean, stdev

from bench.contest import Contestant, turns
from bench.fanout import measure
from bench.harness import OURS, Parser, Server, main, open_results, serve
from bench.outcome import Outcome, Shape, Verdicts, add_load_flags, shape_of
from bench.peers.listening import HOST, free_port
from bench.usage import need_descriptors

__all__ = ["CONSOLE", "upper_bound", "observing"]

CONSOLE = ("/objects?open", "/connections?slow", "/metrics")
"""What a console asks for each second (chunkstore/admin/page/source.js)."""
SCRAPER = ("/metrics",)
_EVENTS = b"/events"
_CONSOLES = 5
_PERIOD_S = 1.0
_DEADLINE_S = 10.0
_RATIO = 1.08
_ALONE, _OBSERVED = "ours", "ours, observed"
_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Two-sided 95 % quantiles of Student's t, from one degree of freedom on; above, the last."""


def upper_bound(ratios: Sequence[float]) -> float:
    """The upper end of the 95 % interval of the geometric mean; infinite for fewer than two."""
    if len(ratios) < 2:
        return math.inf
    logs = [math.log(ratio) for ratio in ratios]
    quantile = _STUDENT[min(len(logs) - 1, len(_STUDENT)) - 1]
    return math.exp(mean(logs) + quantile * stdev(logs) / math.sqrt(len(logs)))


class _Client(threading.Thread):
    """Asks for the same paths again and again, on one connection, until it is told to stop."""

    def __init__(self, port: int, paths: Sequence[str], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(HOST, port, timeout=_DEADLINE_S)
        self._paths = paths
        self._told = stop
        self.looks = 0
        self.fault = ""

    def run(self) -> None:
        """Until told to stop, or the first thing that isn't right."""
        try:
            while not self._told.wait(_PERIOD_S):
                for path in self._paths:
                    self._connection.request("GET", path)
                    answer = self._connection.getresponse()
                    if answer.status != http.HTTPStatus.OK or not answer.read():
                        self.fault = f"{path}: status {answer.status}"
                        return
                self.looks += 1
        except (OSError, http.client.HTTPException) as error:
            self.fault = f"{self._paths[0]}: {str(error) or type(error).__name__}"
        finally:
            self._connection.close()


class _Follower(threading.Thread):
    """Follows the events until `leave`."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._sock = socket.create_connection((HOST, port), _DEADLINE_S)
        self._sock.settimeout(None)
        self._sock.sendall(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (_EVENTS, HOST.encode()))

    def run(self) -> None:
        """Read until the end."""
        while self._sock.recv(65536):
            pass

    def leave(self) -> None:
        """Close, and wait until that is noticed."""
        self._sock.shutdown(socket.SHUT_RDWR)
        self.join()
        self._sock.close()


@contextmanager
def observing(port: int) -> Iterator[list[_Client]]:
    """A scraper and the consoles, for the length of the block; what they met is in them after it.

    Args:
        port: the admin listener's.
    """
    stop = threading.Event()
    clients = [_Client(port, paths, stop) for paths in (SCRAPER, *[CONSOLE] * _CONSOLES)]
    followers = [_Follower(port) for _ in range(_CONSOLES)]
    for thread in (*clients, *followers):
        thread.start()
    try:
        yield clients
    finally:
        stop.set()
        for client in clients:
            client.join()
        for follower in followers:
            follower.leave()


def _start(name: str, command: str | None, port: int) -> Contestant:
    argv = [*(shlex.split(command) if command else OURS), "--admin", f"{HOST}:{port}"]
    return Contestant(name, partial(serve, name, argv))


def _measure(
    server: Server, port: int, shape: Shape, seconds: float, join_s: float
) -> tuple[Outcome, list[_Client]]:
    """One run; behind it, who looked."""
    if server.name == _ALONE:
        return measure(server, shape, seconds, join_s), []
    with observing(port) as clients:
        return measure(server, shape, seconds, join_s), clients


def _run() -> int:
    parser = Parser(__doc__ or "")
    add_load_flags(parser, readers=128)
    parser.set_defaults(runs=10)
    parser.add_argument("--seconds", type=float, default=10.0, help="steady; default %(default)s")
    args = parser.parse_args()
    shape = shape_of(args)
    need_descriptors(shape.reader_count + 2 * shape.writers + 128)
    out = open_results(args.json)
    port = free_port()
    both = [_start(name, args.server, port) for name in (_ALONE, _OBSERVED)]
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in both}
    faults = []
    print(f"{shape}; steady for {args.seconds:g} s after a join of {args.join:g} s")
    print(Outcome.TITLES)
    for contestant, server in turns(both, args.runs):
        outcome, clients = _measure(server, port, shape, args.seconds, args.join)
        faults += [client.fault or "nobody looked" for client in clients if not client.looks]
        faults += [client.fault for client in clients if client.fault]
        outcomes[contestant.name].append(outcome)
        out.write("result", asdict(outcome.result("observed", str(shape))))
        print(outcome.row, flush=True)
    faults += [run.fault for runs in outcomes.values() for run in runs if run.fault]
    ratios = [
        observed.cpu_s_per_gib / alone.cpu_s_per_gib
        for alone, observed in zip(outcomes[_ALONE], outcomes[_OBSERVED], strict=True)
        if not (alone.fault or observed.fault)
    ]
    verdicts = Verdicts()
    verdicts.add("every run valid, every look answered " + "; ".join(faults), not faults)
    if args.runs > 1:  # one pair has no spread to judge by
        bound = upper_bound(ratios)
        pairs = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        text = f"observed costs at most {bound:.3f}x (95 %; pairs {pairs}) <= {_RATIO}x"
        verdicts.add(text, bound <= _RATIO)
    return verdicts.print(out, "observed")


if __name__ == "__main__":
    main(_run)
