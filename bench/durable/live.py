"""A fan-out whose uploads go to disk, beside one that stays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from statistics import median

from bench.contest import Contestant, turns
from bench.durable.place import Place
from bench.fanout import measure
from bench.harness import JsonLines, Server
from bench.outcome import Outcome, Shape, Verdicts

__all__ = ["ask"]

_CPU_RATIO, _P99_RATIO = 1.15, 2.0
_DISK, _MEMORY = "ours", "ours, in memory"


def ask(
    place: Place,
    shape: Shape,
    out: JsonLines,
    verdicts: Verdicts,
    *,
    seconds: float,
    join_s: float,
    runs: int,
) -> None:
    """Both in turn, so many times; judged pair by pair."""
    both = [
        Contestant(_DISK, partial(_on_disk, place)),
        Contestant(_MEMORY, partial(place.serve, _MEMORY, None)),
    ]
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in both}
    print(f"{shape}; steady for {seconds:g} s after a join of {join_s:g} s")
    print(Outcome.TITLES)
    for contestant, server in turns(both, runs):
        outcome = measure(server, shape, seconds, join_s)
        outcomes[contestant.name].append(outcome)
        out.write("result", asdict(outcome.result("disk", f"live, {shape}")))
        print(outcome.row, flush=True)
    pairs = [
        (disk, memory)
        for disk, memory in zip(outcomes[_DISK], outcomes[_MEMORY], strict=True)
        if not (disk.fault or memory.fault)
    ]
    faults = [f"{one.name}: {one.fault}" for each in outcomes.values() for one in each if one.fault]
    verdicts.add("live: every run valid " + "; ".join(faults), not faults)
    if pairs:
        _judge(verdicts, "CPU", [a.cpu_s_per_gib / b.cpu_s_per_gib for a, b in pairs], _CPU_RATIO)
        _judge(verdicts, "p99", [a.p99_ms / b.p99_ms for a, b in pairs], _P99_RATIO)


@contextmanager
def _on_disk(place: Place) -> Iterator[Server]:
    with place.dir() as data, place.serve(_DISK, data) as server:
        yield server


def _judge(verdicts: Verdicts, what: str, ratios: list[float], asked: float) -> None:
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    text = f"live: {what} {median(ratios):.2f}x that of memory only (pairs {shown}) <= {asked}x"
    verdicts.add(text, median(ratios) <= asked)
