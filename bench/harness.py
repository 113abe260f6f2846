"""What every benchmark needs: servers by pid, the generators, flags, JSON lines, exit codes.

A server is any command that prints `... http://HOST:PORT` on stderr once it listens. Everything
that is started here is a context manager and is ended by its pid on the way out, also on Ctrl-C and
SIGTERM: the first of them ends the run, and what comes after it can't break the cleaning up.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from bench.build import BenchError, build
from bench.interrupts import catch_signals, hold_signals
from bench.usage import Usage, family, machine, machine_busy_s, usage

__all__ = [
    "NOT_RUN",
    "OURS",
    "Generated",
    "JsonLines",
    "Parser",
    "Result",
    "Server",
    "Target",
    "generate",
    "main",
    "open_results",
    "serve",
    "serve_ours",
]

NOT_RUN = 2  # the exit code of what couldn't run
OURS = (sys.executable, "-m", "chunkstore", "serve", "--listen", "127.0.0.1:0", "--log", "off")
_READY = re.compile(r"https?://([0-9.]+):(\d+)")
_READY_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 15.0  # a server may drain for 10 s
_ROOT = Path(__file__).parent.parent


# ---- servers ----


class Target(Protocol):
    """What a generator needs to know of a server."""

    host: str
    port: int

    def usage(self) -> Usage:
        """What it has used up to now."""

    def check(self) -> None:
        """Raises BenchError if it has ended."""


@dataclass
class Server:
    """A server that listens; `last_lines` are the newest of its stderr."""

    name: str
    process: subprocess.Popen[str]
    host: str = ""
    port: int = 0
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    @property
    def pid(self) -> int:
        """The process that was started; its children are counted with it."""
        return self.process.pid

    def usage(self) -> Usage:
        """What it has used up to now."""
        return usage(self.pid)

    def check(self) -> None:
        """Raises BenchError if the server has ended."""
        code = self.process.poll()
        if code is not None:
            said = self.last_lines[-1] if self.last_lines else "nothing"
            raise BenchError(f"{self.name} ended with code {code}, its last line: {said}")


@contextlib.contextmanager
def serve(
    name: str, command: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Runs a server for the length of the block.

    Args:
        name: for messages.
        command: argv; run with the repository's root as its working directory.
        env: variables on top of our own.
    Raises:
        BenchError: it can't be started, or doesn't say where it listens within 30 s.
    """
    with contextlib.ExitStack() as stack:
        with hold_signals():  # one between the start and the promise to end it would leave it
            try:
                process = subprocess.Popen(
                    command,
                    cwd=_ROOT,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,  # Ctrl-C ends the run, and the run ends the server
                )
            except OSError as error:
                raise BenchError(f"{name} can't be started: {error}") from error
            server = Server(name, process)
            ready = threading.Event()
            reader = threading.Thread(target=_read_stderr, args=(server, ready), daemon=True)
            reader.start()
            stack.callback(_end_server, process, reader)
        if not ready.wait(_READY_TIMEOUT_S) or not server.port:
            server.check()
            raise BenchError(f"{name} didn't say where it listens within {_READY_TIMEOUT_S:.0f} s")
        yield server


def _end_server(process: subprocess.Popen[str], reader: threading.Thread) -> None:
    with hold_signals():
        _stop(process)
    reader.join()
    if process.stderr is not None:
        process.stderr.close()


@contextlib.contextmanager
def serve_ours(command: str | None, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Runs the server under test: ours, or `command` split like a shell does."""
    with serve("ours", shlex.split(command) if command else OURS, env) as server:
        yield server


def _read_stderr(server: Server, ready: threading.Event) -> None:
    assert server.process.stderr is not None
    for line in server.process.stderr:
        server.last_lines.append(line.rstrip())
        if not server.port and (found := _READY.search(line)):
            server.host, server.port = found[1], int(found[2])
            ready.set()
    server.process.wait()
    ready.set()


def _stop(process: subprocess.Popen[Any]) -> None:
    """Ends it and what it started; a second SIGTERM tells ours not to drain any longer."""
    if process.poll() is None:
        children = family(process.pid)[1:]
        process.terminate()
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# ---- generators ----


@dataclass(frozen=True)
class Generated:
    """A generator's report, and what server and machine had used at each of its marks."""

    report: dict[str, Any]
    usage_at: dict[str, Usage]
    busy_s_at: dict[str, float]

    def cpu_s(self, start: str, end: str) -> float:
        """Server CPU seconds between two marks."""
        return self.usage_at[end].cpu_s - self.usage_at[start].cpu_s

    def others_cores(self) -> float:
        """Cores kept busy, in the steady state, by neither the server nor the generator."""
        busy_s = self.busy_s_at["end"] - self.busy_s_at["joined"] - self.cpu_s("joined", "end")
        cores = busy_s / float(self.report["seconds"]) - float(self.report["generator_cpu"])
        return max(0.0, cores)


def generate(
    program: str,
    server: Target,
    options: Mapping[str, int | str],
    on_mark: Callable[[str], None] | None = None,
) -> Generated:
    """Runs one of the C programs against the server until it has reported.

    Args:
        program: "loadgen" or "reqgen".
        server: sampled at each mark that the program prints.
        options: {"join_ms": 500} becomes `--join-ms 500`.
        on_mark: called with each mark's name, after the sample.
    Raises:
        BenchError: the program or the server ended early; the program's sentence is the message.
    """
    command = [str(build(program)), "--host", server.host, "--port", str(server.port)]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    report: dict[str, Any] = {}
    usage_at: dict[str, Usage] = {}
    busy_s_at: dict[str, float] = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                record = json.loads(line)
                if "mark" in record:
                    usage_at[record["mark"]] = server.usage()
                    busy_s_at[record["mark"]] = machine_busy_s()
                    if on_mark is not None:
                        on_mark(record["mark"])
                else:
                    report = record
            said = process.stderr.read().strip()
        finally:
            with hold_signals():
                _stop(process)
    server.check()
    if not report:
        raise BenchError(f"{program} failed: {said or f'code {process.returncode}'}")
    return Generated(report, usage_at, busy_s_at)


# ---- reports ----


@dataclass(frozen=True)
class Result:
    """One turn: the figures by name, the unit in it, and why they don't count (or "")."""

    question: str
    case: str
    server: str
    figures: Mapping[str, float]
    fault: str = ""


class JsonLines:
    """Appends records to a file, one JSON object a line; to nowhere without a path."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def write(self, kind: str, record: Mapping[str, Any]) -> None:
        """Adds one line, whole or not at all.

        Raises:
            BenchError: the file can't be written.
        """
        if self._path is None:
            return
        try:
            with open(self._path, "a", encoding="utf-8") as out:
                out.write(json.dumps({"kind": kind, **record}) + "\n")
        except OSError as error:
            raise BenchError(f"can't write {self._path}: {error.strerror}") from error


def open_results(path: str | None) -> JsonLines:
    """Where the raw results of a question go; they begin with the machine, which is printed too."""
    out, found = JsonLines(path), machine()
    out.write("machine", found)
    print("machine:", ", ".join(f"{name} {value}" for name, value in found.items()))
    return out


class Parser(argparse.ArgumentParser):
    """Flags common to all benchmarks; a wrong one is one line and exit code 2."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self.add_argument("--server", metavar="COMMAND", help="what to test instead of ours")
        self.add_argument("--json", metavar="FILE", help="append the raw results, a line each")

    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(run: Callable[[], int]) -> NoReturn:
    """Runs a benchmark's main function and exits.

    Exit codes: what it returns, 2 for a BenchError, 130 for Ctrl-C, 143 for SIGTERM.
    """
    catch_signals()
    try:
        sys.exit(run())
    except (BenchError, OSError, http.client.HTTPException) as error:
        print(str(error) or type(error).__name__, file=sys.stderr)
        sys.exit(NOT_RUN)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
