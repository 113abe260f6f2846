"""One fan-out run as figures: what was asked, what came, and whether the run may be counted.

A *void* run says nothing about the server (the generator lagged); a *failed* one says that it
didn't do its work. Both are named, neither is averaged in.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar

from bench.harness import Generated, JsonLines, Parser, Result

__all__ = [
    "CPU",
    "SHAPES",
    "Asked",
    "Outcome",
    "Shape",
    "Verdicts",
    "add_load_flags",
    "compare",
    "faults",
    "judge",
    "shape_of",
]

CPU = "CPU s/GiB"
"""The name of the figure that servers are compared by."""

LAG_BOUND_MS = 10.0  # p99 of each kind of lag; it is below 4 ms where nobody else is at work
PAUSE_BOUND_MS = 250.0  # longest: more, and the machine itself stood still
FAILURES = "wrong cut refused cut_late hung false_ends not_live writers_failed".split()
GENERATOR_BOUND = 0.9  # of a core: above it the generator is what is measured


@dataclass(frozen=True)
class Asked:
    """The numbers a shape has to reach; 0 where none is asked."""

    p50_ms: float = 0
    p99_ms: float = 0
    cpu_ratio: float = 0
    first_byte_p99_ms: float = 0


@dataclass(frozen=True)
class Shape:
    """Writers, readers of each, and the chunks that flow."""

    writers: int
    readers: int
    chunk_bytes: int
    rate: int
    asked: Asked | None = None

    def __str__(self) -> str:
        return (
            f"{self.writers} writers x {self.readers} readers, "
            f"{self.rate} chunks a second of {self.chunk_bytes} bytes"
        )

    @property
    def reader_count(self) -> int:
        """Readers of all writers."""
        return self.writers * self.readers

    @property
    def flags(self) -> tuple[int, int, int, int]:
        """As given on the command line."""
        return (self.writers, self.readers, self.chunk_bytes, self.rate)

    def load(self, seconds: float, join_s: float) -> dict[str, int | str]:
        """The generator's options: join for so long, then steady for so long."""
        return {
            "writers": self.writers,
            "objects": self.writers,
            "readers": self.readers,
            "chunk": self.chunk_bytes,
            "rate": self.rate,
            "seconds_ms": round(seconds * 1000),
            "join_ms": round(join_s * 1000),
        }


SHAPES = {
    "32x128": Shape(
        32, 128, 32768, 8, Asked(p50_ms=3, p99_ms=5, cpu_ratio=1.35, first_byte_p99_ms=100)
    ),
    "1x1": Shape(1, 1, 32768, 8, Asked(p50_ms=0.4)),
    "1x16": Shape(1, 16, 32768, 8),
    "1x128": Shape(1, 128, 32768, 8),
    "1x1024": Shape(1, 1024, 32768, 8),
    "1x4096": Shape(1, 4096, 32768, 8),
    "small": Shape(1, 512, 8192, 30),
    "8x64": Shape(8, 64, 8192, 30, Asked(cpu_ratio=1.6)),
}


def add_load_flags(parser: Parser, readers: int) -> None:
    """The flags of a load; `shape_of` makes a shape of them.

    Args:
        readers: the default of each writer's.
    """
    parser.add_argument("--writers", type=int, default=32, help="default %(default)s")
    text = "per writer; default %(default)s"
    parser.add_argument("--readers", type=int, default=readers, help=text)
    parser.add_argument("--chunk", type=int, default=32768, help="bytes; default %(default)s")
    parser.add_argument("--rate", type=int, default=8, help="chunks a second; default %(default)s")
    parser.add_argument("--join", type=float, default=2.0, help="seconds; default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")


def shape_of(args: Namespace) -> Shape:
    """The shape that the flags say: the known one, with what is asked of it, where there is one."""
    flags = (args.writers, args.readers, args.chunk, args.rate)
    by_flags = {shape.flags: shape for shape in SHAPES.values()}
    return by_flags.get(flags, Shape(*flags))


@dataclass(frozen=True)
class Outcome:
    """The figures of one run; `fault` is empty for one that counts."""

    name: str
    fault: str
    cpu_s_per_gib: float
    p50_ms: float
    p99_ms: float
    share: float
    cut: int
    first_byte_p99_ms: float
    lag_ms: float
    others_cores: float
    record: Mapping[str, Any]

    TITLES: ClassVar[str] = (
        f"{'':>14} {'CPU s/GiB':>9} {'p50 ms':>7} {'p99 ms':>7} {'in time':>8} {'cut':>4} "
        f"{'1st byte':>9} {'lag':>6} {'others':>6}"
    )

    @property
    def is_short(self) -> bool:
        """Readers got less than the bytes that were due: more turns wouldn't make up for that."""
        return int(self.record["delivered_bytes"]) < int(self.record["expected_bytes"])

    @property
    def row(self) -> str:
        """A line under TITLES; p99 of the joins' first byte and lag in ms, others' in cores."""
        first = "-" if self.name.startswith("floor") else f"{self.first_byte_p99_ms:.0f}"
        return (
            f"{self.name:>14} {self.cpu_s_per_gib:>9.3f} {self.p50_ms:>7.2f} {self.p99_ms:>7.2f} "
            f"{self.share:>8.3%} {self.cut:>4} {first:>9} {self.lag_ms:>6.2f} "
            f"{self.others_cores:>6.2f} {self.fault}"
        )

    def result(self, question: str, case: str) -> Result:
        """The same, as what the report shows."""
        figures = {
            CPU: self.cpu_s_per_gib,
            "p50 ms": self.p50_ms,
            "p99 ms": self.p99_ms,
            "RSS MiB": self.record["resident_bytes"] / 2**20,
        }
        return Result(question, case, self.name, figures, self.fault)


def judge(name: str, generated: Generated) -> Outcome:
    """The figures of a run, and what is wrong with it."""
    report = generated.report
    cpu_s = generated.cpu_s("joined", "end")
    received_gib = report["window_bytes"] / 2**30
    share = report["in_time_bytes"] / report["expected_bytes"] if report["expected_bytes"] else 0.0
    return Outcome(
        name=name,
        fault=faults(report),
        cpu_s_per_gib=cpu_s / received_gib if received_gib else 0.0,
        p50_ms=report["latency"]["p50_ms"],
        p99_ms=report["latency"]["p99_ms"],
        share=share,
        cut=report["cut"] + report["refused"],
        first_byte_p99_ms=report["first_byte"]["p99_ms"],
        lag_ms=_lag_ms(report),
        others_cores=generated.others_cores(),
        record={
            "server": name,
            "cpu_s": cpu_s,
            "others_cores": generated.others_cores(),
            "join_cpu_s": generated.cpu_s("joining", "joined"),
            "resident_bytes": generated.usage_at["end"].resident_bytes,
            **report,
        },
    )


def _lag_ms(report: Mapping[str, Any]) -> float:
    lags = (report[name]["p99_ms"] for name in ("write_lag", "timer_lag", "pass_time"))
    return max(float(lag) for lag in lags)


def faults(report: Mapping[str, Any]) -> str:
    """Why a run doesn't count: "void: ...", "failed: ...", or nothing."""
    lag_ms = _lag_ms(report)
    if lag_ms > LAG_BOUND_MS or report["write_lag"]["max_ms"] > PAUSE_BOUND_MS:
        return f"void: the generator lagged {lag_ms:.1f} ms (p99)"
    if report["generator_cpu"] > GENERATOR_BOUND:
        return f"void: the generator used {report['generator_cpu']:.2f} of a core"
    bad = [f"{name} {report[name]}" for name in FAILURES if report[name]]
    if report["readers"] and report["in_time_bytes"] < 0.999 * report["expected_bytes"]:
        bad.append(f"in time only {report['in_time_bytes'] / report['expected_bytes']:.2%}")
    if report["first_bad_status"]:
        bad.append(f"status {report['first_bad_status']}")
    return "failed: " + ", ".join(bad) if bad else ""


class Verdicts:
    """The asked numbers, each with yes or no."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, bool]] = []

    def add(self, text: str, holds: bool) -> None:
        """Adds a line."""
        self._lines.append((text, holds))

    def print(self, out: JsonLines | None = None, question: str = "") -> int:
        """Prints the lines and records them; the exit code: 0 if all hold, else 1."""
        for text, holds in self._lines:
            print("yes " if holds else "NO  ", text)
            if out is not None:
                out.write("verdict", {"question": question, "text": text, "holds": holds})
        return 0 if all(holds for _, holds in self._lines) else 1


def compare(
    verdicts: Verdicts, ours: Sequence[Outcome], peers: Mapping[str, Sequence[Outcome]]
) -> None:
    """Ours against each peer, by the CPU a delivered GiB costs; a peer that can't keep up loses.

    Void runs decide nothing: where ours or the peer has no others the answer isn't yes.
    """
    counted = [run.cpu_s_per_gib for run in ours if not run.fault]
    mine = median(counted) if counted else float("inf")
    for name, runs in peers.items():
        valid = [run.cpu_s_per_gib for run in runs if not run.fault]
        if valid:
            theirs = median(valid)
            verdicts.add(f"CPU {mine:.3f} s/GiB < {name}'s {theirs:.3f}", mine < theirs)
        else:
            failed = [run.fault for run in runs if run.fault.startswith("failed")]
            text = (
                f"{name} didn't hold the load: {failed[0]}" if failed else f"{name}: all runs void"
            )
            verdicts.add(text, bool(failed))
