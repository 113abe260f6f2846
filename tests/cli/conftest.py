"""Commands in the process of the tests: an interpreter's start costs more than what most do."""

from __future__ import annotations

import subprocess

import pytest

from chunkstore.cli import main
from tests.cli.server import Command


@pytest.fixture
def here(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command to its end, as `tests.cli.server.chunkstore` does, but with no stdin.

    For what needs no signal, no terminal and no server of its own.
    """
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*argv: str) -> subprocess.CompletedProcess[bytes]:
        capfdbinary.readouterr()
        code = main(argv)
        return subprocess.CompletedProcess(argv, code, *capfdbinary.readouterr())

    return run
