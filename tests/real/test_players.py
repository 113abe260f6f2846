"""A real player in a real browser, behind the origin: the picture comes, in order and in time.

What is asserted holds on a busy machine too; how late the picture is to a few milliseconds is
asked by `python -m bench glass`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.build import BenchError, build
from bench.studio.browser import find_browser
from bench.studio.packages import PLAYERS, player_script
from bench.usage import family, is_running

pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("playwright")

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 120
LATEST_MS = 2000
"""Nobody keeps a player at 0.2 s on a machine that is busy with something else."""


@pytest.fixture(autouse=True, scope="module")
def _parts() -> None:
    try:
        find_browser()
        for player in PLAYERS:
            player_script(player)
        build("follow")
    except BenchError as error:
        pytest.skip(str(error))


def glass(*flags: str, out: Path) -> dict[str, list[dict[str, Any]]]:
    """Asks the question; its raw results by kind. A missed figure (exit code 1) is no failure."""
    command = [sys.executable, "-m", "bench.glass", "--json", str(out), *flags]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    records: dict[str, list[dict[str, Any]]] = {}
    for line in out.read_text().splitlines():
        record = json.loads(line)
        records.setdefault(record.pop("kind"), []).append(record)
    return records


def assert_right(watched: dict[str, Any]) -> None:
    """Every picture had its clock and its place; every answer came and was whole."""
    viewing = watched["viewing"]
    assert viewing["frames"] > 30
    assert (viewing["unreadable"], viewing["backwards"]) == (0, 0)
    assert 0 < viewing["p50_ms"] < LATEST_MS
    assert {status.rpartition(" ")[2] for status in watched["statuses"]} <= {"200", "206"}
    assert watched["failures"] == {}
    assert watched["encoder_errors"] == []


def test_dash_js_beside_raw_readers(tmp_path: Path) -> None:
    flags = ("--target", "0.2", "--settle", "3", "--seconds", "3", "--readers", "20")
    picture = tmp_path / "glass.png"
    found = glass(*flags, "--screenshot", str(picture), out=tmp_path / "out")
    assert [watched["case"] for watched in found["glass"]] == [
        "dash.js, target 0.2 s",
        "dash.js, target 0.2 s, beside 20 readers",
    ]
    for watched in found["glass"]:
        assert_right(watched)
    counted = found["glass"][1]["audience"]
    assert set(counted["statuses"]) == {"200"}
    assert counted["segments"] >= 20 * 3
    assert (counted["cut"], counted["wrong_length"], counted["wrong_frames"]) == (0, 0, 0)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [result["question"] for result in found["result"]] == ["glass", "glass"]


@pytest.mark.parametrize("player", ["dash", "hls"])
def test_nobody_notices_uploads_that_are_cut_and_begun_anew(player: str, tmp_path: Path) -> None:
    flags = ("--player", player, "--publisher", "ours", "--settle", "3", "--seconds", "6")
    found = glass(*flags, "--cuts", "3", "--readers", "20", out=tmp_path / "out")
    for watched in found["glass"]:
        assert_right(watched)
        assert [cut["kind"] for cut in watched["sent"]["cuts"]] == ["reset", "half-open", "reset"]
        uploads = watched["sent"]["uploads"]
        assert uploads["retries"] >= 3
        assert (uploads["given_up"], uploads["displaced"]) == ([], 0)
    counted = found["glass"][1]["audience"]
    assert set(counted["statuses"]) == {"200"}
    assert (counted["cut"], counted["wrong_length"], counted["wrong_frames"]) == (0, 0, 0)


def test_without_grace_a_cut_is_an_error_to_the_browser(tmp_path: Path) -> None:
    flags = ("--publisher", "ours", "--settle", "3", "--seconds", "5", "--cuts", "2")
    found = glass(*flags, "--grace", "0", out=tmp_path / "out")
    [watched] = found["glass"]
    assert watched["failures"] == {"m4s net::ERR_CONNECTION_RESET": 2}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_an_interrupted_run_leaves_no_process(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "bench.glass", "--seconds", "60"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        deadline_s = time.monotonic() + DEADLINE_S
        started: list[int] = []
        while not any(_runs(pid, "renderer") for pid in started):
            started = family(run.pid)
            assert run.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        run.send_signal(number)
        run.communicate(timeout=DEADLINE_S)
    assert run.returncode in (130, 128 + signal.SIGTERM)
    assert len(started) > 5
    assert [pid for pid in started if is_running(pid)] == []


def _runs(pid: int, kind: str) -> bool:
    """It is one of the browser's processes, of that kind."""
    try:
        return f"--type={kind}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("browser", "said"),
    [("/no/such/browser", "no Chromium found"), (sys.executable, "npm is missing")],
)
def test_a_missing_part_is_one_line_and_a_code(tmp_path: Path, browser: str, said: str) -> None:
    cache = str(tmp_path)
    environment = {**os.environ, "PATH": cache, "XDG_CACHE_HOME": cache, "CHROMIUM": browser}
    done = subprocess.run(
        [sys.executable, "-m", "bench.glass"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
