"""The questions about the cluster: who takes part, how it is judged, and that none rots.

Swift is never started here: it would have to be installed. Nothing asserts a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from bench.build import BenchError, NoCompilerError, build
from bench.cluster import bare, swift
from bench.cluster.faults import allowed_mib, budget_bytes
from bench.cluster.pages import free_pages
from bench.cluster.party import Party, free_ports, is_open
from bench.cluster.transfer import CASES, contestants, fsync_ms, judge
from bench.contest import Results
from bench.harness import JsonLines, Result
from bench.outcome import CPU, Verdicts
from bench.usage import is_running

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 180
WALL = "wall s/GiB"


# ---- who takes part ----


def test_swift_that_is_missing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swift, "missing", lambda _: "it isn't here")
    out = tmp_path / "out"
    found = [one.name for one in contestants("swift?,bare", None, JsonLines(str(out)))]
    assert found == ["ours", bare.NAME]
    missing = {"kind": "missing", "server": "swift", "reason": "it isn't here"}
    assert json.loads(out.read_text()) == missing


def test_swift_that_was_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swift, "missing", lambda _: "it isn't here")
    with pytest.raises(BenchError, match="swift can't run here: it isn't here"):
        contestants("swift", None, JsonLines(None))


def test_an_unknown_peer_is_refused() -> None:
    with pytest.raises(BenchError, match="'ceph'"):
        contestants("ceph", None, JsonLines(None))


def test_swift_has_ours_parts_and_a_device_each(tmp_path: Path) -> None:
    ports = swift.Ports.free()
    parsers = {}
    for name, text in swift.configs(tmp_path, ports, "me").items():
        parsers[name] = ConfigParser()
        parsers[name].read_string(text)
    policy = parsers["swift"]["storage-policy:0"]
    assert policy["policy_type"] == "erasure_coding"
    assert policy["default"] == "yes"
    cut = policy["ec_num_data_fragments"], policy["ec_num_parity_fragments"]
    assert cut == ("5", "2")
    objects = [one["DEFAULT"] for name, one in parsers.items() if name.startswith("object-")]
    assert [int(one["bind_port"]) for one in objects] == list(ports.objects)
    assert len({one["devices"] for one in objects}) == len(objects) == swift.DEVICES


def test_memory_that_was_in_use_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    free_pages(tmp_path, 3 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# ---- how it is judged ----


def judged(capsys: pytest.CaptureFixture[str], **costs: float) -> tuple[int, list[str]]:
    """The exit code and the lines for servers whose every figure is the given one."""
    results = Results(JsonLines(None))
    for case in CASES:
        for method in ("PUT", "GET"):
            for server, cost in costs.items():
                name = {"bare": bare.NAME}.get(server, server)
                figures = {CPU: cost, WALL: cost, "p50 ms": cost}
                results.add(Result("cluster", f"{case.name}: {method}", name, figures))
    verdicts = Verdicts()
    capsys.readouterr()
    judge(results, CASES, 0.5, verdicts)
    code = verdicts.print()
    return code, capsys.readouterr().out.splitlines()


def test_swift_is_beaten_by_half_as_much_again(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = judged(capsys, ours=2.0, swift=3.0, bare=1.0)
    assert code == 0
    assert sum("Swift's 3: 1.50x better" in line for line in lines) == 4 * 2 * 2
    code, lines = judged(capsys, ours=2.0, swift=2.9)
    assert code == 1
    assert sum(line.startswith("NO") for line in lines) == 4 * 2 * 2


def test_without_swift_the_bare_stream_is_the_measure(capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = judged(capsys, ours=2.0, bare=0.9)
    assert code == 0
    code, lines = judged(capsys, ours=2.0, bare=0.6)
    assert code == 1
    [missed] = [line for line in lines if line.startswith("NO")]
    assert "GET 30% of a bare stream's throughput >= 45%" in missed


def test_small_objects_have_a_bound_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = judged(capsys, ours=12.4, bare=12.0)
    assert code == 1
    [missed] = [line for line in lines if line.startswith("NO")]
    assert "GET p50 12.40 ms <= 5.0 ms" in missed


def test_memory_is_allowed_by_the_upload() -> None:
    assert (allowed_mib(0), allowed_mib(8)) == (120.0, 168.0)


def test_the_budget_in_use_is_read_from_the_metrics() -> None:
    lines = [
        "# HELP chunkstore_memory_bytes Budget in use.",
        'chunkstore_memory_bytes{use="open"} 8.5e+06',
        'chunkstore_memory_bytes{use="complete"} 500.0',
        "chunkstore_memory_budget_bytes 1e9",
    ]
    assert budget_bytes("\n".join(lines)) == 8_500_500


def test_the_disk_has_a_floor(tmp_path: Path) -> None:
    assert fsync_ms(tmp_path) > 0
    assert not list(tmp_path.iterdir())


# ---- processes ----

_LISTENING = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))"
_WAITING = f"{_LISTENING}; print('ready', flush=True); time.sleep(600)"


def test_a_party_is_ended_with_its_block(tmp_path: Path) -> None:
    ports = free_ports(2)
    with Party.open("two", tmp_path) as party:
        for port in ports:
            party.start(f"at {port}", [sys.executable, "-c", _WAITING, str(port)])
        party.until_open(ports)
        first, second = (f"at {port}" for port in ports)
        party.kill(first)
        party.check()  # it was meant to
        assert not is_open(ports[0])
        party.again(first)
        assert party.until_said(first, "ready") == ["ready"]
        assert party.usage().resident_bytes > 0
        party.end(second)
        pids = [party.pid(name) for name in (first, second)]
    assert not any(is_running(pid) for pid in pids)


def test_a_process_that_ends_by_itself_is_said(tmp_path: Path) -> None:
    with Party.open("one", tmp_path) as party:
        party.start("short", [sys.executable, "-c", "print('so long'); raise SystemExit(3)"])
        with pytest.raises(BenchError, match="short ended with code 3, it said: so long"):
            party.until_said("short", "never")


@pytest.mark.parametrize(
    ("question", "flags"),
    [
        ("transfer", ("--share", "0")),
        ("transfer", ("--server", "x")),
        ("transfer", ("--peers", "ceph")),
        ("faults", ("--parts", "fire")),
        ("faults", ("--runs", "0")),
    ],
)
def test_bad_input_is_one_line_and_a_code(question: str, flags: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"bench.cluster.{question}", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# ---- whole, but small ----


@pytest.mark.real
@pytest.mark.parametrize(
    ("question", "flags"),
    [
        ("transfer", ("--peers", "bare", "--runs", "1", "--share", "0.01")),
        ("faults", ("--parts", "dead,stopped", "--runs", "1", "--objects", "1", "--gets", "8")),
    ],
    ids=["transfer", "faults"],
)
def test_every_answer_is_right(question: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    try:
        build("reqgen")
    except NoCompilerError as error:
        pytest.skip(str(error))
    out = tmp_path / "out"
    command = [sys.executable, "-m", f"bench.cluster.{question}", "--json", str(out)]
    done = subprocess.run(
        [*command, *flags, "--place", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: a figure is missed
    records = [json.loads(line) for line in out.read_text().splitlines()]
    results = [record for record in records if record["kind"] == "result"]
    assert {one["server"] for one in results} > {"ours"}
    assert [one["fault"] for one in results if one["fault"]] == []
