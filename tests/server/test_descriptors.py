"""The limit on open files: raised to fit, and said where it can't be."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVE = [sys.executable, "-m", "chunkstore", "serve", "--listen", "127.0.0.1:0", "--log", "off"]
SOFT, HARD = 64, 200
DEADLINE_S = 30


def started(max_connections: int, *, lines: int) -> tuple[int, str]:
    """Starts a server under the two limits; its own soft limit then, and all it said.

    Args:
        lines: that are waited for before it is ended.
    """
    limits = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (SOFT, HARD))
    command = [*SERVE, "--max-connections", str(max_connections)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=limits
    ) as process:
        try:
            assert process.stderr is not None
            said = "".join(process.stderr.readline() for _ in range(lines))
            soft, _ = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            process.send_signal(signal.SIGTERM)
            said += process.communicate(timeout=DEADLINE_S)[1]
            assert process.returncode == 0
        finally:
            process.kill()
    return soft, said


def test_it_is_raised_to_fit() -> None:
    soft, said = started(100, lines=1)
    assert soft == 164
    assert len(said.splitlines()) == 1


def test_where_it_cannot_be_that_is_said() -> None:
    soft, said = started(1000, lines=2)
    assert soft == HARD
    assert f"limit on open files is {HARD}" in said
    assert f"{HARD - 64} connections" in said
    assert "max_connections (1000)" in said
