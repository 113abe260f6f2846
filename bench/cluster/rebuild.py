"""How fast is what a dead node had made anew on the others?

Method: a gateway and eight nodes, `--heal-after 1s` and a repair rate that is no limit. Objects of
64 MiB are put; a node is killed (SIGKILL), and from the line in the gateway's log that repair
begins to the one that it ends, its parts are made on the others: read from five nodes each,
computed, and durable on a sixth. The rate is that of the bytes written, which are a fifth of what
is read; the gateway's largest resident set (VmHWM) is shown beside it. Each run has a cluster of
its own.

Caveats: reads come from the page cache; all nine processes share the cores.
"""

from __future__ import annotations

import re
import time
from argparse import Namespace
from pathlib import Path
from statistics import median

from bench.build import BenchError
from bench.cluster.ours import GATEWAY, node, run
from bench.cluster.party import Party, folder_in
from bench.contest import Results
from bench.harness import Parser, Result, generate, main, open_results
from bench.outcome import Verdicts

__all__ = ["peak_mib"]

_NODES = 8
_LARGE = 64 << 20
_RATE_MB_S = 40.0
_CASE = "64 MiB, a node of 8 dead"


def _rebuild(folder: Path, args: Namespace) -> dict[str, float]:
    """One run: its figures."""
    with run(folder, _NODES, "--heal-after", "1s", "--repair-rate", "1TiB") as party:
        options: dict[str, int | str] = {"method": "PUT", "expect": 201, "body": _LARGE}
        done = generate("reqgen", party, {**options, "path": "/%d", "count": args.objects})
        if done.report["unexpected"]:
            raise BenchError(f"a PUT was answered {done.report['bad_status']}")
        party.kill(node(1))
        party.until_said(GATEWAY, "repair begins: ")
        began_s, used = time.perf_counter(), party.usage().cpu_s
        [line] = _until_ended(party)
        took_s = time.perf_counter() - began_s
        count, mib = re.findall(r"[\d.]+", line)
        megabytes = float(mib) * 2**20 / 1e6
        return {
            "MB/s": megabytes / took_s,
            "parts": float(count),
            "CPU s/GB": (party.usage().cpu_s - used) / megabytes * 1000,
            "gateway's peak MiB": peak_mib(party.pid(GATEWAY)),
        }


def _until_ended(party: Party) -> list[str]:
    return party.until_said(GATEWAY, r"repair ends: (\d+ parts made, [\d.]+ MiB)")


def peak_mib(pid: int) -> float:
    """The largest resident set of a process so far."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    parser.add_argument("--objects", type=int, default=24, help="of 64 MiB; default %(default)s")
    parser.add_argument("--place", metavar="FOLDER", help="default: where temporary files are")
    args = parser.parse_args()
    if args.server:
        parser.error("a cluster isn't one command: there is no --server here")
    if min(args.runs, args.objects) < 1:
        parser.error("there is at least one of runs and objects")
    out = open_results(args.json)
    results, verdicts = Results(out), Verdicts()
    rates: list[float] = []
    for _ in range(args.runs):
        with folder_in(args.place) as folder:
            figures = _rebuild(folder, args)
        rates.append(figures["MB/s"])
        print(f"{_CASE:>24} ", end="")
        results.add(Result("cluster-rebuild", _CASE, "ours", figures))
    shown = ", ".join(f"{rate:.0f}" for rate in rates)
    text = f"rebuilt at {median(rates):.0f} MB/s >= {_RATE_MB_S:.0f} (runs {shown})"
    verdicts.add(text, median(rates) >= _RATE_MB_S)
    return verdicts.print(out, "cluster-rebuild")


if __name__ == "__main__":
    main(_run)
