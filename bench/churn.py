"""Does a server stay right when readers and writers vanish, at what cost, and what stays behind?

Asked by `python -m bench churn`.

Method: the load of a fan-out shape in which 5 % of the readers a second leave with a reset and
rejoin at once, and a writer a second dies in mid-chunk and is replaced by a new object, for which
its readers ask anew. Every byte of every reader is compared. The same load runs several times
against one server; after each, what is left is deleted and the server looked at when it is quiet.
Between its rounds each peer has one, on a server of its own: compared is the CPU a GiB costs, of
those that did right.

Caveats: who rejoins gets its object from byte 0, so rounds are short, as segments are: after half
a minute of one endless object, rejoining alone would be more load than the fan-out. Memory is
compared with the most it was after the first *two* rounds: an allocator keeps a pool that they
fill, and gives a part of it back at times (117, 94, 119 MiB; another time 78, 105, 104 ... 105).
A chunk under way to a reader that leaves isn't owed to it, nor are the last two of a writer that
dies; a rejoined reader is owed real time from a second on. Peers keep objects for ever, so one
server over all rounds wouldn't be fair to them; ours idles while they run.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from dataclasses import asdict

from bench.contest import Contestant
from bench.harness import JsonLines, Result, Server, generate
from bench.outcome import CPU, Outcome, Shape, Verdicts, compare, judge
from bench.usage import Usage

__all__ = ["churn"]

LEAVE_PERCENT = 5
KILLS = 1
_QUIET_TIMEOUT_S = 15.0


def churn(
    entered: Sequence[Contestant],
    shape: Shape,
    seconds: float,
    join_s: float,
    rounds: int,
    out: JsonLines,
) -> int:
    """Runs the question and prints table and verdicts.

    Args:
        entered: ours first, then the peers.

    Returns:
        The exit code, 0 if all that is asked holds.
    """
    print(f"{shape}; a second: {LEAVE_PERCENT} % of readers leave, {KILLS} writer killed")
    print(Outcome.TITLES)
    ours, *peers = entered
    after: list[Usage] = []
    runs: list[Outcome] = []
    theirs: dict[str, list[Outcome]] = {peer.name: [] for peer in peers}
    with ours.start() as server:
        start = _warm(server)
        for _ in range(max(rounds, 3)):
            runs.append(_round(server, shape, seconds, join_s, out))
            after.append(_quiet(server, start.descriptor_count))
            out.write("churn", {**runs[-1].record, "after": vars(after[-1]), "start": vars(start)})
            for peer in peers:
                with peer.start() as other:
                    theirs[peer.name].append(_round(other, shape, seconds, join_s, out))
                out.write("churn_peer", theirs[peer.name][-1].record)
    verdicts = _judge(runs, start, after)
    compare(verdicts, runs, theirs)
    return verdicts.print(out, "churn")


def _judge(runs: Sequence[Outcome], start: Usage, after: Sequence[Usage]) -> Verdicts:
    total = {name: sum(run.record[name] for run in runs) for name in _COUNTS}
    print(", ".join(f"{name} {count}" for name, count in total.items()))
    megabytes = [usage.resident_bytes / 2**20 for usage in (start, *after)]
    print("RSS at the start and after each round, MiB:", *(f"{size:.0f}" for size in megabytes))
    verdicts = Verdicts()
    verdicts.add("every round valid", not any(run.fault for run in runs))
    verdicts.add("every byte right", total["wrong"] == 0)
    verdicts.add("no clean end of a killed upload", total["false_ends"] == 0)
    verdicts.add("killed and left at all", total["killed"] > 0 and total["left"] > 0)
    verdicts.add(
        f"descriptors back to {start.descriptor_count}: {after[-1].descriptor_count}",
        after[-1].descriptor_count <= start.descriptor_count,
    )
    filled = max(megabytes[1:3])
    grown = megabytes[-1] - filled
    bound = max(16.0, 0.1 * filled)
    verdicts.add(f"RSS grew {grown:.0f} MiB after the second round <= {bound:.0f}", grown <= bound)
    return verdicts


_COUNTS = ("left", "killed", "cut_by_kill", "refused_by_kill", "clean_ends", "false_ends", "wrong")


def _round(server: Server, shape: Shape, seconds: float, join_s: float, out: JsonLines) -> Outcome:
    churn: dict[str, int | str] = {"churn_percent": LEAVE_PERCENT, "kills": KILLS}
    options = {**shape.load(seconds, join_s), **churn, "check_one_in": 1}
    outcome = judge(server.name, generate("loadgen", server, options))
    print(outcome.row, flush=True)
    figures = {CPU: outcome.cpu_s_per_gib}
    out.write("result", asdict(Result("churn", str(shape), server.name, figures, outcome.fault)))
    return outcome


def _warm(server: Server) -> Usage:
    """What it uses after a first request: a server opens some descriptors only then."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request("GET", "/bench/nothing")
    connection.getresponse().read()
    open_count = server.usage().descriptor_count
    connection.close()
    return _wait_for_descriptors(server, open_count - 1)


def _quiet(server: Server, descriptor_count: int) -> Usage:
    """Deletes what is left, waits for the sockets to be closed; what the server uses then."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request("LIST", "/live/")
    for path in connection.getresponse().read().decode().split():
        connection.request("DELETE", path)
        connection.getresponse().read()
    connection.close()
    return _wait_for_descriptors(server, descriptor_count)


def _wait_for_descriptors(server: Server, descriptor_count: int) -> Usage:
    """Waits until no more are open than that, up to a bound; what the server uses then."""
    deadline = time.monotonic() + _QUIET_TIMEOUT_S
    while (now := server.usage()).descriptor_count > descriptor_count:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return now
