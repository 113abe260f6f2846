"""A real `chunkstore serve` with TLS: SIGHUP reads the certificate again, good or bad."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.server.test_tls import write_pair

DEADLINE_S = 20.0


@contextmanager
def serving(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and its first line."""
    command = [sys.executable, "-m", "chunkstore", "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--log", "off", *flags], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline()
        finally:
            process.kill()


def shown(port: int) -> str:
    """The certificate that a new connection gets."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=DEADLINE_S)


def test_sighup(tmp_path: Path) -> None:
    cert, key = write_pair(tmp_path, "first.example")
    with serving("--tls-cert", cert, "--tls-key", key) as (process, line):
        assert process.stderr is not None
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


def test_sighup_of_a_service_without_tls_changes_nothing() -> None:
    with serving() as (process, _):
        assert process.stderr is not None
        process.send_signal(signal.SIGHUP)
        assert "SIGHUP changes nothing" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
