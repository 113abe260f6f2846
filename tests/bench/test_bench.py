"""A tiny run of each benchmark, so that none rots; what is asserted is bytes, never time."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import QUESTIONS
from bench.build import BenchError, NoCompilerError, build
from bench.floor import frame, pattern
from bench.front import FRONTS
from bench.harness import JsonLines
from bench.observed import CONSOLE, upper_bound
from bench.proxies import contestants
from bench.usage import family, is_running

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


def test_observers_get_their_answers_and_readers_every_byte(tmp_path: Path) -> None:
    flags = ("--writers", "2", "--readers", "8", "--seconds", "1.5", "--join", "0.2", "--runs", "1")
    records = run("observed", *flags, out=tmp_path / "out")
    assert [result["server"] for result in records["result"]] == ["ours", "ours, observed"]
    assert records["verdict"][0]["holds"], records["verdict"]


def test_observers_ask_for_what_a_console_asks_for() -> None:
    page = (ROOT / "chunkstore/admin/page/source.js").read_text(encoding="utf-8")
    assert [path for path in re.findall(r'ask\("([^"]+)"\)', page) if path != "/settings"] == [
        *CONSOLE
    ]


def test_shapes_are_each_asked_beside_the_floor(tmp_path: Path) -> None:
    flags = ("--shapes", "1x1,1x16", "--seconds", "0.5", "--join", "0.2", "--runs", "1")
    records = run("shapes", *flags, out=tmp_path / "out")
    assert [record["shape"][1] for record in records["fanout"]] == [1, 1, 16, 16]
    assert [record["server"] for record in records["result"]] == ["ours", "floor (c)"] * 2
    for report in records["fanout"]:
        assert_right(report)
        assert report["first_byte"]["count"] == report["readers"]


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


def test_churn_has_a_peer_beside_it(tmp_path: Path) -> None:
    flags = ("--writers", "2", "--readers", "10", "--seconds", "1", "--join", "0.2", "--runs", "3")
    records = run("fanout", "--churn", "--peers", "naive", *flags, out=tmp_path / "out")
    assert len(records["churn"]) == len(records["churn_peer"]) == 3
    results = records["result"]
    assert [result["server"] for result in results] == ["ours", "naive"] * 3
    assert all(result["question"] == "churn" for result in results)
    assert all(result["figures"]["CPU s/GiB"] > 0 for result in results)


def test_segments_are_all_delivered(tmp_path: Path) -> None:
    load = ("--writers", "2", "--readers", "8", "--segment", "0.5")
    flags = ("--seconds", "2", "--join", "0.2", "--runs", "1", "--peers", "naive")
    records = run("segments", *load, *flags, out=tmp_path / "out")
    ours, naive = records["segments"]
    assert (ours["server"], naive["server"]) == ("ours", "naive")
    for report in (ours, naive):
        assert_right(report)
        assert report["delivered_bytes"] == report["expected_bytes"] > 0
        assert report["clean_ends"] == 16
        assert report["segments"] >= 16 * 3
    assert ours["retries"] == 0  # it holds; the peer says 404
    assert naive["retries"] > 0
    assert {result["question"] for result in records["result"]} == {"segments"}


def test_deletion_cuts_every_reader(tmp_path: Path) -> None:
    flags = ("--delete", "--readers", "16", "--join", "0.1")
    records = run("fanout", *flags, out=tmp_path / "out")
    (report,) = records["deletion"]
    assert [result["fault"] for result in records["result"]] == [""]
    assert all(verdict["question"] == "deletion" for verdict in records["verdict"])
    deletion = report["deletion"]
    assert (deletion["status"], deletion["get_status"]) == (200, 404)
    assert deletion["put_status"] == 410
    assert (deletion["cut"], deletion["clean"]) == (16, 0)
    assert deletion["chunks_after"] <= 16  # at most the chunk that was under way, for each
    assert report["wrong"] == 0


def test_tls_holds_its_readers(tmp_path: Path) -> None:
    flags = ("--readers", "8", "--seconds", "1", "--runs", "1")
    plain, sealed = run("tls", *flags, out=tmp_path / "out")["result"]
    assert (plain["server"], sealed["server"]) == ("ours", "ours over TLS")
    for result in (plain, sealed):
        assert result["figures"]["CPU s/GiB"] > 0
        assert not result["fault"]


def test_proxies_pass_every_byte(tmp_path: Path) -> None:
    for front in FRONTS.values():
        if reason := front.missing():
            pytest.skip(reason)
    flags = ("--readers", "8", "--seconds", "1", "--join", "0.2", "--runs", "1")
    reports = run("proxies", *flags, out=tmp_path / "out")["proxies"]
    names = ["ours", "ours behind nginx", "ours behind varnish"]
    assert [report["server"] for report in reports] == names
    for report in reports:
        assert_right(report)
        assert report["delivered_bytes"] == report["expected_bytes"] > 0
        assert report["first_byte"]["count"] == 8


def test_a_missing_proxy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.front.find_program", lambda name: None)
    path = tmp_path / "out"
    entered = contestants(None, ",".join(FRONTS), JsonLines(str(path)))
    assert [contestant.name for contestant in entered] == ["ours"]
    missing = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["kind"], one["server"]) for one in missing] == [
        ("missing", "nginx"),
        ("missing", "varnish"),
    ]
    with pytest.raises(BenchError, match="no proxy is called 'squid'"):
        contestants(None, "squid", JsonLines(None))


def test_memory_measures_slopes_and_paces(tmp_path: Path) -> None:
    flags = ("--low", "20", "--high", "60", "--readers", "20", "--stalled", "5", "--seconds", "1")
    records = run("memory", *flags, out=tmp_path / "out")
    assert [record["name"] for record in records["slope"]] == [
        "idle keep-alive",
        "parked at the edge",
    ]
    assert len(records["pace"]) == 4
    assert len(records["result"]) == 2 + 4 + 1
    for report in records["pace"]:
        assert report["wrong"] == report["cut"] == report["writers_failed"] == 0


def test_listing_finds_a_hundred_keys(tmp_path: Path) -> None:
    flags = ("--keys", "2000", "--lists", "20", "--windows", "1")
    records = run("listing", *flags, out=tmp_path / "out")
    assert [record["answers"] for record in records["list"]] == [20, 20]
    assert sum(record["line_errors"] for record in records["list"]) == 0
    assert {record["method"] for record in records["cost"]} == {"PUT", "DELETE"}
    cases = {record["case"] for record in records["result"]}
    assert cases == {"1000 keys", "2000 keys"}
    windows = [record for record in records["result"] if "CPU us/PUT" in record["figures"]]
    assert len(windows) == 2


def test_disk_asks_all_its_parts(tmp_path: Path) -> None:
    load = ("--writers", "2", "--readers", "8", "--seconds", "0.5", "--join", "0.2", "--runs", "1")
    few = ("--turns", "1", "--keys", "2000", "--few", "1000", "--windows", "1", "--peers", "none")
    results = run("disk", *load, *few, out=tmp_path / "out")["result"]
    assert not any(result["fault"].startswith("failed") for result in results)
    assert {result["question"] for result in results} == {"disk"}
    assert [result["case"].partition(",")[0] for result in results] == [
        *["live"] * 2,
        *["64 uploads complete at once"] * 2,
        *["64KiB"] * 3,
        *["8MiB"] * 3,
        *["2000 keys", "1000 keys", "2000 keys", "2000 keys"],
    ]
    assert all(value > 0 for result in results for value in result["figures"].values())


@pytest.mark.parametrize(
    ("question", "flags", "cases"),
    [
        ("complete", ("--connections", "4"), {"1KiB", "64KiB", "8MiB"}),
        (
            "ingest",
            (),
            {f"{who}, {how}" for who in ("1 writer", "64 writers") for how in ("chunks", "length")},
        ),
    ],
)
def test_requests_are_all_answered(
    tmp_path: Path, question: str, flags: tuple[str, ...], cases: set[str]
) -> None:
    common = ("--seconds", "0.3", "--runs", "1", "--peers", "none")
    results = run(question, *flags, *common, out=tmp_path / "out")["result"]
    assert {result["case"] for result in results} == cases
    assert not any(result["fault"] for result in results)
    assert all(value > 0 for result in results for value in result["figures"].values())


def serve_sized(listener: socket.socket) -> None:
    """Answers a GET, once the PUT beside it has sent four chunks, as if the object were whole."""
    put = get = None
    while put is None or get is None:
        connection, _ = listener.accept()
        if connection.recv(65536).startswith(b"PUT"):
            put = connection
        else:
            get = connection
    wire = b""
    while wire.count(b"40\r\n") < 4 or not wire.endswith(b"\r\n"):
        wire += put.recv(65536)
    body = b"".join(chunk[4:-2] for chunk in re.findall(rb"40\r\n.{64}\r\n", wire, re.DOTALL))
    get.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    while put.recv(65536):  # until the generator has had enough
        pass
    put.close()
    get.close()


def test_generator_takes_a_sized_answer_for_an_ended_one() -> None:
    """Its object isn't whole, so it is counted as a false end; never as a reader left hanging."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        double = threading.Thread(target=serve_sized, args=(listener,), daemon=True)
        double.start()
        options = {
            **{"port": listener.getsockname()[1], "objects": 1, "readers": 1, "chunk": 64},
            **{"rate": 50, "seconds-ms": 100, "join-ms": 10, "drain-ms": 300, "check-one-in": 1},
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        done = subprocess.run(
            [build("loadgen"), *flags], capture_output=True, text=True, timeout=60, check=True
        )
        double.join(10)
        assert not double.is_alive()
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["false_ends"], report["hung"], report["wrong"]) == (1, 0, 0)
    assert report["checked_bytes"] > 0


def test_bench_lists_its_questions_and_knows_no_others() -> None:
    for words, code in ((), 0), (("nonsense",), 2):
        done = subprocess.run(
            [sys.executable, "-m", "bench", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code
        assert all(name in done.stdout + done.stderr for name in QUESTIONS)
        assert len(done.stderr.splitlines()) == bool(code)


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
        [sys.executable, "-m", "bench.complete", "--peers", "none"],
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
    # A generator that was only just forked ends by its parent's death signal, a moment later.
    deadline_s = time.monotonic() + 10
    while any(map(is_running, started)) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert [pid for pid in started if is_running(pid)] == []


def _families(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """The process and its descendants, again and again while it runs."""
    while process.poll() is None:
        yield family(process.pid)


def test_the_upper_bound_of_a_mean_ratio() -> None:
    assert upper_bound([1.5]) == math.inf
    assert upper_bound([1.1, 1.1, 1.1]) == pytest.approx(1.1)
    # By hand: mean of the logarithms 0, standard deviation ln 1.1, t of one degree 12.71.
    assert upper_bound([1.1, 1 / 1.1]) == pytest.approx(1.1 ** (12.71))
