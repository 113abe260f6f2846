"""Raw readers of the same segments, beside the player: `follow.c`, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.build import BenchError, build
from bench.harness import Server
from bench.interrupts import hold_signals

__all__ = ["Audience", "Names", "follow"]

_REPORT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Names:
    """How segments are called: a number between two texts, with zeros in front."""

    prefix: str
    suffix: str
    digits: int


@dataclass
class Audience:
    """Readers that were set going."""

    process: subprocess.Popen[str]

    def report(self) -> dict[str, Any]:
        """Ends it; what was counted.

        Raises:
            BenchError: it had ended before, or says nothing.
        """
        try:
            out, said = self.process.communicate(timeout=_REPORT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise BenchError("the readers don't end") from None
        if self.process.returncode != 0:
            raise BenchError(f"the readers failed: {said.strip() or self.process.returncode}")
        report: dict[str, Any] = json.loads(out)
        return report


@contextlib.contextmanager
def follow(server: Server, names: Names, readers: int, first: int) -> Iterator[Audience]:
    """Has readers follow a stream.

    Args:
        first: the number of the segment that they begin with.
    Raises:
        BenchError: the program can't be built.
    """
    command = [str(build("follow")), "--host", server.host, "--port", str(server.port)]
    command += ["--prefix", names.prefix, "--suffix", names.suffix, "--digits", str(names.digits)]
    command += ["--readers", str(readers), "--first", str(first)]
    with contextlib.ExitStack() as stack:
        with hold_signals():
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.callback(_end, process)
        yield Audience(process)


def _end(process: subprocess.Popen[str]) -> None:
    with hold_signals(), process:  # the block closes its pipes and waits for it
        process.kill()
