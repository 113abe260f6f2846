"""Raw results as cases: what each server found, and the same as a table, in Markdown.

A case is what was asked in one way of several servers. Its first figure is a cost, the less the
better, and what servers are compared by; runs that failed or are void are named, never averaged in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.outcome import Shape, faults

__all__ = ["Case", "cases_of", "is_floor", "is_rival", "spread"]


def is_floor(server: str) -> bool:
    """It is the least that can be, and no server: nobody loses to it."""
    return server.startswith("floor")


def is_rival(server: str) -> bool:
    """It is neither the floor nor ours in other circumstances: over TLS, behind a proxy."""
    return not (is_floor(server) or server.startswith("ours"))


def spread(values: Sequence[float]) -> str:
    """The median; with the lowest and the highest where there are several."""
    if not values:
        return "–"
    middle = _short(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


@dataclass(frozen=True)
class Case:
    """All results of one case of a question, in the order in which they came."""

    question: str
    name: str
    results: Sequence[Mapping[str, Any]]

    @property
    def servers(self) -> list[str]:
        """Each once, in the order in which they first ran."""
        return list(dict.fromkeys(result["server"] for result in self.results))

    @property
    def figures(self) -> list[str]:
        """Names of all figures, the one to compare by first."""
        return list(dict.fromkeys(name for one in self.results for name in one["figures"]))

    @property
    def figure(self) -> str:
        """The name of the first one."""
        return self.figures[0]

    def values(self, server: str, figure: str) -> list[float]:
        """A server's, of the runs that count and have it."""
        return [
            float(one["figures"][figure])
            for one in self.results
            if one["server"] == server and not one["fault"] and figure in one["figures"]
        ]

    def medians(self, figure: str) -> dict[str, float]:
        """Server -> its median, for those with a run that counts."""
        found = {server: self.values(server, figure) for server in self.servers}
        return {server: median(values) for server, values in found.items() if values}

    def faults(self, server: str) -> list[str]:
        """Why its runs don't count that don't."""
        return [one["fault"] for one in self.results if one["server"] == server and one["fault"]]

    def table(self) -> str:
        """A row a server, a column a figure."""
        figures = self.figures
        rows = [["server", *figures, "runs"], ["---"] * (len(figures) + 2)]
        for server in self.servers:
            wrong = self.faults(server)
            count = sum(1 for one in self.results if one["server"] == server)
            runs = f"{count}" if not wrong else f"{count}, {len(wrong)} not counted: {wrong[0]}"
            rows.append([server, *(spread(self.values(server, name)) for name in figures), runs])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def cases_of(records: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Case]:
    """All cases of the raw records, by question and name, in the order in which they came."""
    results: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in _results(records):
        results.setdefault((record["question"], record["case"]), []).append(record)
    return {key: Case(*key, each) for key, each in results.items()}


def _results(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The results, and after them the joins of the fan-outs as results of a question of their own.

    A fan-out's record holds both; only what comes after the join is in its `result`.
    """
    records = list(records)
    found = [record for record in records if record["kind"] == "result"]
    return found + [_join(record) for record in records if record["kind"] == "fanout"]


def _join(record: Mapping[str, Any]) -> dict[str, Any]:
    first = record["first_byte"]
    figures = {"CPU s": record["join_cpu_s"]}
    if not is_floor(record["server"]):  # it has no backlog: its first byte is the next chunk's
        figures |= {f"first byte {name} ms": first[f"{name}_ms"] for name in ("p50", "p99", "max")}
    shape = Shape(*record["shape"])
    case = f"{shape.reader_count} readers of {shape.writers} writers"
    return {
        "question": "join",
        "case": f"{case}, {shape.rate} chunks a second of {shape.chunk_bytes} bytes",
        "server": record["server"],
        "figures": figures,
        "fault": faults(record),
    }
