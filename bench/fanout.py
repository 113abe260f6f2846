"""What does a delivered GiB cost the server, and how late is it, beside the floor in the same run?

Method: W writers PUT chunks at a rate, R readers per object GET it while it grows. They join evenly
over a window; the steady state after it is what is judged: server CPU per GiB of payload received,
latency from the writer's send to the reader's receipt of a chunk's last byte, the share of bytes
that came within half a second. Ours, the floor (raw sends of prebuilt frames, no ingest) and the
peers asked for take turns, and take turns at going first. The join is a storm of its own and judged
apart: what it costs, and how long readers wait for a first byte. A peer whose first run brought
less than the bytes that were due isn't asked again.

Caveats: the generator runs on the same machine and shares its cores; its lag is shown and a run in
which it lagged is void, named and left out. Loopback has no packet loss and no interrupts. All
readers have lengths, sizes and stamps of chunks checked; one in 16 every byte (`--churn`: all). The
floor has no backlog to send: a reader's first byte there is simply the next chunk, so its joins are
not compared. Below 1 MiB/s the CPU figure is noise.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from statistics import median

from bench.build import NoCompilerError, build
from bench.churn import churn
from bench.contest import Contestant, add_peers_flag, contestants, turns
from bench.deletion import deletion
from bench.harness import JsonLines, Parser, Server, generate, main, open_results, serve
from bench.outcome import (
    SHAPES,
    Outcome,
    Shape,
    Verdicts,
    add_load_flags,
    compare,
    judge,
    shape_of,
)
from bench.usage import need_descriptors

__all__ = ["FLOORS", "compete", "entrants", "measure", "start_floor"]

FLOORS = ("c", "python")


def start_floor(shape: Shape, kind: str) -> AbstractContextManager[Server]:
    """Starts the floor of a shape; `kind` is one of FLOORS."""
    if kind == "c":
        command = [str(build("floor"))]
    else:
        command = [sys.executable, "-m", "bench.floor"]
    options = {"objects": shape.writers, "chunk": shape.chunk_bytes, "rate": shape.rate}
    options["readers"] = shape.reader_count + 64
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return serve(f"floor ({kind})", command)


def measure(server: Server, shape: Shape, seconds: float, join_s: float) -> Outcome:
    """One run of a shape against a server that was just started."""
    is_floor = server.name.startswith("floor")
    options = shape.load(seconds, join_s)
    if is_floor:
        options["writers"] = 0
    return judge(server.name, generate("loadgen", server, options))


def entrants(command: str | None, peers: str, out: JsonLines) -> list[Contestant]:
    """Ours and the peers asked for, in a fan-out; the floor joins them in `compete`."""
    return contestants(command, peers, out, live=True)


def compete(
    shape: Shape,
    entered: Sequence[Contestant],
    floor: str | None,
    out: JsonLines,
    *,
    seconds: float,
    join_s: float,
    runs: int,
) -> Verdicts:
    """All runs of a shape, printed and recorded as they come.

    Args:
        entered: as `entrants` gives them; the first is ours.
        floor: one of FLOORS; None for the best there is.
    """
    kind = _best_floor(floor)
    need_descriptors(shape.reader_count + 2 * shape.writers + 128)
    print(f"{shape}; steady for {seconds:g} s after a join of {join_s:g} s")
    print(f"floor: {'floor.c' if kind == 'c' else 'floor.py (CPython)'}")
    print(Outcome.TITLES)
    everyone = [*entered[:1], Contestant("floor", lambda: start_floor(shape, kind)), *entered[1:]]
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in everyone}
    beaten: set[str] = set()
    for contestant, server in turns(everyone, runs, beaten=beaten):
        outcome = measure(server, shape, seconds, join_s)
        outcomes[contestant.name].append(outcome)
        out.write("fanout", {"shape": shape.flags, **outcome.record})
        out.write("result", asdict(outcome.result("fanout", str(shape))))
        print(outcome.row, flush=True)
        if outcome.is_short and contestant.name not in ("ours", "floor"):
            beaten.add(contestant.name)
    ours, floors = outcomes.pop("ours"), outcomes.pop("floor")
    verdicts = _verdicts(shape, ours, floors)
    compare(verdicts, ours, outcomes)
    return verdicts


def _best_floor(wanted: str | None) -> str:
    if wanted is not None:
        return wanted
    try:
        build("floor")
    except NoCompilerError:
        return "python"
    return "c"


def _verdicts(shape: Shape, ours: list[Outcome], floors: list[Outcome]) -> Verdicts:
    verdicts = Verdicts()
    runs = (*ours, *floors)
    verdicts.add("every run of ours and the floor valid", not any(run.fault for run in runs))
    valid = [run for run in ours if not run.fault]
    ratios = [
        mine.cpu_s_per_gib / low.cpu_s_per_gib
        for mine, low in zip(ours, floors, strict=True)
        if not (mine.fault or low.fault) and low.cpu_s_per_gib > 0
    ]
    asked = shape.asked
    if asked is None or not valid:
        return verdicts
    if asked.cpu_ratio:
        figure = median(ratios) if ratios else float("inf")
        pairs = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        text = f"CPU {figure:.2f}x the floor's (pairs {pairs}) <= {asked.cpu_ratio}x"
        verdicts.add(text, figure <= asked.cpu_ratio)
        share = min(run.share for run in ours)
        verdicts.add(f"in real time, all runs: {share:.3%} >= 99.9 %", share >= 0.999)
        verdicts.add("no reader cut", not any(run.cut for run in ours))
    p50 = median(run.p50_ms for run in valid)
    if asked.p50_ms:
        verdicts.add(f"p50 {p50:.2f} ms <= {asked.p50_ms} ms", p50 <= asked.p50_ms)
    if asked.p99_ms:
        p99 = median(run.p99_ms for run in valid)
        verdicts.add(f"p99 {p99:.2f} ms <= {asked.p99_ms} ms", p99 <= asked.p99_ms)
    if bound := asked.first_byte_p99_ms:
        first = median(run.first_byte_p99_ms for run in valid)
        verdicts.add(f"first byte p99 {first:.0f} ms <= {bound} ms", first <= bound)
    return verdicts


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--shape", choices=list(SHAPES), help="instead of the next four")
    add_load_flags(parser, readers=128)
    parser.add_argument("--seconds", type=float, help="steady; default 30, with --churn 4")
    parser.add_argument("--floor", choices=FLOORS, help="default: c where there is a compiler")
    add_peers_flag(parser, "none")
    parser.add_argument("--churn", action="store_true", help="the churn question instead")
    parser.add_argument("--delete", action="store_true", help="the question of DELETE instead")
    args = parser.parse_args()
    args.seconds = args.seconds or (4.0 if args.churn else 30.0)
    shape = SHAPES[args.shape] if args.shape else shape_of(args)
    out = open_results(args.json)
    if args.churn:
        entered = entrants(args.server, args.peers, out)
        return churn(entered, shape, args.seconds, args.join, args.runs, out)
    if args.delete:
        return deletion(args.server, shape, args.join, out)
    entered = entrants(args.server, args.peers, out)
    times = {"seconds": args.seconds, "join_s": args.join}
    verdicts = compete(shape, entered, args.floor, out, runs=args.runs, **times)
    return verdicts.print(out, f"fanout, {shape}")


if __name__ == "__main__":
    main(_run)
