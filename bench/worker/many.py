"""A folder of many chunks: its start, what a look-up takes, and a listing.

The folder is made by the code that publishes, without syncs. A start is a new process, from its
first moment to its first answer, with nothing of any file in the page cache where that may be asked
for (root; else the start is warm, and says so). Look-ups are timed one by one, of random blocks:
directly behind the start, while files are looked at in the background, which is shown; and in
another process once that is over. The worst of all runs counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench.build import BenchError
from bench.harness import JsonLines, Result
from bench.outcome import Verdicts
from bench.worker.made import fill

__all__ = ["ask"]

DATASETS = 5
_USABLE_S = 2.0
_AT_REST = {"find p50 us": 5.0, "find p99 us": 20.0, "list p50 ms": 5.0}
_TOLD_S = 600.0
_CACHES = Path("/proc/sys/vm/drop_caches")


def ask(
    count: int, runs: int, place: str | None, out: JsonLines, verdicts: Verdicts, *, is_cold: bool
) -> None:
    """Make it, start on it so many times, then have it at rest.

    Args:
        is_cold: have the system forget all files first, also those of others.
    """
    with tempfile.TemporaryDirectory(dir=place, prefix="bench-worker-") as folder:
        data = Path(folder, "data")
        began_s = time.monotonic()
        fill(data, count, [16], DATASETS)
        print(f"{count} chunks: made in {time.monotonic() - began_s:.1f} s", flush=True)
        usable_s, how = 0.0, ""
        for _ in range(runs):
            how = "cold" if is_cold and _have_forgotten() else "warm"
            figures = _started(data, count, "start")
            usable_s = max(usable_s, figures["usable s"])
            _show(f"{count} chunks, {how} start", figures, out)
        rest = _started(data, count, "rest")
        _show(f"{count} chunks, at rest", rest, out)
    for what, value, asked in (
        (f"usable {usable_s:.2f} s after a {how} start <= {_USABLE_S:g} s", usable_s, _USABLE_S),
        *(
            (f"{name} {rest[name]:.3g} <= {most:g}", rest[name], most)
            for name, most in _AT_REST.items()
        ),
    ):
        verdicts.add(f"many: {count} chunks: {what}", value <= asked)


def _show(case: str, figures: dict[str, float], out: JsonLines) -> None:
    out.write("result", asdict(Result("worker", case, "ours", figures)))
    shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
    print(f"{case}: {shown}", flush=True)


def _have_forgotten() -> bool:
    """The system has nothing of files in memory any more, if it lets us ask for that."""
    os.sync()
    with contextlib.suppress(OSError):
        _CACHES.write_text("3\n")
        return True
    return False


def _started(data: Path, count: int, what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.worker.starter", what, str(data), str(count)]
    done = subprocess.run(
        [*command, str(time.monotonic())],
        capture_output=True,
        text=True,
        timeout=_TOLD_S,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"a start failed: {done.stderr.strip()[-500:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
