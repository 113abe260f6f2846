"""What do nginx and Varnish in front cost in latency, with the settings that docs/ has for them?

Method: one writer at the origin, and readers of its object that come to the origin itself or to a
proxy in front of it: they join over two seconds, each gets what there is, then follow. The three
take turns, and take turns at going first; each turn has an origin of its own, just started, with
the same settings, and a proxy as `packaging/` has it. First byte is from a reader's request, chunk
latency from the writer's send to a reader having the chunk's last byte.

Caveats: everything shares the cores, the proxy too, so a proxy's latency holds what it takes from
the origin and the generator. nginx has a connection to the origin for each reader and sends every
byte once more; Varnish has one in all, and a thread for each reader. CPU is of origin and proxy
together, and of the origin apart.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from bench.build import BenchError
from bench.contest import Contestant, Results, turns
from bench.front import FRONTS, POLICIES, Front
from bench.harness import (
    OURS,
    JsonLines,
    Parser,
    Result,
    Server,
    generate,
    main,
    open_results,
    serve,
)
from bench.outcome import CPU, Shape, Verdicts, judge
from bench.usage import Usage

__all__ = ["contestants", "measure"]

_WITHIN_MS = 5.0
_FIGURES = ("first byte p50 ms", "chunk p50 ms")


@dataclass
class _Fronted(Server):
    """What readers come to, and the origin behind it: another one, or itself."""

    origin: Server | None = None


@contextmanager
def _serve(name: str, front: Front | None, command: str | None) -> Iterator[Server]:
    ours = shlex.split(command) if command else OURS
    with serve(name, [*ours, "--config", str(POLICIES)]) as origin:
        if front is None:
            yield origin
            return
        with serve(front.name, front.command(origin.port)) as proxy:
            yield _Fronted(name, proxy.process, proxy.host, proxy.port, proxy.last_lines, origin)


def contestants(command: str | None, fronts: str, out: JsonLines) -> list[Contestant]:
    """The origin alone, and behind each proxy; one that isn't here is said to be missing.

    Raises:
        BenchError: a name that no proxy has.
    """
    found = [Contestant("ours", partial(_serve, "ours", None, command))]
    for name in fronts.split(","):
        if name not in FRONTS:
            raise BenchError(f"no proxy is called {name!r}; there are {', '.join(FRONTS)}")
        front = FRONTS[name]
        if reason := front.missing():
            print(f"{name}: missing: {reason}")
            out.write("missing", {"server": name, "reason": reason})
        else:
            ours = f"ours behind {name}"
            found.append(Contestant(ours, partial(_serve, ours, front, command)))
    return found


def measure(
    server: Server, case: str, shape: Shape, seconds: float, join_s: float, out: JsonLines
) -> Result:
    """One turn: join, follow, end; the raw record is written."""
    origin = getattr(server, "origin", None) or server
    origin_at: dict[str, Usage] = {}

    def on_mark(mark: str) -> None:
        origin_at[mark] = origin.usage()

    load = {**shape.load(seconds, join_s), "writer_port": origin.port}
    generated = generate("loadgen", server, load, on_mark)
    outcome = judge(server.name, generated)
    out.write("proxies", {"case": case, **outcome.record})
    origin_cpu_s = origin_at["end"].cpu_s - origin_at["joined"].cpu_s
    proxy_cpu_s = generated.cpu_s("joined", "end") if origin is not server else 0.0
    gib = generated.report["window_bytes"] / 2**30 or float("inf")
    first = generated.report["first_byte"]
    figures = {
        CPU: (origin_cpu_s + proxy_cpu_s) / gib,
        "of it the origin": origin_cpu_s / gib,
        "first byte p50 ms": first["p50_ms"],
        "first byte p99 ms": first["p99_ms"],
        "chunk p50 ms": outcome.p50_ms,
        "chunk p99 ms": outcome.p99_ms,
    }
    return Result("proxies", case, server.name, figures, outcome.fault)


def _judge(verdicts: Verdicts, results: Results, case: str, names: list[str]) -> None:
    for figure in _FIGURES:
        found = results.medians(case, figure)
        for name in names:
            if name in found and "ours" in found:
                more_ms = found[name] - found["ours"]
                text = f"{case}: {figure} {name} {more_ms:+.2f} ms of direct, within"
                verdicts.add(f"{text} {_WITHIN_MS:g}", more_ms <= _WITHIN_MS)
            else:
                verdicts.add(f"{case}: {figure} {name}: a valid run of it and of direct", False)


def _run() -> int:
    parser = Parser(__doc__ or "")
    text = "of the one writer, cases apart by commas; default %(default)s"
    parser.add_argument("--readers", default="16,200", help=text)
    parser.add_argument("--chunk", type=int, default=32768, help="bytes; default %(default)s")
    parser.add_argument("--rate", type=int, default=8, help="chunks a second; default %(default)s")
    parser.add_argument("--seconds", type=float, default=6.0, help="steady; default %(default)s")
    parser.add_argument("--join", type=float, default=2.0, help="seconds; default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    text = f"comma-separated, of {', '.join(FRONTS)}; default all"
    parser.add_argument("--proxies", default=",".join(FRONTS), help=text)
    args = parser.parse_args()
    counts = args.readers.split(",")
    if not all(count.isdecimal() and int(count) for count in counts):
        parser.error("--readers takes numbers above 0, such as 16,200")
    out = open_results(args.json)
    entered = contestants(args.server, args.proxies, out)
    results, verdicts = Results(out), Verdicts()
    for shape in (Shape(1, int(count), args.chunk, args.rate) for count in counts):
        case = str(shape)
        for _, server in turns(entered, args.runs, case):
            results.add(measure(server, case, shape, args.seconds, args.join, out))
        _judge(verdicts, results, case, [contestant.name for contestant in entered[1:]])
    verdicts.add("every run valid " + "; ".join(results.faults), not results.faults)
    return verdicts.print(out, "proxies")


if __name__ == "__main__":
    main(_run)
