"""Processes that serve one address together, on a folder: started, counted and ended as one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.build import BenchError
from bench.interrupts import hold_signals
from bench.usage import Usage, family, usage

__all__ = ["Party", "folder_in", "free_ports", "is_open"]

_ROOT = Path(__file__).parent.parent.parent
_READY_S = 60.0
_STOP_S = 15.0  # a server may drain for 10 s
_LOOK_S = 0.02


class Party:
    """Those processes.

    Args:
        name: of all together, for messages.
        folder: for what they say, and for their data; it must be there.

    Attributes:
        host, port: where clients come.
        admin_port: where metrics are, if it has such.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = self.admin_port = 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, Sequence[str]] = {}
        self._gone: set[str] = set()

    @classmethod
    @contextmanager
    def open(cls, name: str, folder: Path) -> Iterator[Party]:
        """One without processes; those that it starts are ended with the block."""
        with ExitStack() as stack:
            party = cls(name, folder)
            stack.callback(party._end)
            yield party

    def start(
        self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None
    ) -> None:
        """Start a process; what it says goes to a file, anew each time.

        Raises:
            BenchError: it can't be started.
        """
        self._commands[name] = command
        self._gone.discard(name)
        with hold_signals(), open(self._log(name), "wb") as log:
            try:
                self._processes[name] = subprocess.Popen(
                    command,
                    cwd=_ROOT,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C ends the run, and the run ends them
                )
            except OSError as error:
                raise BenchError(f"{name} can't be started: {error}") from error

    def until_said(self, name: str, pattern: str, count: int = 1) -> list[str]:
        """Wait until it has said so many different things of a kind.

        Raises:
            BenchError: it ended first, or a minute passed.
        """
        return self._until(
            lambda: sorted(set(re.findall(pattern, self._log(name).read_text("utf-8", "replace")))),
            count,
            f"{name} didn't say {pattern!r}",
        )

    def until_open(self, ports: Sequence[int]) -> None:
        """Wait until somebody listens at each.

        Raises:
            BenchError: a process ended first, or a minute passed.
        """
        self._until(
            lambda: [str(port) for port in ports if is_open(port)],
            len(ports),
            f"{self.name} doesn't listen",
        )

    def _until(self, look: Callable[[], list[str]], count: int, failure: str) -> list[str]:
        deadline_s = time.monotonic() + _READY_S
        while len(found := look()) < count:
            self.check()
            if time.monotonic() > deadline_s:
                raise BenchError(f"{failure} within {_READY_S:.0f} s")
            time.sleep(_LOOK_S)
        return found

    def pid(self, name: str) -> int:
        """Of a process that was started."""
        return self._processes[name].pid

    def usage(self) -> Usage:
        """What all of them have used up to now, and what they have started."""
        every = [usage(one.pid) for one in self._processes.values()]
        return Usage(
            sum(one.cpu_s for one in every),
            sum(one.resident_bytes for one in every),
            sum(one.descriptor_count for one in every),
        )

    def check(self) -> None:
        """Raises BenchError if one has ended that wasn't killed."""
        for name, process in self._processes.items():
            if name not in self._gone and process.poll() is not None:
                lines = self._log(name).read_text("utf-8", "replace").strip().splitlines()
                said = lines[-1] if lines else "nothing"
                raise BenchError(f"{name} ended with code {process.returncode}, it said: {said}")

    def kill(self, name: str) -> None:
        """SIGKILL; it is dead when this returns."""
        self._gone.add(name)
        self._processes[name].kill()
        self._processes[name].wait()

    def end(self, name: str) -> None:
        """SIGTERM, and wait for its end.

        Raises:
            BenchError: it takes too long.
        """
        self._gone.add(name)
        self._processes[name].terminate()
        try:
            self._processes[name].wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{name} didn't end within {_STOP_S:.0f} s") from None

    def again(self, name: str) -> None:
        """Start one that has ended as it was started before."""
        self.start(name, self._commands[name])

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Between SIGSTOP and SIGCONT: its connections stand, and nothing moves on them."""
        process = self._processes[name]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _end(self) -> None:
        """SIGTERM to all, by their ids, in the order of their start; who doesn't end is killed."""
        with hold_signals():
            started = list(self._processes.values())
            every = [pid for one in started for pid in family(one.pid)]
            for process in started:
                process.terminate()
            deadline_s = time.monotonic() + _STOP_S
            for process in started:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline_s - time.monotonic()))
                process.kill()  # nothing happens if it has ended
                process.wait()
            for pid in every:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def folder_in(place: str | None) -> Iterator[Path]:
    """A new folder for the length of the block; a signal doesn't leave half of it behind.

    Args:
        place: a folder of the disk that is measured; None: where temporary files are.
    """
    with ExitStack() as stack:
        with hold_signals():
            folder = tempfile.mkdtemp(dir=place, prefix="bench-cluster-")
            stack.callback(_remove, folder)
        yield Path(folder)


def _remove(folder: str) -> None:
    with hold_signals():
        shutil.rmtree(folder)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at now."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in listeners:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in listeners]


def is_open(port: int) -> bool:
    """Whether somebody listens there, on loopback."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
