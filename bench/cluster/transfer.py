"""What do a PUT and a GET cost in the cluster, beside OpenStack Swift with EC 5+2?

Method: a gateway and seven nodes; Swift's proxy, seven object servers, a container and an account
server, memcached; both cut in five parts and two of parity, and answer a PUT once it is durable:
ours once seven parts are fsynced, Swift once six of seven fragments are, and the folders with
their final names. They take turns, each in a new folder of the same disk. In a turn objects of 64
MiB are put one at a time and four at a time, of 64 KiB one and eight at a time; then all are read
once; then our gateway is started anew, so that it has nothing in memory, and all are read again,
which is what counts. Before each case, whoever's it is, a file twice as large as all its objects is
written and taken away: who writes then meets memory that has been in use, not such as a virtual
machine charges for. CPU is that of all their processes, per GiB of objects; wall is from the first
request to the last answer. One bare stream of h11 into a file, with one fsync, is the floor.

Caveats: the client (C, a closed loop) and all servers share the machine, so wall is mostly CPU; on
more cores Swift's many processes would overlap more, as would ours. Swift drops a fragment from the
page cache behind its fsync, so it writes into the same memory again and again, and its first GETs
(`just put`) read the disk; ours stay there. What counts is read from the page cache, Swift's too:
`keep_cache_private` is on, without it each of its GETs would go to the disk. Swift has no
authentication here, and no background daemons. Our gateway keeps small objects that were just put
in memory: their GETs before its restart are shown apart (`just put`), and aren't judged.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.build import BenchError
from bench.cluster import bare, ours, swift
from bench.cluster.pages import free_pages
from bench.cluster.party import Party, folder_in
from bench.contest import Results
from bench.harness import JsonLines, Parser, Result, generate, main, open_results
from bench.outcome import CPU, Verdicts

__all__ = ["CASES", "Case", "Contestant", "contestants", "fsync_ms", "judge"]


@dataclass(frozen=True)
class Case:
    """Objects of a size, so many at a time.

    Attributes:
        count: of objects in a turn.
    """

    size: int
    at_a_time: int
    count: int

    @property
    def name(self) -> str:
        """As the report has it, without the method."""
        size = f"{self.size >> 20} MiB" if self.size >= 1 << 20 else f"{self.size >> 10} KiB"
        return f"{size}, {self.at_a_time} at a time"


CASES = (Case(64 << 20, 1, 16), Case(64 << 20, 4, 16), Case(1 << 16, 1, 200), Case(1 << 16, 8, 400))
_WALL = "wall s/GiB"
_P50 = "p50 ms"
_TIMES_BETTER = 1.5
_PUT_MS = 12.0
_GET_MS = 5.0
_OF_BARE = {"PUT": 0.25, "GET": 0.45}
_WAIT_MS = 60_000  # a PUT of 64 MiB may take a while where others are at work
_TOLD_S = 0.5  # in less, the clock of what the whole machine does says nothing
_FSYNCS = 60
_PAGES = 2  # ours and Swift keep 1.4 times the bytes of objects on disk
_PART_BYTES = (1 << 16) // 5


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        start: has it run in a folder.
        prefix: of the paths of objects.
        forget: has its memory of what was put go away.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[Party]]
    prefix: str
    forget: Callable[[Party], None] | None = None


def contestants(peers: str, place: str | None, out: JsonLines) -> list[Contestant]:
    """Ours and the peers asked for; one with a question mark may be missing, which is recorded.

    Args:
        place: a folder of the disk that they run on; None: where temporary files are.
    Raises:
        BenchError: a name that no peer has, or one that can't run here.
    """
    known = {
        "swift": Contestant("swift", swift.run, swift.CONTAINER),
        "bare": Contestant(bare.NAME, bare.run, "/bare"),
    }
    found = [Contestant("ours", ours.run, "/bench", ours.restart_gateway)]
    for word in filter(None, peers.removeprefix("none").split(",")):
        name = word.removesuffix("?")
        if name not in known:
            raise BenchError(f"no peer is called {name!r}; there are {', '.join(known)}")
        reason = swift.missing(place) if name == "swift" else None
        if reason is None:
            found.append(known[name])
        elif name == word:
            raise BenchError(f"{name} can't run here: {reason}")
        else:
            print(f"{name}: missing: {reason}")
            out.write("missing", {"server": name, "reason": reason})
    return found


def fsync_ms(folder: Path) -> float:
    """The median of a write of a small object's part to a new file, and its fsync."""
    times = []
    for number in range(_FSYNCS):
        path = folder / f"fsync-{number}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            began_s = time.perf_counter()
            os.write(descriptor, bytes(_PART_BYTES))
            os.fsync(descriptor)
            times.append((time.perf_counter() - began_s) * 1000)
        finally:
            os.close(descriptor)
            path.unlink()
    return median(times)


# ---- a turn ----


def _turn(contestant: Contestant, place: str | None, cases: Sequence[Case]) -> Iterator[Result]:
    with folder_in(place) as folder, contestant.start(folder) as party:
        for case in cases:
            yield _ask(contestant, party, case, "PUT", _stored_bytes(folder))
        for case in cases:
            _check(contestant, party, case)
            yield _ask(contestant, party, case, "GET", note=" just put")
        if contestant.forget is not None:
            contestant.forget(party)
        for case in cases:
            yield _ask(contestant, party, case, "GET")


def _ask(
    contestant: Contestant,
    party: Party,
    case: Case,
    method: str,
    before_bytes: int | None = None,
    note: str = "",
) -> Result:
    """All objects of a case, once.

    Args:
        before_bytes: on the disk before it; given, what it takes there is a figure.
    """
    options: dict[str, int | str] = {
        **{"method": method, "path": _path(contestant, case, "%d"), "count": case.count},
        **{"connections": case.at_a_time, "expect": 201 if method == "PUT" else 200},
    }
    if method == "PUT":
        options["body"] = case.size
        options["wait_ms"] = _WAIT_MS
    total_bytes = case.size * case.count
    free_pages(party.folder, _PAGES * total_bytes)
    done = generate("reqgen", party, options)
    report = done.report
    fault = ""
    if report["unexpected"]:
        fault = f"failed: {report['unexpected']} answers with status {report['bad_status']}"
    elif method == "GET" and report["received_bytes"] != total_bytes:
        fault = f"failed: {report['received_bytes']} bytes of {total_bytes}"
    gib = total_bytes / 2**30
    figures = {
        CPU: done.cpu_s("start", "end") / gib,
        _WALL: report["seconds"] / gib,
        _P50: report["latency"]["p50_ms"],
        "p99 ms": report["latency"]["p99_ms"],
        "RSS MiB": done.usage_at["end"].resident_bytes / 2**20,
    }
    busy_s = done.busy_s_at["end"] - done.busy_s_at["start"] - done.cpu_s("start", "end")
    if report["seconds"] > _TOLD_S:
        figures["others"] = max(0.0, busy_s / report["seconds"] - report["generator_cpu"])
    if before_bytes is not None:
        figures["stored x"] = (_stored_bytes(party.folder) - before_bytes) / total_bytes
    return Result("cluster", f"{case.name}: {method}{note}", contestant.name, figures, fault)


def _path(contestant: Contestant, case: Case, key: str) -> str:
    return f"{contestant.prefix}/{case.size}x{case.at_a_time}-{key}"


def _stored_bytes(folder: Path) -> int:
    """Blocks of the disk that files below it take."""
    return sum(
        os.lstat(os.path.join(where, name)).st_blocks * 512
        for where, _, names in os.walk(folder)
        for name in names
    )


def _check(contestant: Contestant, party: Party, case: Case) -> None:
    """One object's bytes are those that were sent.

    Raises:
        BenchError: they aren't.
    """
    connection = http.client.HTTPConnection(party.host, party.port, timeout=60)
    with closing(connection):
        connection.request("GET", _path(contestant, case, f"{case.count - 1:06d}"))
        data = connection.getresponse().read()
    if data != b"x" * case.size:
        raise BenchError(f"{contestant.name} answers other bytes than it got, {case.name}")


# ---- what is asked ----


def judge(results: Results, cases: Sequence[Case], floor_ms: float, verdicts: Verdicts) -> None:
    """Ours against Swift; against the bare stream where that isn't there.

    Args:
        floor_ms: what the disk's own fsync takes.
    """
    for case in cases:
        for method in ("PUT", "GET"):
            name = f"{case.name}: {method}"
            for figure in (CPU, _WALL):
                _judge_swift(results, name, figure, verdicts)
            _judge_bare(results, case, method, verdicts)
    small = Case(1 << 16, 1, 0).name
    for method, asked_ms in (("PUT", _PUT_MS + floor_ms), ("GET", _GET_MS)):
        found = results.medians(f"{small}: {method}", _P50)
        if "ours" in found:
            own = f" ({_PUT_MS:.0f} and the disk's own {floor_ms:.1f})" if method == "PUT" else ""
            text = f"{small}: {method} p50 {found['ours']:.2f} ms <= {asked_ms:.1f} ms{own}"
            verdicts.add(text, found["ours"] <= asked_ms)


def _judge_swift(results: Results, name: str, figure: str, verdicts: Verdicts) -> None:
    """Pair by pair: what else the machine does changes from turn to turn."""
    found = results.values(name, figure)
    if not {"ours", "swift"} <= found.keys():
        return
    pairs = [theirs / mine for mine, theirs in zip(found["ours"], found["swift"], strict=False)]
    mine, theirs = median(found["ours"]), median(found["swift"])
    text = f"{name}: {figure} {mine:.3g}, Swift's {theirs:.3g}: {median(pairs):.2f}x better"
    shown = ", ".join(f"{pair:.2f}" for pair in pairs)
    text = f"{text} >= {_TIMES_BETTER}x (pairs {shown})"
    verdicts.add(text, median(pairs) >= _TIMES_BETTER)


def _judge_bare(results: Results, case: Case, method: str, verdicts: Verdicts) -> None:
    found = results.medians(f"{case.name}: {method}", _WALL)
    if case.at_a_time > 1 or case.size < 1 << 20 or not {"ours", bare.NAME} <= found.keys():
        return
    share = found[bare.NAME] / found["ours"]
    text = f"{case.name}: {method} {share:.0%} of a bare stream's throughput"
    if "swift" in found:  # then that is the measure
        print(text)
    else:
        verdicts.add(f"{text} >= {_OF_BARE[method]:.0%}", share >= _OF_BARE[method])


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    text = "of swift and bare; NAME? is left out where it can't run; none; default %(default)s"
    parser.add_argument("--peers", default="swift?,bare", help=text)
    parser.add_argument("--place", metavar="FOLDER", help="default: where temporary files are")
    text = "a part of the objects of each case, as a number; default %(default)s"
    parser.add_argument("--share", type=float, default=1.0, help=text)
    args = parser.parse_args()
    if args.server:
        parser.error("a cluster isn't one command: there is no --server here")
    if args.runs < 1 or args.share <= 0:
        parser.error("there is at least one run, of a part above 0")
    out = open_results(args.json)
    entered = contestants(args.peers, args.place, out)
    cases = [
        Case(one.size, one.at_a_time, max(one.at_a_time, round(one.count * args.share)))
        for one in CASES
    ]
    results, verdicts = Results(out), Verdicts()
    floors = []
    for turn in range(args.runs):
        with folder_in(args.place) as folder:
            floors.append(fsync_ms(folder))
        out.write("fsync", {"question": "cluster", "bytes": _PART_BYTES, "p50_ms": floors[-1]})
        print(f"turn {turn + 1}: to fsync {_PART_BYTES} bytes takes {floors[-1]:.2f} ms (p50)")
        shift = turn % len(entered)
        for contestant in (*entered[shift:], *entered[:shift]):
            for result in _turn(contestant, args.place, cases):
                print(f"{result.case:>36} ", end="")
                results.add(result)
    judge(results, cases, median(floors), verdicts)
    verdicts.add("every run valid " + "; ".join(results.faults), not results.faults)
    return verdicts.print(out, "cluster")


if __name__ == "__main__":
    main(_run)
