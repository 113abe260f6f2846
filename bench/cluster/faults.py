"""What do GETs in the cluster do without all nodes, and what memory do its uploads take?

Method, in three parts, on a gateway and seven nodes. dead: 64 MiB objects are read, one and four at
a time; two nodes are killed (SIGKILL; nobody listens at their ports any more), and all is read
again, at once; then they are started again, and it goes on with two others. stopped: objects of 64
KiB and of 4 MiB are read, four at a time; then a node is stopped (SIGSTOP: its connections stand,
and nothing moves on them) and all are read again, at once; p99 beside p99. memory: so many slow
uploads that don't end, 1.5 MiB a second each; the gateway's largest resident set (VmHWM) less what
its own metrics call the budget in use, which is the windows of the uploads (8 MiB each).

Before each reading the gateway is started anew: it has nothing in memory. Some other objects are
read first, so that it knows how long a node takes.

Caveats: as for `cluster`. A stopped node is taken for gone after ten seconds of silence; the
GETs begin with the stop, so that they meet it before.
"""

from __future__ import annotations

import http.client
import re
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from statistics import median

from bench.build import BenchError
from bench.cluster.ours import GATEWAY, node, restart_gateway, run
from bench.cluster.party import Party, folder_in, is_open
from bench.cluster.rebuild import peak_mib
from bench.contest import Results
from bench.harness import Parser, Result, generate, main, open_results
from bench.outcome import Verdicts

__all__ = ["PARTS", "allowed_mib", "budget_bytes"]

PARTS = ("dead", "stopped", "memory")
_LISTENS = r"listening on http://127\.0\.0\.1:(\d+)"
_LARGE = 64 << 20
_DEAD_SHARE = 0.7
_LATER_MS = 200.0
_STOPPED_SIZES = {"64 KiB": (1 << 16, 1000), "4 MiB": (4 << 20, 250)}
_WARM = 40
_WORSE = "p99 ms"
_PAIRS = ((1, 2), (3, 4), (5, 6))
_UPLOADS = (0, 1, 8, 32)
_IDLE_MIB, _UPLOAD_MIB = 120.0, 6.0
_CHUNK_BYTES, _RATE = 65536, 24
_LOOK_S = 0.2


@dataclass(frozen=True)
class Asking:
    """A cluster, and where what it does is noted."""

    party: Party
    results: Results
    verdicts: Verdicts

    def put(self, kind: str, size: int, count: int) -> None:
        """So many objects."""
        options: dict[str, int | str] = {"method": "PUT", "expect": 201, "body": size}
        options |= {"path": f"/{kind}/%d", "count": count, "connections": 4}
        done = generate("reqgen", self.party, options)
        if done.report["unexpected"]:
            raise BenchError(f"a PUT was answered {done.report['bad_status']}")

    def get(
        self, case: str, server: str, size: int, options: dict[str, int | str]
    ) -> dict[str, float]:
        """Some GETs: their figures, noted."""
        done = generate("reqgen", self.party, options)
        report, latency = done.report, done.report["latency"]
        fault = ""
        if report["unexpected"]:
            fault = f"failed: {report['unexpected']} answers with status {report['bad_status']}"
        elif report["received_bytes"] != report["answers"] * size:
            fault = f"failed: {report['received_bytes']} bytes in {report['answers']} answers"
        gib = report["received_bytes"] / 2**30
        figures = {
            "wall s/GiB": report["seconds"] / gib,
            "p50 ms": latency["p50_ms"],
            _WORSE: latency["p99_ms"],
            "max ms": latency["max_ms"],
            "CPU s/GiB": done.cpu_s("start", "end") / gib,
        }
        print(f"{case:>24} ", end="")
        self.results.add(Result("cluster-faults", case, server, figures, fault))
        return figures


# ---- two are dead ----


def _ask_dead(asking: Asking, args: Namespace) -> None:
    asking.put("large", _LARGE, args.objects)
    names = {1: "64 MiB, 1 at a time", 4: "64 MiB, 4 at a time"}
    for turn in range(args.runs):
        restart_gateway(asking.party)
        pair = [node(number) for number in _PAIRS[turn % len(_PAIRS)]]
        _read_large(asking, "ours", names, args.objects)
        ports = [int(asking.party.until_said(name, _LISTENS)[0]) for name in pair]
        for name in pair:
            asking.party.kill(name)
        if any(is_open(port) for port in ports):
            raise BenchError("somebody listens where a dead node did")
        _read_large(asking, "ours, 2 of 7 dead", names, args.objects)
        for name in pair:
            asking.party.again(name)
    restart_gateway(asking.party)
    for case in names.values():
        found = asking.results.medians(case, "wall s/GiB")
        if len(found) == 2:
            share = found["ours"] / found["ours, 2 of 7 dead"]
            text = f"{case}: with 2 nodes dead {share:.0%} of the healthy rate >= {_DEAD_SHARE:.0%}"
            asking.verdicts.add(text, share >= _DEAD_SHARE)


def _read_large(asking: Asking, server: str, names: dict[int, str], count: int) -> None:
    for at_a_time, case in names.items():
        options: dict[str, int | str] = {"path": "/large/%d", "count": count}
        options["connections"] = at_a_time
        asking.get(case, server, _LARGE, options)


# ---- one stands still ----


def _ask_stopped(asking: Asking, args: Namespace) -> None:
    for name, (size, most) in _STOPPED_SIZES.items():
        count = min(most, args.gets)
        asking.put(f"small/{size}", size, count + _WARM)
        worse = []
        for turn in range(args.runs):
            options: dict[str, int | str] = {"count": count, "requests": args.gets}
            options |= {"path": f"/small/{size}/%d", "connections": 4}
            healthy = _read_small(asking, name, size, options)
            late = _read_small(asking, name, size, options, stopped=node(turn % 7 + 1))
            worse.append(late[_WORSE] - healthy[_WORSE])
        text = f"{name}: p99 with a node stopped {median(worse):+.0f} ms <= {_LATER_MS:+.0f} ms"
        shown = ", ".join(f"{one:+.0f}" for one in worse)
        asking.verdicts.add(f"{text} (turns {shown})", median(worse) <= _LATER_MS)


def _read_small(
    asking: Asking,
    case: str,
    size: int,
    options: dict[str, int | str],
    stopped: str | None = None,
) -> dict[str, float]:
    restart_gateway(asking.party)
    warm = {"first": options["count"], "count": _WARM, "requests": _WARM}
    generate("reqgen", asking.party, {**options, **warm})
    with asking.party.stopped(stopped) if stopped else nullcontext():
        server = "ours, 1 of 7 stopped" if stopped else "ours"
        return asking.get(case, server, size, options)


# ---- memory ----


def allowed_mib(uploads: int) -> float:
    """Of the gateway's resident set, what its budget is in use for apart."""
    return _IDLE_MIB + _UPLOAD_MIB * uploads


def _ask_memory(asking: Asking, args: Namespace) -> None:
    for uploads in _UPLOADS:
        restart_gateway(asking.party)
        with _budget(asking.party) as most:
            if uploads:
                load = {"chunk": _CHUNK_BYTES, "rate": _RATE, "join_ms": 500}
                load |= {"writers": uploads, "objects": uploads, "readers": 0}
                seconds_ms = round(args.seconds * 1000)
                generate("loadgen", asking.party, {**load, "seconds_ms": seconds_ms})
            peak = peak_mib(asking.party.pid(GATEWAY))
        budget_mib = max(most) / 2**20
        rest_mib, case = peak - budget_mib, f"{uploads} uploads"
        figures = {"RSS less budget MiB": rest_mib, "RSS MiB": peak, "budget MiB": budget_mib}
        print(f"{case:>24} ", end="")
        asking.results.add(Result("cluster-memory", case, "ours", figures))
        asked = allowed_mib(uploads)
        text = f"gateway, {case}: RSS {peak:.0f} MiB less its budget {budget_mib:.0f}: "
        asking.verdicts.add(f"{text}{rest_mib:.0f} <= {asked:.0f} MiB", rest_mib <= asked)


@contextmanager
def _budget(party: Party) -> Iterator[list[int]]:
    """What is in use of the gateway's budget, looked at again and again during the block."""
    seen, is_over = [_budget_now(party)], threading.Event()

    def look() -> None:
        while not is_over.wait(_LOOK_S):
            with suppress(OSError, http.client.HTTPException):  # it is busy: next time
                seen.append(_budget_now(party))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def _budget_now(party: Party) -> int:
    with closing(http.client.HTTPConnection(party.host, party.admin_port, timeout=5)) as client:
        client.request("GET", "/metrics")
        return budget_bytes(client.getresponse().read().decode())


def budget_bytes(exposition: str) -> int:
    """The sum of what a gateway's metrics say is in use of its budget."""
    found = re.findall(r"^chunkstore_memory_bytes\{[^}]*\} (\S+)$", exposition, re.MULTILINE)
    return round(sum(map(float, found)))


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--parts", default=",".join(PARTS), help="default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    parser.add_argument("--objects", type=int, default=16, help="of 64 MiB; default %(default)s")
    parser.add_argument("--gets", type=int, default=1000, help="for stopped; default %(default)s")
    text = "of uploads, for memory; default %(default)s"
    parser.add_argument("--seconds", type=float, default=9.0, help=text)
    parser.add_argument("--place", metavar="FOLDER", help="default: where temporary files are")
    args = parser.parse_args()
    parts = args.parts.split(",")
    if wrong := [part for part in parts if part not in PARTS]:
        parser.error(f"no part is called {wrong[0]!r}; there are {', '.join(PARTS)}")
    if args.server:
        parser.error("a cluster isn't one command: there is no --server here")
    if min(args.runs, args.objects, args.gets) < 1:
        parser.error("there is at least one of runs, objects and GETs")
    out = open_results(args.json)
    results, verdicts = Results(out), Verdicts()
    with folder_in(args.place) as folder, run(folder) as party:
        asking = Asking(party, results, verdicts)
        if "dead" in parts:
            _ask_dead(asking, args)
        if "stopped" in parts:
            _ask_stopped(asking, args)
        if "memory" in parts:
            _ask_memory(asking, args)
    verdicts.add("every run valid " + "; ".join(results.faults), not results.faults)
    return verdicts.print(out, "cluster-faults")


if __name__ == "__main__":
    main(_run)
