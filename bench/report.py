"""Makes the report of a folder of raw results: in short, where ours loses, then all of it.

At the top a row a case (ours, the floor, the best peer), then in words where a peer does better
than ours, by cost and by latency, then what was asked and missed, then each question's plot and
tables. The floor is no server: nobody loses to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.tables import Case, cases_of, is_floor, is_rival, spread

__all__ = ["write_report"]

_HEAD = """# Benchmark report

Made by `python -m bench` from the raw results in `runs/`, the newest of each question; do not
edit. Asked {asked}.

What the columns mean, and what to believe, stands in [README.md]({readme}): the generator shares
the machine, so compare rows of one table. Each figure is the median of the runs that count, with
the lowest and the highest.

Machine: {machine}.
"""
_DATE = slice(0, len("YYYY-MM-DD"))  # of a folder's name
_LATER = 1.1  # a p99 is only called worse when it is that much so: they spread more than costs do

Cases = Mapping[tuple[str, str], Case]


def write_report(folders: Sequence[Path], path: Path) -> None:
    """Write the report of all `*.jsonl` in `folders` to `path`, and plots beside it.

    Each file is written whole or not at all, the report last.

    Args:
        folders: of one machine, named by the date, the oldest first: of two files of one name the
            later counts.
    """
    sources = {file.stem: file for folder in folders for file in folder.glob("*.jsonl")}
    records = [
        json.loads(line)
        for _, source in sorted(sources.items())
        for line in source.read_text(encoding="utf-8").splitlines()
    ]
    machines = [one for one in records if one["kind"] == "machine"]
    machine: dict[str, Any] = max(machines, key=lambda one: str(one.get("when")), default={})
    facts = ("cpu", "cores", "kernel", "python")
    said = ", ".join(f"{name} {machine[name]}" for name in facts if name in machine)
    cases = cases_of(records)
    plots = _plots(cases, path.parent / "plots")
    readme = os.path.relpath(Path(__file__).with_name("README.md"), path.parent)
    asked = _dates(sources)
    parts = [_HEAD.format(asked=asked, readme=readme, machine=said)]
    parts += [_summary(cases), _losses(cases), _missed(records), _missing(records)]
    for question in dict.fromkeys(question for question, _ in cases):
        parts.append(f"## {question}\n")
        if question in plots:
            parts.append(f"![{plots[question]}](plots/{question}.svg)\n")
        parts += [f"### {name}\n\n{case.table()}" for (asked, name), case in cases.items()
                  if asked == question]  # fmt: skip
    half = path.with_suffix(".half")
    try:
        half.write_text("\n".join(part for part in parts if part), encoding="utf-8")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _dates(sources: Mapping[str, Path]) -> str:
    dates: dict[str, list[str]] = {}
    for name, source in sorted(sources.items()):
        dates.setdefault(source.parent.name[_DATE], []).append(name)
    return "; ".join(f"on {date}: {', '.join(dates[date])}" for date in sorted(dates))


def _plots(cases: Cases, folder: Path) -> dict[str, str]:
    """Those that were made, and what they show; none without matplotlib, which is no failure."""
    try:
        from bench.plots import write_plots  # it takes a moment, and isn't always there
    except ImportError:
        print("no plots: matplotlib is not installed (it comes with the extra `bench`)")
        return {}
    return write_plots(cases, folder)


# ---- in short ----


def _summary(cases: Cases) -> str:
    rows = ["question", "case", "figure", "ours", "floor", "best peer", "verdict"], ["---"] * 7
    lines = [f"| {' | '.join(row)} |" for row in rows]
    for (question, name), case in cases.items():
        row = (question, name, case.figure, *_row(case))
        lines.append(f"| {' | '.join(row)} |")
    return "## In short\n\n" + "\n".join(lines) + "\n"


def _row(case: Case) -> tuple[str, str, str, str]:
    """Ours, the floor, the best peer, and what to think of it."""
    costs = case.medians(case.figure)
    ours = costs.pop("ours", None)
    floors = [cost for name, cost in costs.items() if is_floor(name)]
    peers = {name: cost for name, cost in costs.items() if is_rival(name)}
    best = min(peers, key=lambda name: peers[name], default=None)
    shown = "–" if best is None else f"{best} {spread([peers[best]])}"
    mine = spread(case.values("ours", case.figure))
    low = spread(floors)
    if ours is None:
        return mine, low, shown, "**no run of ours counts**"
    said = []
    if floors and min(floors) > 0:
        said.append(f"{ours / min(floors):.2f}x the floor")
    if best is not None and peers[best] < ours:
        said.append(f"**loses**, {best} {_times(ours, peers[best])} cheaper")
    elif best is not None:
        said.append(f"wins, {_times(peers[best], ours)} cheaper" if ours else "wins")
    elif any(map(is_rival, case.servers)):
        said.append("wins, no peer holds it")
    return mine, low, shown, "; ".join(said) or "–"


def _times(more: float, less: float) -> str:
    return f"{more / less:.2f}x" if less else "infinitely"


# ---- in words ----


def _losses(cases: Cases) -> str:
    costs = [line for case in cases.values() if (line := _lost(case, case.figure, 1.0, "cheaper"))]
    late = [
        line
        for case in cases.values()
        for figure in case.figures
        if "p99" in figure and figure != case.figure
        if (line := _lost(case, figure, _LATER, "sooner"))
    ]
    uncounted = [
        f"- {case.question}, {case.name}: no run of ours counts: {case.faults('ours')[0]}."
        for case in cases.values()
        if case.faults("ours") and not case.values("ours", case.figure)
    ]
    nowhere = "Nowhere in these runs."
    return (
        "## Where ours loses\n\nBy what it costs, to any peer:\n\n"
        + ("\n".join([*uncounted, *costs]) or nowhere)
        + f"\n\nBy latency, where a peer's p99 is better by more than {_LATER - 1:.0%}:\n\n"
        + ("\n".join(late) or nowhere)
        + "\n"
    )


def _lost(case: Case, figure: str, bound: float, better: str) -> str:
    """A line that names all peers which did better, the best first; or nothing."""
    found = case.medians(figure)
    ours = found.pop("ours", 0.0)
    peers = sorted(
        (cost, name) for name, cost in found.items() if is_rival(name) and cost * bound < ours
    )
    if not peers:
        return ""
    named = ", ".join(f"{name} {_times(ours, cost)}" for cost, name in peers)
    return f"- {case.question}, {case.name}: {named} {better} (ours {ours:.3g} {figure})"


def _missed(records: Iterable[Mapping[str, Any]]) -> str:
    verdicts = [record for record in records if record["kind"] == "verdict"]
    if not verdicts:
        return ""
    missed = [f"- {one['question']}: {one['text']}" for one in verdicts if not one["holds"]]
    said = f"{len(verdicts) - len(missed)} of {len(verdicts)} verdicts hold."
    head = f"## What is asked\n\n{said}" + (" Those that don't:\n" if missed else "")
    return "\n".join([head, *missed, ""])


def _missing(records: Iterable[Mapping[str, Any]]) -> str:
    """The peers that couldn't run."""
    found = {one["server"]: one["reason"] for one in records if one["kind"] == "missing"}
    lines = [f"- {server}: {reason}" for server, reason in found.items()]
    return "\n".join(["## Missing peers\n", *lines, ""]) if lines else ""
