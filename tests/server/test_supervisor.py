"""Under systemd: it is told when the service is ready and when it stops, and its unit fits."""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chunkstore.cli import cli
from chunkstore.config import Settings

UNIT = Path(__file__).resolve().parents[2] / "packaging" / "chunkstore.service"
SERVE = [sys.executable, "-m", "chunkstore", "serve", "--listen", "127.0.0.1:0", "--log", "off"]
END_S = 20.0


@contextmanager
def serving(address: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose supervisor listens at `address`."""
    environment = {**os.environ, "NOTIFY_SOCKET": address}
    with subprocess.Popen(SERVE, stderr=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith(b"listening on ")
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(END_S) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_it_is_told(tmp_path: Path, is_abstract: bool) -> None:
    name = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.settimeout(END_S)
        supervisor.bind("\0" + name if is_abstract else name)
        with serving("@" + name if is_abstract else name) as process:
            assert supervisor.recv(100) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert supervisor.recv(100) == b"STOPPING=1"


def test_a_supervisor_that_does_not_listen_is_no_reason_not_to_serve(tmp_path: Path) -> None:
    with serving(f"{tmp_path}/nothing"):
        pass


def test_the_unit_fits_the_program() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert service["Type"] == "notify"
    _, command, *flags = shlex.split(service["ExecStart"])
    known = {name for option in cli.commands[command].params for name in option.opts}
    assert {flag for flag in flags if flag.startswith("-")} <= known
    assert int(service["TimeoutStopSec"]) > Settings().drain_s
    assert int(service["LimitNOFILE"]) > Settings().max_connections
    assert service["RestartPreventExitStatus"] == "2"  # wrong settings stay wrong
