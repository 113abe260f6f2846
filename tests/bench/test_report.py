"""The report says what raw results say: who wins, who loses, who was missing; the same twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.report import write_report
from bench.tables import spread


def result(
    server: str,
    cost: float,
    fault: str = "",
    *,
    question: str = "complete",
    case: str = "1KiB",
    figure: str = "CPU us",
    p99_ms: float | None = None,
) -> dict[str, Any]:
    """A turn, as it is recorded."""
    figures = {figure: cost} if p99_ms is None else {figure: cost, "p99 ms": p99_ms}
    members = {"kind": "result", "question": question, "case": case, "server": server}
    return {**members, "figures": figures, "fault": fault}


def report(folder: Path, *records: Mapping[str, Any]) -> str:
    """The report that is made of the records."""
    runs = folder / "runs" / "2026-11-30-box"
    runs.mkdir(parents=True, exist_ok=True)
    (runs / "q.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    write_report([runs], folder / "REPORT.md")
    return (folder / "REPORT.md").read_text()


def test_it_names_losses_and_leaves_failed_runs_out(tmp_path: Path) -> None:
    runs = [("ours", 30.0, ""), ("ours", 20.0, ""), ("ours", 1.0, "void"), ("swift", 10.0, "")]
    text = report(tmp_path, *(result(*run) for run in runs), result("slow", 75), result("quick", 5))
    assert "- complete, 1KiB: quick 5.00x, swift 2.50x cheaper (ours 25 CPU us)" in text
    assert "| ours | 25 (20 to 30) | 3, 1 not counted: void |" in text
    short = "| complete | 1KiB | CPU us | 25 (20 to 30) | – | quick 5 | **loses**, quick 5.00x"
    assert f"{short} cheaper |" in text


def test_the_floor_is_no_rival(tmp_path: Path) -> None:
    text = report(tmp_path, result("ours", 30), result("floor (c)", 20), result("slow", 60))
    assert "| 30 | 20 | slow 60 | 1.50x the floor; wins, 2.00x cheaper |" in text
    assert text.count("Nowhere in these runs.") == 2


def test_ours_in_other_circumstances_is_no_rival(tmp_path: Path) -> None:
    text = report(tmp_path, result("ours", 30), result("ours behind nginx", 20, p99_ms=1))
    assert "| 30 | – | – | – |" in text
    assert "| ours behind nginx | 20 |" in text
    assert text.count("Nowhere in these runs.") == 2


def test_latency_is_lost_apart_and_by_more_than_a_tenth(tmp_path: Path) -> None:
    text = report(
        tmp_path,
        result("ours", 1, p99_ms=5),
        result("near", 2, p99_ms=4.7),
        result("soon", 2, p99_ms=2),
        result("floor", 2, p99_ms=2),
    )
    _, _, after = text.partition("By latency")
    assert "- complete, 1KiB: soon 2.50x sooner (ours 5 p99 ms)" in after
    assert "near 1" not in after


def test_no_run_of_ours_is_a_loss(tmp_path: Path) -> None:
    text = report(tmp_path, result("ours", 1, "failed: wrong 1"), result("slow", 60))
    assert "- complete, 1KiB: no run of ours counts: failed: wrong 1." in text
    assert "**no run of ours counts**" in text


def test_missing_peers_and_missed_verdicts_are_said(tmp_path: Path) -> None:
    text = report(
        tmp_path,
        {"kind": "machine", "cpu": "abacus", "when": "later"},
        {"kind": "missing", "server": "swift", "reason": "it isn't here"},
        {"kind": "verdict", "question": "complete", "text": "1 us <= 2 us", "holds": True},
        {"kind": "verdict", "question": "complete", "text": "3 us <= 2 us", "holds": False},
        result("ours", 1),
    )
    assert "Machine: cpu abacus." in text
    assert "- swift: it isn't here" in text
    assert "1 of 2 verdicts hold." in text
    assert "- complete: 3 us <= 2 us" in text
    assert "- complete: 1 us <= 2 us" not in text


def test_a_join_has_a_table_of_its_own(tmp_path: Path) -> None:
    folder = Path(__file__).resolve().parent.parent.parent / "bench" / "runs"
    raw = min(folder.glob("*/fanout.jsonl")).read_text().splitlines()
    text = report(tmp_path, *map(json.loads, raw))
    _, _, join = text.partition("## join\n")
    assert "### 4096 readers of 32 writers, 8 chunks a second of 32768 bytes" in join
    assert "| CPU s | first byte p50 ms | first byte p99 ms | first byte max ms |" in join
    (floor,) = (line for line in join.splitlines() if line.startswith("| floor (c) |"))
    assert floor.split("|")[3:6] == [" – "] * 3


def grown(question: str, sizes: tuple[int, ...], noun: str, *figures: str) -> list[dict[str, Any]]:
    """Results of ours and the floor at several sizes."""
    return [
        {**result(server, cost, question=question, case=f"{size} {noun}", figure=figure)}
        for size in sizes
        for figure in figures
        for server, cost in (("ours", 9), ("ours", 10), ("floor", 5))
    ]


PLOTTED = [
    *(result(server, 3, question="complete", case=case) for case in "ab" for server in "xy"),
    *(result(server, cost, question="fanout", case="32 writers x 128 readers, ...")
      for server, cost in (("ours", 3), ("floor (c)", 2), ("slow", 300))),
    result("gone", 3, "failed", question="fanout", case="32 writers x 128 readers, ..."),
    result("ours", 3, question="ingest"),
    *grown("scale", (128, 1024, 8192), "readers", "CPU us/(reader, chunk)"),
    *grown("listing", (1000, 10000), "keys", "CPU us/PUT", "CPU us/DELETE"),
]  # fmt: skip
NAMES = {"fanout", "complete", "ingest", "scale", "listing"}


def plots(folder: Path) -> dict[str, bytes]:
    """Name -> the plot; all files beside it count as well."""
    return {path.name: path.read_bytes() for path in (folder / "plots").glob("*")}


def test_plots_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = report(tmp_path / "a", *PLOTTED)
    report(tmp_path / "b", *PLOTTED)
    found = plots(tmp_path / "a")
    assert set(found) == {f"{name}.svg" for name in NAMES}
    assert all(f"](plots/{name})" in text for name in found)
    assert found == plots(tmp_path / "b")
    assert not [name for name, data in found.items() if b"dc:date" in data]


def test_a_plot_without_results_is_removed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report(tmp_path, *PLOTTED)
    text = report(tmp_path, result("ours", 3, question="ingest"))
    assert set(plots(tmp_path)) == {"ingest.svg"}
    assert text.count("](plots/") == 1


def test_without_matplotlib_it_has_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "bench.plots", raising=False)
    assert "| ours | 3 | 1 |" in report(tmp_path, result("ours", 3))
    assert "no plots: matplotlib is not installed" in capsys.readouterr().out
    assert not plots(tmp_path)


@pytest.mark.parametrize(
    ("values", "text"),
    [([], "–"), ([1.23456], "1.23"), ([1234.5], "1,234"), ([3, 1, 2], "2 (1 to 3)")],
)
def test_spread(values: list[float], text: str) -> None:
    assert spread(values) == text


def test_the_newest_answer_to_a_question_counts(tmp_path: Path) -> None:
    folders = [tmp_path / "runs" / f"2026-11-{day}-box" for day in (28, 29)]
    for folder, found in zip(folders, [{"a": 10.0, "b": 20.0}, {"b": 40.0}], strict=True):
        folder.mkdir(parents=True)
        for name, cost in found.items():
            record = result("ours", cost, question=name)
            (folder / f"{name}.jsonl").write_text(json.dumps(record) + "\n")
    write_report(folders, tmp_path / "REPORT.md")
    text = (tmp_path / "REPORT.md").read_text()
    assert "edit. Asked on 2026-11-28: a; on 2026-11-29: b." in text
    assert "| a | 1KiB | CPU us | 10 |" in text
    assert "| b | 1KiB | CPU us | 40 |" in text
