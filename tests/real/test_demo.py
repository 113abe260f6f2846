"""`chunkstore demo` as a person starts it: figures at the end, and no process after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("rich")

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 60
COMMAND = [sys.executable, "-m", "chunkstore", "demo"]


def processes_with(text: str) -> list[str]:
    """The command lines of running processes that have `text` in them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it ended while we looked
        if text in line:
            found.append(line)
    return found


@contextmanager
def running_demo(*flags: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a child process, which is gone afterwards."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*COMMAND, *flags], cwd=ROOT, stdout=pipe, stderr=pipe, text=True, bufsize=1
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_its_picture_can_be_watched(tmp_path: Path) -> None:
    """By its own addresses: the console, and the watch view, which plays without a stop."""
    pytest.importorskip("playwright")
    from tests.real.tab import figures, open_page, save

    with running_demo("--no-open") as demo, open_page() as page:
        assert demo.stdout is not None
        lines = [demo.stdout.readline().strip() for _ in range(3)]
        urls = dict(line.split(": ") for line in lines)
        page.goto(urls["watch it"])
        found = figures(page, frames=200)
        time_s = page.evaluate("document.querySelector('video').currentTime")
        save(page, tmp_path, "demo-watch")
        assert figures(page, frames=found["frames"] + 20)["stalls"] < 5
        assert page.evaluate("document.querySelector('video').currentTime") > time_s
        assert 0 < found["p95"] < 5
        page.goto(urls["console"])
        page.wait_for_selector("#folders tbody tr")
        page.wait_for_selector("#gaps polyline", state="attached")
        save(page, tmp_path, "demo-console")
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=DEADLINE_S)
    assert (demo.returncode, err.strip()) == (130, "")


def test_how_late_its_picture_is_can_be_asked(tmp_path: Path) -> None:
    """A tiny run of `python -m bench watch`; what it judges are milliseconds, and not for here."""
    pytest.importorskip("playwright")
    command = [sys.executable, "-m", "bench.watch", "--runs", "1", "--seconds", "2"]
    out = tmp_path / "out"
    done = subprocess.run(
        [*command, "--json", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    records = [json.loads(line) for line in out.read_text().splitlines()]
    plain, clocked = [one["figures"] for one in records if one["kind"] == "result"]
    assert plain["frames"] > 10
    assert clocked["unreadable"] == 0
    assert 0 < clocked["clock p50 ms"] < 5000


def test_it_ends_by_itself_with_a_line_of_json() -> None:
    with running_demo("--seconds", "4", "--players", "2", "--json") as demo:
        out, err = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 0, err
    assert out.count("\n") == 1
    report = json.loads(out)
    assert report["segments"] >= 4  # two of picture and two of sound
    assert report["readers"] == 4
    assert report["chunks"] > 200
    assert report["bytes"] > 100_000
    assert 0 < report["p50_ms"] <= report["p99_ms"]
    assert {report[name] for name in ("refused", "aborted", "cut", "missed")} == {0}
    assert report["mpd_url"] in err
    assert not processes_with(report["mpd_url"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_and_its_encoder(number: signal.Signals, code: int) -> None:
    with running_demo() as demo:
        assert demo.stdout is not None
        mpd_url = demo.stdout.readline().split()[1]
        while "segments" not in (line := demo.stdout.readline()):
            assert line, "it ended before it showed figures"
        assert processes_with(mpd_url)
        demo.send_signal(number)
        out, err = demo.communicate(timeout=DEADLINE_S)
    assert (demo.returncode, err.strip()) == (code, "")
    assert out.splitlines()[-1].startswith("in all: ")
    assert not processes_with(mpd_url)


def test_an_encoder_that_is_killed_is_one_line_and_exit_code_1() -> None:
    with running_demo() as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        while "segments" not in (line := demo.stdout.readline()):
            assert line, "it ended before it showed figures"
        threads = Path(f"/proc/{demo.pid}/task").glob("*/children")
        [encoder] = [int(child) for one in threads for child in one.read_text().split()]
        os.kill(encoder, signal.SIGKILL)
        _, err = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 1
    assert err.startswith("chunkstore: the encoder ended, exit code -9")
    assert err.count("\n") == 1
