"""A `chunkstore serve` of its own for the commands' tests, and commands as processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.request import Request, urlopen

__all__ = ["COMMAND", "Command", "chunkstore", "serving", "store"]

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = [sys.executable, "-m", "chunkstore"]
DEADLINE_S = 30

Command: TypeAlias = Callable[..., subprocess.CompletedProcess[bytes]]


@contextmanager
def serving(*flags: str, command: str = "serve") -> Iterator[str]:
    """An origin, or another server, in a process, and its URL."""
    words = [*COMMAND, command, "--listen", "127.0.0.1:0", "--log", "off", *flags]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            match = re.search(r"listening on (http://\S+)", said)
            assert match is not None, said
            yield match[1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
            assert process.stderr.read() == "", "a fault of the server"
        finally:
            process.kill()


def chunkstore(*argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *argv],
        input=stdin,
        capture_output=True,
        timeout=DEADLINE_S,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )


def store(url: str, data: bytes) -> None:
    """Have something there, without a command."""
    with urlopen(Request(url, data, method="PUT"), timeout=DEADLINE_S) as answer:
        assert answer.status in (200, 201)
