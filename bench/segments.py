"""What does a delivered GiB cost when players fetch a new segment every 2 s?

Method: the load of a fan-out shape, in objects of 2 s. Each writer has one connection: it ends a
segment, awaits the answer, and begins the next when its first chunk is due. Each player asks for
the next segment as soon as it has the last one whole; half stay on their connection, half make one
for each segment. A 404 is asked again after a chunk's time, 125 ms, on the same connection. All
chunks of all segments in the steady state are owed to every player, in real time. Boundaries are
spread over the 2 s. Ours and the peers take turns, and take turns at going first.

Caveats: ours holds a GET of a segment that is about to begin; the peers answer 404, so their
players ask twice for most segments. That is what players do to an origin without a hold, and it is
part of the peers' cost: `retries/s` shows how much. Asked again after 10 ms (`--retry 10`), as a
player on a tight latency budget must, peers cost half as much again to twice as much. The floor has
no objects and doesn't take part.
"""

from __future__ import annotations

from bench.contest import Results, add_peers_flag, contestants, turns
from bench.harness import Parser, Result, Server, generate, main, open_results
from bench.outcome import (
    CPU,
    Outcome,
    Shape,
    Verdicts,
    add_load_flags,
    compare,
    judge,
    shape_of,
)

__all__ = ["measure"]


def measure(
    server: Server, shape: Shape, seconds: float, join_s: float, chunks: int, retry_ms: int
) -> Outcome:
    """One run against a server that was just started.

    Args:
        chunks: of a segment.
        retry_ms: how long a player waits after a 404.
    """
    segments: dict[str, int | str] = {"segment": chunks, "retry_ms": retry_ms}
    return judge(
        server.name, generate("loadgen", server, {**shape.load(seconds, join_s), **segments})
    )


def _result(case: str, outcome: Outcome) -> Result:
    record = outcome.record
    figures = {
        CPU: outcome.cpu_s_per_gib,
        "p50 ms": outcome.p50_ms,
        "p99 ms": outcome.p99_ms,
        "first chunk p99 ms": record["first_chunk"]["p99_ms"],
        "requests/s": record["requests"] / record["seconds"],
        "retries/s": record["retries"] / record["seconds"],
        "RSS MiB": record["resident_bytes"] / 2**20,
    }
    return Result("segments", case, outcome.name, figures, outcome.fault)


def _run() -> int:
    parser = Parser(__doc__ or "")
    add_load_flags(parser, readers=32)
    text = "of a segment; default %(default)s"
    parser.add_argument("--segment", type=float, default=2.0, metavar="SECONDS", help=text)
    text = "milliseconds after a 404; default %(default)s"
    parser.add_argument("--retry", type=int, default=125, metavar="MS", help=text)
    parser.add_argument("--seconds", type=float, default=10.0, help="steady; default %(default)s")
    add_peers_flag(parser, "all")
    args = parser.parse_args()
    shape = shape_of(args)
    chunks = round(args.segment * shape.rate)
    if chunks < 1:
        parser.error(f"a segment of {args.segment:g} s has no chunk")
    case = f"{shape}, {chunks} chunks a segment"
    out = open_results(args.json)
    print(f"{case}; steady for {args.seconds:g} s after a join of {args.join:g} s")
    entered = contestants(args.server, args.peers, out, live=True)
    results = Results(out)
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in entered}
    for contestant, server in turns(entered, args.runs):
        outcome = measure(server, shape, args.seconds, args.join, chunks, args.retry)
        outcomes[contestant.name].append(outcome)
        out.write("segments", {"shape": shape.flags, "chunks": chunks, **outcome.record})
        results.add(_result(case, outcome))
    ours = outcomes.pop("ours")
    verdicts = Verdicts()
    verdicts.add("every run of ours valid", not any(run.fault for run in ours))
    compare(verdicts, ours, outcomes)
    return verdicts.print(out, "segments")


if __name__ == "__main__":
    main(_run)
