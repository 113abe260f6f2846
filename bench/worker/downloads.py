"""Chunks of several files, downloaded and hashed: ours beside curl and sha256sum.

The same server gives all of them warm and complete files; they take turns at going first. Ours is
a process with a manager, and counts from the first call to the last chunk's name; curl is one a
chunk, eight at a time, each followed by sha256sum of what it fetched. Coreutils' sha256sum may not
use what the CPU has for it, as ours does, and ours syncs all that it writes, which curl doesn't: so
there is a third, curl with openssl's digest and `sync -d` behind it.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.build import BenchError
from bench.contest import Results
from bench.harness import JsonLines, Result, Server, serve, serve_ours
from bench.outcome import Verdicts
from bench.peers import NGINX, PEERS, find_program

__all__ = ["Load", "ask", "judge"]

AT_A_TIME = 8
CPU, WALL, RSS = "CPU s/GB", "wall s/GB", "RSS MB"
OURS, CURL, STRICT = "ours", "curl, sha256sum", "curl, openssl, sync"
_RATIO = 1.5
_RESIDENT_MB = 100.0
_TOLD_S = 600.0


class Load(NamedTuple):
    """What is downloaded.

    Attributes:
        size_bytes: of each file.
    """

    chunks: int
    files: int
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.chunks} chunks of {self.files} files of {self.size_bytes / 2**20:g} MiB"

    @property
    def gigabytes(self) -> float:
        """All of it, in 10^9 bytes."""
        return self.chunks * self.files * self.size_bytes / 1e9


def ask(load: Load, runs: int, place: str | None, out: JsonLines, verdicts: Verdicts) -> None:
    """All turns, and what they say."""
    results = Results(out)
    contestants = [OURS, *_rivals(out)]
    with _source(load) as (server, digests):
        print(f"{load}, from {server.name}", flush=True)
        for turn in range(runs):
            shift = turn % len(contestants)
            for name in (*contestants[shift:], *contestants[:shift]):
                os.sync()  # what others wrote isn't written in this turn's time
                with tempfile.TemporaryDirectory(dir=place, prefix="bench-worker-") as folder:
                    if name == OURS:
                        figures = _ours(server, load, digests, Path(folder))
                    else:
                        figures = _curl(
                            server, load, digests, Path(folder), is_strict=name == STRICT
                        )
                results.add(Result("worker", "downloads", name, figures))
    judge(results, verdicts)


def judge(results: Results, verdicts: Verdicts) -> None:
    """Ours against what it is held against, pair by pair: others use the machine, too."""
    for figure, rival in ((CPU, CURL), (WALL, CURL), (CPU, STRICT), (WALL, STRICT)):
        found = results.values("downloads", figure)
        if rival not in found:
            continue
        pairs = [mine / theirs for mine, theirs in zip(found[OURS], found[rival], strict=True)]
        medians = f"{median(found[OURS]):.2f}, {rival} {median(found[rival]):.2f}"
        shown = ", ".join(f"{pair:.2f}" for pair in pairs)
        text = f"{figure} {medians}: {median(pairs):.2f}x <= {_RATIO}x (pairs {shown})"
        verdicts.add(f"downloads: {text}", median(pairs) <= _RATIO)
    resident_mb = max(results.values("downloads", RSS)[OURS])
    text = f"downloads: RSS {resident_mb:.0f} MB <= {_RESIDENT_MB:.0f} MB"
    verdicts.add(text, resident_mb <= _RESIDENT_MB)


def _rivals(out: JsonLines) -> list[str]:
    """Those whose programs are there.

    Raises:
        BenchError: there is no curl.
    """
    if missing := [name for name in ("curl", "xargs", "sha256sum") if find_program(name) is None]:
        raise BenchError(f"there is no program {missing[0]} here")
    if find_program("openssl") is not None:
        return [CURL, STRICT]
    out.write("missing", {"server": STRICT, "reason": "there is no program openssl here"})
    return [CURL]


# ---- the source ----


@contextmanager
def _source(load: Load) -> Iterator[tuple[Server, list[str]]]:
    """A server that has all files, and their digests: nginx, where it is there."""
    nginx = PEERS[NGINX]
    with serve(NGINX, nginx.command()) if nginx.missing() is None else serve_ours(None) as server:
        body = bytearray(os.urandom(load.size_bytes))
        digests = []
        with closing(http.client.HTTPConnection(server.host, server.port, timeout=60)) as link:
            for number in range(load.chunks * load.files):
                body[:8] = number.to_bytes(8)
                link.request("PUT", _path(load, number), body)
                answer = link.getresponse()
                answer.read()
                if answer.status != 201:
                    raise BenchError(f"{server.name} answers a PUT with {answer.status}")
                digests.append(sha256(body).hexdigest())
        yield server, digests


def _path(load: Load, number: int) -> str:
    return f"/bench/{number // load.files}/{number % load.files}"


# ---- who downloads ----


def _ours(server: Server, load: Load, digests: Sequence[str], folder: Path) -> dict[str, float]:
    base = f"http://{server.host}:{server.port}"
    plan = {
        "folder": str(folder / "data"),
        "at_a_time": AT_A_TIME,
        "chunks": [
            {
                str(number % load.files): [
                    base + _path(load, number),
                    load.size_bytes,
                    digests[number],
                ]
                for number in range(start, start + load.files)
            }
            for start in range(0, load.chunks * load.files, load.files)
        ],
    }
    command = [sys.executable, "-m", "bench.worker.downloader"]
    done = subprocess.run(
        command,
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        timeout=_TOLD_S,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"our downloads failed: {done.stderr.strip()[-500:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return {
        CPU: report["cpu_s"] / load.gigabytes,
        WALL: report["wall_s"] / load.gigabytes,
        RSS: report["peak_bytes"] / 1e6,
    }


def _curl(
    server: Server, load: Load, digests: Sequence[str], folder: Path, *, is_strict: bool
) -> dict[str, float]:
    names = " ".join(map(str, range(load.files)))
    url = f"http://{server.host}:{server.port}/bench/{{}}/[0-{load.files - 1}]"
    steps = [
        "mkdir {} && cd {}",
        f"curl -sSf --remote-name-all '{url}'",
        f"{'openssl dgst -sha256 -r' if is_strict else 'sha256sum'} {names} >../{{}}.sums",
        *([f"sync -d {names} && sync ."] if is_strict else ()),
    ]
    command = ["xargs", "-P", str(AT_A_TIME), "-I{}", "sh", "-c", " && ".join(steps)]
    lines = "\n".join(map(str, range(load.chunks)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, input=lines, stderr=subprocess.PIPE, text=True, check=False
    )
    wall_s = time.monotonic() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    sums = [
        line.split()[0]
        for number in range(load.chunks)
        for line in (folder / f"{number}.sums").read_text().splitlines()
    ]
    if done.returncode or sums != list(digests):
        raise BenchError(f"curl's downloads failed: {done.stderr.strip()[-500:]}")
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {CPU: cpu_s / load.gigabytes, WALL: wall_s / load.gigabytes}
