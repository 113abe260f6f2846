"""A run that is interrupted, or can't begin, leaves no process and no half-written result.

Each run is in a process group of its own. When its server and generator are up is seen in /proc, so
that nothing is timed; a deadline is there to fail, not to wait for.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import pytest

from bench.__main__ import results_folder
from bench.build import NoCompilerError, build
from bench.interrupts import _Signals
from bench.usage import family, is_running

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 60.0

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    try:
        build("loadgen")
    except NoCompilerError as error:
        pytest.skip(str(error))


def start(*words: str) -> subprocess.Popen[str]:
    """`python -m bench WORDS`, leading a process group of its own, like a shell's job."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def ask(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same, until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def command_line(pid: int) -> str:
    """Empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def wait_for(run: subprocess.Popen[str], *programs: str) -> list[int]:
    """The run's processes, once one of each of `programs` is among them."""
    deadline_s = time.monotonic() + DEADLINE_S
    while run.poll() is None and time.monotonic() < deadline_s:
        found = family(run.pid)
        lines = [command_line(pid) for pid in found]
        if all(any(program in line for line in lines) for program in programs):
            return found
        time.sleep(0.005)
    run.terminate()
    raise AssertionError(f"never saw {programs}; the run's code: {run.poll()}")


def assert_all_ended(processes: list[int]) -> None:
    # A generator that was only just forked ends by its parent's death signal, a moment later.
    deadline_s = time.monotonic() + 10
    while any(map(is_running, processes)) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    left = [(pid, command_line(pid)) for pid in processes if is_running(pid)]
    for pid, _ in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(params=["nothing", "results"])
def into(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a report in it, and in one case with raw results of today."""
    (tmp_path / "REPORT.md").write_text("as it was\n")
    if request.param == "results":
        folder = results_folder(tmp_path)
        folder.mkdir(parents=True)
        (folder / "fanout.jsonl").write_text("as they were\n")
    return tmp_path


PROGRAMS = [("chunkstore serve",), ("chunkstore serve", "loadgen")]
"""Interrupted while the server starts, and while it is under load."""


def stop(run: subprocess.Popen[str], how: str, processes: list[int]) -> None:
    """Interrupts it; it must end with the documented code, in words, and all its processes too."""
    match how:
        case "ctrl-c":
            os.killpg(run.pid, signal.SIGINT)
        case "int":
            run.send_signal(signal.SIGINT)
        case "term":
            run.terminate()
        case "ctrl-c twice":
            os.killpg(run.pid, signal.SIGINT)
            os.killpg(run.pid, signal.SIGINT)
            run.terminate()
    _, said = run.communicate(timeout=DEADLINE_S)
    assert_all_ended(processes)
    assert "Traceback" not in said
    # Signals that are pending at once are delivered by number, so Ctrl-C is always the first.
    assert run.returncode == (143 if how == "term" else 130)


@pytest.mark.parametrize("how", ["ctrl-c", "int", "term", "ctrl-c twice"])
@pytest.mark.parametrize("programs", PROGRAMS, ids=["starting", "loaded"])
def test_quick_that_is_interrupted_leaves_nothing(
    into: Path, how: str, programs: tuple[str, ...]
) -> None:
    before = files(into)
    with start("--quick", "--into", str(into)) as run:
        processes = wait_for(run, *programs)
        stop(run, how, processes)
    assert files(into) == before
    assert (into / "runs").exists() == ("fanout" in "".join(before))


@pytest.mark.parametrize("how", ["ctrl-c", "term", "ctrl-c twice"])
@pytest.mark.parametrize("programs", PROGRAMS, ids=["starting", "loaded"])
def test_a_question_that_is_interrupted_leaves_no_process(
    how: str, programs: tuple[str, ...]
) -> None:
    with start("fanout", "--writers", "1", "--readers", "2") as run:
        processes = wait_for(run, *programs)
        stop(run, how, processes)


STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os.execvp('sleep', ['sleep', '3600.5']))
print('http://127.0.0.1:1', file=sys.stderr, flush=True)
signal.pause()
"""
"""Nobody can connect to it, and to be stopped it takes the second SIGTERM, a second later."""


@pytest.mark.parametrize("how", ["int", "term"])
def test_a_server_that_is_being_stopped_is_stopped_all_the_same(how: str) -> None:
    server = shlex.join([sys.executable, "-c", STUBBORN])
    with start("memory", "--server", server) as run:
        processes = wait_for(run, "sleep 3600.5")
        stop(run, how, processes)


# ---- runs that can't begin ----


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It couldn't run, and says why in a line that has the words."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense",), "nonsense"),
        (("--quick", "--runs"), "--into"),
        (("--full", "fanout", "nonsense"), "nonsense"),
        (("--quick", "worker", "spread"), "spread"),
        (("fanout", "--peers", "swift"), "swift"),
        (("fanout", "--shape", "2x2"), "2x2"),
        (("shapes", "--shapes", "2x2"), "2x2"),
        (("complete", "--sizes", "9KiB"), "9KiB"),
        (("complete", "--peers", "swift?"), "swift"),
        (("memory", "--seconds", "many"), "many"),
        (("listing", "--keys", "12"), "1000"),
    ],
)
def test_an_unknown_name_is_one_line(words: tuple[str, ...], said: str) -> None:
    assert_one_line(ask(*words), said)


@pytest.mark.parametrize("question", ["fanout", "shapes", "complete", "ingest", "listing"])
def test_a_result_that_cannot_be_written_is_one_line(question: str, tmp_path: Path) -> None:
    path = str(tmp_path / "no" / "such" / "folder")
    assert_one_line(ask(question, "--json", path), path)


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ours = f"{sys.executable} -m chunkstore serve --listen 127.0.0.1:{port}"
        assert_one_line(ask("memory", "--server", ours), str(port))


@pytest.mark.parametrize(
    "words", [("fanout", "--readers", "100000000"), ("memory", "--high", "3000000000")]
)
def test_too_few_descriptors_are_one_line(words: tuple[str, ...]) -> None:
    """More than a kernel gives to anybody; with less, `ulimit -n` decides."""
    assert_one_line(ask(*words), "file descriptors", "limit")


def test_a_missing_peer_is_one_line_if_it_was_asked_for(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    assert_one_line(ask("fanout", "--peers", "node", env=environment), "node", "no program")


def test_a_missing_peer_is_left_out_and_recorded(tmp_path: Path) -> None:
    """Where it was only asked for if it is there, as by `all`."""
    build("reqgen")
    environment = {**os.environ, "PATH": str(tmp_path)}
    flags = ("--sizes", "1KiB", "--seconds", "0.1", "--runs", "1", "--peers", "node?")
    done = ask("complete", *flags, "--json", str(tmp_path / "out"), env=environment)
    assert done.returncode in (0, 1), done.stderr
    assert "node: missing: there is no program node here" in done.stdout.splitlines()
    records = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    kinds = [record["kind"] for record in records]
    assert kinds[:3] == ["machine", "missing", "result"]
    assert records[1]["server"] == "node"


def test_a_signal_that_comes_in_before_the_first_is_noted_is_the_second() -> None:
    signals = _Signals()

    def come_in(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is _Signals._on_signal.__code__:
            sys.settrace(None)
            signals._on_signal(signal.SIGTERM, frame)

    sys.settrace(come_in)
    try:
        with pytest.raises(KeyboardInterrupt):
            signals._on_signal(signal.SIGINT, None)
    finally:
        sys.settrace(None)
