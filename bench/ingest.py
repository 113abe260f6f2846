"""What does a GiB cost on its way in, from one writer and from 64?

Method: nobody reads. Each writer PUTs objects one after the other on one keep-alive connection, as
fast as they are taken: 1 MiB each, in chunks of 64 KiB or with a Content-Length. Server CPU per
GiB; the servers take turns, and at going first.

Caveats: a closed loop, so writers and server fight for the cores and the rate isn't judged. The
same 512 names are overwritten whoever writes, once before the clock starts: memory stays bounded,
is as cold for one writer as for 64 (eight names would stay in the processor's cache), and has been
touched, which a virtual machine charges for the first time.
"""

from __future__ import annotations

from bench.contest import Results, add_peers_flag, contestants, turns
from bench.harness import Parser, Result, Server, generate, main, open_results
from bench.outcome import CPU, Verdicts

__all__ = ["CASES", "measure"]

CASES = {
    "1 writer, chunks": (1, 65536),
    "64 writers, chunks": (64, 65536),
    "1 writer, length": (1, 0),
    "64 writers, length": (64, 0),
}
"""Name -> connections, and bytes of a chunk (0: Content-Length)."""
_BODY_BYTES = 1 << 20
_NAMES = 512  # however many writers there are: what is overwritten must be as cold in each case
_WRITERS = ("1 writer", "64 writers")
_MANY_RATIO = 1.2


def measure(server: Server, case: str, seconds: float) -> Result:
    """One turn: warm up, measure."""
    connections, chunk = CASES[case]
    options: dict[str, int | str] = {
        **{"method": "PUT", "path": "/bench/%d", "count": _NAMES, "expect": 0},
        **{"connections": connections, "body": _BODY_BYTES, "chunk": chunk},
    }
    span_ms = round(seconds * 1000)
    generate("reqgen", server, {**options, "requests": _NAMES})
    done = generate("reqgen", server, {**options, "seconds_ms": span_ms})
    report = done.report
    fault = ""
    if report["unexpected"]:
        fault = f"failed: {report['unexpected']} answers with status {report['bad_status']}"
    gib = report["answers"] * _BODY_BYTES / 2**30
    figures = {
        CPU: done.cpu_s("start", "end") / gib,
        "GiB/s": gib / report["seconds"],
        "RSS MiB": done.usage_at["end"].resident_bytes / 2**20,
    }
    return Result("ingest", case, server.name, figures, fault)


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=5.0, help="default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    add_peers_flag(parser, "all")
    args = parser.parse_args()
    out = open_results(args.json)
    entered = contestants(args.server, args.peers, out, live=True)
    results = Results(out)
    for case in CASES:
        for _, server in turns(entered, args.runs, case):
            results.add(measure(server, case, args.seconds))
    verdicts = Verdicts()
    verdicts.add("every run valid " + "; ".join(results.faults), not results.faults)
    costs = {case: results.medians(case, CPU) for case in CASES}
    for case, each in costs.items():
        for name, cost in each.items():
            if name not in ("ours", "node"):  # asked of the Python peers
                text = f"{case}: ours {each.get('ours', 0):.3f} < {name} {cost:.3f} CPU s/GiB"
                verdicts.add(text, 0 < each.get("ours", 0) < cost)
    for framing in ("chunks", "length"):
        one, many = (costs[f"{who}, {framing}"].get("ours", 0) for who in _WRITERS)
        ratio = many / one if one else float("inf")
        text = f"64 writers cost {ratio:.2f}x one's, {framing} <= {_MANY_RATIO}x"
        verdicts.add(text, ratio <= _MANY_RATIO)
    return verdicts.print(out, "ingest")


if __name__ == "__main__":
    main(_run)
