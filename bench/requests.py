"""What does a small keep-alive GET cost, beside hypercorn's trio worker in the same run?

Method: a 1 KiB object, 64 connections, each asks again as soon as it is answered (a closed loop in
C). Server CPU microseconds per request; the two servers take turns, and at going first.

Caveats: the peer is the smallest ASGI application that can answer (bench/peers/hypercorn_app.py):
it looks nothing up and has no conditionals, so it is favoured. Latency in a closed loop says only
how long 64 requests take one after another; it isn't judged.
"""

from __future__ import annotations

import http.client
import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median
from typing import Any

from bench.build import BenchError
from bench.harness import JsonLines, Parser, Server, generate, main, serve, serve_ours
from bench.outcome import GENERATOR_BOUND, Verdicts
from bench.usage import machine

__all__ = ["measure"]

_OBJECT_BYTES = 1024
_COST_US = 90.0
_RATIO = 4.0


def measure(server: Server, seconds: float, connections: int) -> tuple[float, str, dict[str, Any]]:
    """One run against a server that was just started.

    Returns:
        CPU microseconds per request, why the run doesn't count (or ""), and the raw report.
    """
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request("PUT", "/bench/small", body=b"x" * _OBJECT_BYTES)
    connection.getresponse().read()
    connection.close()
    options: dict[str, int | str] = {"connections": connections, "path": "/bench/small"}
    span_ms = round(seconds * 1000)
    generate("reqgen", server, {**options, "seconds_ms": min(500, span_ms)})  # warm-up
    done = generate("reqgen", server, {**options, "seconds_ms": span_ms})
    report = done.report
    answers = report["answers"]
    fault = ""
    if report["unexpected"]:
        fault = f"failed: {report['unexpected']} answers with status {report['bad_status']}"
    elif report["received_bytes"] != answers * _OBJECT_BYTES:
        fault = f"failed: {report['received_bytes']} bytes in {answers} answers"
    elif report["generator_cpu"] > GENERATOR_BOUND:
        fault = f"void: the generator used {report['generator_cpu']:.2f} of a core"
    return done.cpu_s("start", "end") * 1e6 / answers, fault, report


def _hypercorn() -> AbstractContextManager[Server]:
    return serve("hypercorn", [sys.executable, "-m", "bench.peers.hypercorn_app"])


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--connections", type=int, default=64, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    args = parser.parse_args()
    out = JsonLines(args.json)
    out.write("machine", machine())
    print("machine:", ", ".join(f"{name} {value}" for name, value in machine().items()))
    starts: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "ours": lambda: serve_ours(args.server)
    }
    if importlib.util.find_spec("hypercorn") is None:
        print("hypercorn: missing (it comes with the extra `bench`)")
    else:
        starts["hypercorn"] = _hypercorn
    costs: dict[str, list[float]] = {name: [] for name in starts}
    print(f"{'':>10} {'CPU us':>7} {'a second':>9} {'p50 ms':>7} {'p99 ms':>7}")
    for turn in range(args.runs):
        for name in list(starts) if turn % 2 == 0 else list(reversed(starts)):
            with starts[name]() as server:
                cost_us, fault, report = measure(server, args.seconds, args.connections)
            if not fault:
                costs[name].append(cost_us)
            out.write("requests", {"server": name, "cpu_us": cost_us, "fault": fault, **report})
            latency = report["latency"]
            print(
                f"{name:>10} {cost_us:>7.1f} {report['answers'] / report['seconds']:>9.0f} "
                f"{latency['p50_ms']:>7.2f} {latency['p99_ms']:>7.2f} {fault}",
                flush=True,
            )
    return _verdicts(costs, args.runs).print()


def _verdicts(costs: dict[str, list[float]], runs: int) -> Verdicts:
    if not costs["ours"]:
        raise BenchError("no run of ours counts")
    verdicts = Verdicts()
    verdicts.add("every run valid", all(len(each) == runs for each in costs.values()))
    ours_us = median(costs["ours"])
    verdicts.add(f"{ours_us:.1f} us of CPU a GET <= {_COST_US:.0f} us", ours_us <= _COST_US)
    if costs.get("hypercorn"):
        ratio = median(costs["hypercorn"]) / ours_us
        verdicts.add(
            f"{ratio:.1f}x the requests per CPU second of hypercorn >= {_RATIO:.0f}x",
            ratio >= _RATIO,
        )
    return verdicts


if __name__ == "__main__":
    main(_run)
