"""The question about the worker: how it is judged, and that its parts don't rot. No times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.contest import Results
from bench.harness import JsonLines, Result
from bench.outcome import Verdicts
from bench.peers import find_program
from bench.worker.downloads import CPU, CURL, OURS, RSS, STRICT, WALL, judge
from bench.worker.made import BLOCKS, dataset_of, fill
from chunkstore.worker import DataManager

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 180


def ask(*flags: str) -> subprocess.CompletedProcess[str]:
    """Runs the question."""
    return subprocess.run(
        [sys.executable, "-m", "bench", "worker", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def judged(
    capsys: pytest.CaptureFixture[str], resident_mb: float, **costs: float
) -> tuple[int, list[str]]:
    """The exit code, and the lines that say no, for these costs."""
    results = Results(JsonLines(None))
    names = {"ours": OURS, "curl": CURL, "strict": STRICT}
    for name, cost in costs.items():
        figures = {CPU: cost, WALL: cost} | ({RSS: resident_mb} if name == "ours" else {})
        results.add(Result("worker", "downloads", names[name], figures))
    verdicts = Verdicts()
    judge(results, verdicts)
    capsys.readouterr()
    code = verdicts.print()
    lines = capsys.readouterr().out.splitlines()
    return code, [line for line in lines if line.startswith("NO")]


def test_downloads_may_cost_half_as_much_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(capsys, 100.0, ours=1.5, curl=1.0, strict=1.0) == (0, [])
    code, missed = judged(capsys, 100.0, ours=1.51, curl=1.0, strict=2.0)
    assert code == 1
    assert len(missed) == 2
    code, missed = judged(capsys, 100.0, ours=1.51, curl=2.0, strict=1.0)
    assert code == 1
    assert len(missed) == 2


def test_openssl_may_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(capsys, 50.0, ours=1.5, curl=1.0) == (0, [])


def test_memory_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    code, missed = judged(capsys, 101.0, ours=1.0, curl=1.0)
    assert code == 1
    assert "RSS 101 MB" in missed[0]


def test_a_folder_that_is_made_is_one_that_a_manager_takes(tmp_path: Path) -> None:
    fill(tmp_path / "data", 6, [3, 0], datasets=2)
    with DataManager(tmp_path / "data") as manager:
        manager.settled(timeout_s=60)
        assert len(manager.list_chunks()) == 6
        reference = manager.find_chunk(dataset_of(1), 2 * BLOCKS)
        assert reference is not None
        with reference:
            assert reference.info.id == (5).to_bytes(32)
            sizes = {path.name: path.stat().st_size for path in reference.path.iterdir()}
        assert (sizes["0.parquet"], sizes["1.parquet"]) == (3, 0)


@pytest.mark.parametrize(
    "flags",
    [
        ("--parts", "fire"),
        ("--server", "x"),
        ("--runs", "0"),
        ("--file-mib", "0"),
        ("--chunks", "7"),
    ],
)
def test_bad_input_is_one_line_and_a_code(flags: tuple[str, ...]) -> None:
    done = ask(*flags)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.real
def test_every_part_comes_to_its_end(tmp_path: Path) -> None:
    if find_program("curl") is None:
        pytest.skip("there is no curl here")
    out = tmp_path / "out"
    sizes = ("--file-mib", "0.25", "--chunk-mb", "1", "--chunks", "200", "--runs", "1", "--warm")
    done = ask(*sizes, "--place", str(tmp_path), "--json", str(out))
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: a figure is missed
    records = [json.loads(line) for line in out.read_text().splitlines()]
    results = [record for record in records if record["kind"] == "result"]
    assert {OURS, CURL} <= {one["server"] for one in results if one["case"] == "downloads"}
    [again] = [one["figures"] for one in results if "again, bytes" in one["figures"]]
    assert again["again, bytes"] == 0
    verdicts = [record["text"] for record in records if record["kind"] == "verdict"]
    assert {text.partition(":")[0] for text in verdicts} == {"downloads", "stall", "many", "again"}
    assert not list(tmp_path.glob("bench-worker-*"))
