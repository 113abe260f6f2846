"""What does a GET of a complete object cost: 1 KiB, 64 KiB, 8 MiB?

Method: a set of objects, put first; then 64 keep-alive connections, each asks for the next object
as soon as it is answered (a closed loop in C), so that every request has another URL than the one
before. Server CPU microseconds per request; the servers take turns, and at going first.

Caveats: on few cores the closed loop saturates server and client together, so latency says only how
long 64 requests take one after another; it isn't judged. nginx reads files that are in the page
cache; ours and the other peers hold the objects in memory. The client discards large bodies in the
kernel. On loopback much of a large answer's way is charged to whom its acknowledgements find at
work: to a client that copies what it gets nginx's 8 MiB cost it 0.6 ms, and the client 2.7; ours,
with send buffers an eighth of the size, 2.0 and 0.9. So both ends' time is shown together, too.
"""

from __future__ import annotations

from bench.contest import Results, add_peers_flag, contestants, turns
from bench.harness import Parser, Result, Server, generate, main, open_results
from bench.outcome import Verdicts

__all__ = ["SIZES", "fill", "read"]

SIZES = {"1KiB": (1 << 10, 10_000), "64KiB": (1 << 16, 1000), "8MiB": (8 << 20, 32)}
"""Name -> bytes of an object, and how many there are."""
_ASKED_US = {"1KiB": 90.0, "64KiB": 60.0}
_HYPERCORN_RATIO = 4.0
_NGINX_RATIO = 1.6
_CPU = "CPU us/request"
_PATH = "/bench/%d"


def fill(server: Server, size_name: str) -> None:
    """Put all objects of a size."""
    size, count = SIZES[size_name]
    puts: dict[str, int | str] = {"method": "PUT", "body": size, "connections": 4, "expect": 201}
    generate("reqgen", server, {"path": _PATH, "count": count, **puts})


def read(
    server: Server,
    size_name: str,
    seconds: float,
    connections: int,
    *,
    question: str = "complete",
    case: str | None = None,
) -> Result:
    """One turn, behind `fill`: warm up, measure.

    Args:
        case: as the report names it; None: as the size.
    """
    size, count = SIZES[size_name]
    span_ms = round(seconds * 1000)
    reads: dict[str, int | str] = {"path": _PATH, "count": count, "connections": connections}
    generate("reqgen", server, {**reads, "seconds_ms": min(500, span_ms)})
    done = generate("reqgen", server, {**reads, "seconds_ms": span_ms})
    report = done.report
    answers = report["answers"]
    fault = ""
    if report["unexpected"]:
        fault = f"failed: {report['unexpected']} answers with status {report['bad_status']}"
    elif report["received_bytes"] != answers * size:
        fault = f"failed: {report['received_bytes']} bytes in {answers} answers"
    cpu_us = done.cpu_s("start", "end") * 1e6 / answers
    figures = {
        _CPU: cpu_us,
        "with the client's us": cpu_us
        + report["generator_cpu"] * report["seconds"] * 1e6 / answers,
        "requests/s": answers / report["seconds"],
        "RSS MiB": done.usage_at["end"].resident_bytes / 2**20,
    }
    return Result(question, case or size_name, server.name, figures, fault)


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--sizes", default=",".join(SIZES), help="default %(default)s")
    parser.add_argument("--connections", type=int, default=64, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    add_peers_flag(parser, "hypercorn?,nginx?")
    args = parser.parse_args()
    cases = args.sizes.split(",")
    if wrong := [case for case in cases if case not in SIZES]:
        parser.error(f"no size is called {wrong[0]!r}; there are {', '.join(SIZES)}")
    out = open_results(args.json)
    entered = contestants(args.server, args.peers, out, live=False)
    results = Results(out)
    verdicts = Verdicts()
    for case in cases:
        for _, server in turns(entered, args.runs, case):
            fill(server, case)
            results.add(read(server, case, args.seconds, args.connections))
        _judge(verdicts, case, results.medians(case, _CPU))
    verdicts.add("every run valid " + "; ".join(results.faults), not results.faults)
    return verdicts.print(out, "complete")


def _judge(verdicts: Verdicts, case: str, costs: dict[str, float]) -> None:
    ours = costs.get("ours")
    if ours is None:
        verdicts.add(f"{case}: no run of ours counts", False)
        return
    if case in _ASKED_US:
        asked = _ASKED_US[case]
        verdicts.add(f"{case}: {ours:.1f} us of CPU a GET <= {asked:.0f} us", ours <= asked)
    if case == "1KiB" and "hypercorn" in costs:
        ratio = costs["hypercorn"] / ours
        text = (
            f"{case}: {ratio:.1f}x hypercorn's requests per CPU second >= {_HYPERCORN_RATIO:.0f}x"
        )
        verdicts.add(text, ratio >= _HYPERCORN_RATIO)
    if case == "8MiB" and "nginx" in costs:
        ratio = ours / costs["nginx"]
        verdicts.add(f"{case}: {ratio:.2f}x nginx's CPU <= {_NGINX_RATIO}x", ratio <= _NGINX_RATIO)


if __name__ == "__main__":
    main(_run)
