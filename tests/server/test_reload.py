"""A real `chunkstore serve` with TLS: SIGHUP reads the certificate again, good or bad."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.server.test_tls import write_pair

DEADLINE_S = 20.0


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """One that serves over TLS."""
    cert, key = write_pair(tmp_path, "first.example")
    command = [sys.executable, "-m", "chunkstore", "serve", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--log", "off", "--tls-cert", cert, "--tls-key", key],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


def shown(port: int) -> str:
    """The certificate that a new connection gets."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=DEADLINE_S)


def test_sighup(process: subprocess.Popen[str], tmp_path: Path) -> None:
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("listening on https://127.0.0.1:")
    port = int(line.rpartition(":")[2])
    first = shown(port)
    write_pair(tmp_path, "second.example", ca=trustme.CA())
    assert shown(port) == first
    process.send_signal(signal.SIGHUP)
    assert "the certificate was read again" in process.stderr.readline()
    second = shown(port)
    assert second != first
    (tmp_path / "cert.pem").write_text("no PEM")
    process.send_signal(signal.SIGHUP)
    said = process.stderr.readline()
    assert "the certificate in force stays, since the new one is wrong: tls_cert: " in said
    assert shown(port) == second
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 0
