"""Makes the report of a folder of raw results: a table a case, medians with their spread.

Rows are servers, in the order in which they first ran; runs that failed or are void are counted
and named, never averaged in. Where ours loses to another by a case's first figure, it is said at
the top in words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["write_report"]

_HEAD = """# Benchmark report

Made by `python -m bench` from the raw results in `{folder}`; do not edit.
What the columns mean, and what to believe, stands in [README.md](README.md): the generator shares
the machine, so compare rows of one table. Each figure is the median of the runs that count, with
the lowest and the highest.

Machine: {machine}.
"""


def write_report(folder: Path, path: Path) -> None:
    """Write the report of all `*.jsonl` in `folder` to `path`, whole or not at all."""
    records = [
        json.loads(line)
        for source in sorted(folder.glob("*.jsonl"))
        for line in source.read_text(encoding="utf-8").splitlines()
    ]
    results = [record for record in records if record["kind"] == "result"]
    machine: dict[str, Any] = next(
        (record for record in records if record["kind"] == "machine"), {}
    )
    said = ", ".join(f"{name} {value}" for name, value in machine.items() if name != "kind")
    cases: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        cases.setdefault((result["question"], result["case"]), []).append(result)
    parts = [_HEAD.format(folder=f"bench/runs/{folder.name}", machine=said)]
    losses = [line for name, each in cases.items() for line in _losses(*name, each)]
    parts.append("## Where ours loses\n\n" + ("\n".join(losses) or "Nowhere in this run.") + "\n")
    for (question, case), each in cases.items():
        parts.append(f"## {question}: {case}\n\n{_table(each)}")
    half = path.with_suffix(".half")
    half.write_text("\n".join(parts), encoding="utf-8")
    half.replace(path)


def _servers(results: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(result["server"] for result in results))


def _values(results: Iterable[dict[str, Any]], server: str, figure: str) -> list[float]:
    return [
        one["figures"][figure]
        for one in results
        if one["server"] == server and not one["fault"] and figure in one["figures"]
    ]


def _table(results: Sequence[dict[str, Any]]) -> str:
    figures = list(dict.fromkeys(name for one in results for name in one["figures"]))
    lines = [f"| server | {' | '.join(figures)} | runs |", "| --- " * (len(figures) + 2) + "|"]
    for server in _servers(results):
        cells = [_cell(_values(results, server, figure)) for figure in figures]
        faults = [one["fault"] for one in results if one["server"] == server and one["fault"]]
        count = sum(1 for one in results if one["server"] == server)
        runs = f"{count}" if not faults else f"{count}, {len(faults)} not counted: {faults[0]}"
        lines.append(f"| {server} | {' | '.join(cells)} | {runs} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    middle = f"{median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g} to {max(values):.3g})"


def _losses(question: str, case: str, results: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each server that did better than ours by the case's first figure."""
    figure = next(iter(results[0]["figures"]))
    ours = _values(results, "ours", figure)
    if not ours:
        return [f"- {question}, {case}: no run of ours counts."]
    lines: list[str] = []
    for server in _servers(results):
        theirs = _values(results, server, figure)
        is_rival = server != "ours" and not server.startswith("floor")  # the floor is no server
        if is_rival and theirs and median(theirs) < median(ours):
            ratio = median(ours) / median(theirs)
            lines.append(
                f"- {question}, {case}: ours costs {ratio:.2f} times {server}'s "
                f"({median(ours):.3g} against {median(theirs):.3g} {figure})."
            )
    return lines
