"""A tiny run of each benchmark, so that none rots; what is asserted is bytes, never time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.build import NoCompilerError, build
from bench.floor import frame, pattern
from bench.usage import family

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 120

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    try:
        for program in ("loadgen", "reqgen", "floor"):
            build(program)
    except NoCompilerError as error:
        pytest.skip(str(error))


def run(question: str, *flags: str, out: Path) -> dict[str, list[dict[str, Any]]]:
    """Runs a benchmark; its raw results by kind. A missed figure (exit code 1) is no failure."""
    command = [sys.executable, "-m", f"bench.{question}", "--json", str(out), *flags]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    records: dict[str, list[dict[str, Any]]] = {}
    for line in out.read_text().splitlines():
        record = json.loads(line)
        records.setdefault(record.pop("kind"), []).append(record)
    return records


def assert_right(report: dict[str, Any]) -> None:
    """What came was right, and nobody was cut or left hanging."""
    assert report["checked_bytes"] > 0
    for count in ("wrong", "cut", "refused", "cut_late", "hung", "false_ends", "writers_failed"):
        assert report[count] == 0, count


def test_fanout_delivers_every_byte_of_ours_and_of_the_floor(tmp_path: Path) -> None:
    flags = ("--writers", "2", "--readers", "8", "--seconds", "1", "--join", "0.2", "--runs", "1")
    ours, floor = run("fanout", *flags, out=tmp_path / "out")["fanout"]
    assert (ours["server"], floor["server"]) == ("ours", "floor (c)")
    for report in (ours, floor):
        assert_right(report)
        assert report["delivered_bytes"] == report["expected_bytes"] > 0
    assert ours["clean_ends"] == 16
    assert ours["writers_ok"] == 2
    assert ours["broken_boundaries"] == 0


def test_floor_in_python_sends_the_same(tmp_path: Path) -> None:
    flags = ("--writers", "1", "--readers", "4", "--seconds", "1", "--join", "0.2", "--runs", "1")
    _, floor = run("fanout", *flags, "--floor", "python", out=tmp_path / "out")["fanout"]
    assert floor["server"] == "floor (python)"
    assert_right(floor)
    assert floor["delivered_bytes"] == floor["expected_bytes"] > 0


def test_churn_has_no_false_end(tmp_path: Path) -> None:
    flags = ("--writers", "2", "--readers", "20", "--seconds", "2", "--join", "0.2", "--runs", "3")
    for report in run("fanout", "--churn", *flags, out=tmp_path / "out")["churn"]:
        assert_right(report)
        assert report["killed"] > 0
        assert report["cut_by_kill"] > 0
        assert report["checked_bytes"] > 0.9 * report["received_bytes"]
        assert report["after"]["descriptor_count"] <= report["start"]["descriptor_count"]


def test_deletion_cuts_every_reader(tmp_path: Path) -> None:
    flags = ("--delete", "--readers", "16", "--join", "0.1")
    (report,) = run("fanout", *flags, out=tmp_path / "out")["deletion"]
    deletion = report["deletion"]
    assert (deletion["status"], deletion["get_status"]) == (200, 404)
    assert deletion["put_status"] == 410
    assert (deletion["cut"], deletion["clean"]) == (16, 0)
    assert deletion["chunks_after"] <= 16  # at most the chunk that was under way, for each
    assert report["wrong"] == 0


def test_memory_measures_slopes_and_paces(tmp_path: Path) -> None:
    flags = ("--low", "20", "--high", "60", "--readers", "20", "--stalled", "5", "--seconds", "1")
    records = run("memory", *flags, out=tmp_path / "out")
    assert [record["name"] for record in records["slope"]] == [
        "idle keep-alive",
        "parked at the edge",
    ]
    assert len(records["pace"]) == 4
    for report in records["pace"]:
        assert report["wrong"] == report["cut"] == report["writers_failed"] == 0


def test_listing_finds_a_hundred_keys(tmp_path: Path) -> None:
    flags = ("--keys", "2000", "--lists", "20", "--windows", "1")
    records = run("listing", *flags, out=tmp_path / "out")
    assert [record["answers"] for record in records["list"]] == [20, 20]
    assert sum(record["line_errors"] for record in records["list"]) == 0
    assert {record["method"] for record in records["cost"]} == {"PUT", "DELETE"}


def test_requests_are_all_answered(tmp_path: Path) -> None:
    flags = ("--connections", "4", "--seconds", "0.3", "--runs", "1")
    for record in run("requests", *flags, out=tmp_path / "out")["requests"]:
        assert record["unexpected"] == 0
        assert record["received_bytes"] == record["answers"] * 1024 > 0


def test_python_and_c_agree_on_the_payload() -> None:
    table = pattern(64)
    data = frame(table, 64, object_id=3, seq=9)
    assert data.startswith(b"40\r\n")
    assert data[4 + 24 : 4 + 64] == table[3 * 7919 + 4099 + 24 :][:40]
    assert data.endswith(b"\r\n")


@pytest.mark.parametrize(
    "flags", [("--nonsense",), ("--writers", "x"), ("--server", "/no/such/program")]
)
def test_bad_input_is_one_line_and_a_code(flags: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.fanout", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_compiler_is_one_line_and_a_code(tmp_path: Path) -> None:
    environment = {**os.environ, "CC": "/no/such/cc", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "bench.requests"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "no C compiler found (looked for $CC, cc, gcc, clang) to build reqgen"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_an_interrupted_run_leaves_no_process(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "bench.fanout", "--writers", "1", "--readers", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        started = next(ids for ids in _families(run) if len(ids) >= 3)  # server and generator
        run.send_signal(number)
        run.communicate(timeout=TIMEOUT_S)
    assert run.returncode in (130, 128 + signal.SIGTERM)
    assert [pid for pid in started if _is_running(pid)] == []


def _is_running(pid: int) -> bool:
    """It has not ended; one that has, and whose parent went first, may still wait to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _families(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """The process and its descendants, again and again while it runs."""
    while process.poll() is None:
        yield family(process.pid)
