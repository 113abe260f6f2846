"""Several servers asked the same question in one run: who takes part, in which turns, how it ends.

Whoever else keeps the machine busy must not favour anyone, so the servers take turns, and take
turns at going first. Each turn is a server of its own, just started. What it found is a `Result`;
failed and void ones are named and never averaged in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median

from bench.build import BenchError
from bench.harness import JsonLines, Parser, Result, Server, serve, serve_ours
from bench.peers import PEERS

__all__ = ["Contestant", "Results", "add_peers_flag", "contestants", "turns"]


@dataclass(frozen=True)
class Contestant:
    """Who takes part: a name, and what starts it."""

    name: str
    start: Callable[[], AbstractContextManager[Server]]


def add_peers_flag(parser: Parser, default: str) -> None:
    """`--peers a,b?`, `--peers all`, `--peers none`."""
    text = (
        f"comma-separated, of {', '.join(PEERS)}; or all, or none; NAME? and those of all are left "
        f"out where they can't run; default {default}"
    )
    parser.add_argument("--peers", default=default, help=text.replace("%", "%%"))


def contestants(command: str | None, peers: str, out: JsonLines, *, live: bool) -> list[Contestant]:
    """Ours (or `command`) and the peers asked for.

    A peer that can't run here is printed and recorded as missing, if it was asked for by `all` or
    with a question mark.

    Args:
        peers: the flag's value.
        live: the question needs read-while-write; peers that can't are left out.
    Raises:
        BenchError: a name that no peer has, or one whose peer can't run here.
    """
    found = [Contestant("ours", lambda: serve_ours(command))]
    wanted = {"none": "", "all": ",".join(f"{name}?" for name in PEERS)}.get(peers, peers)
    for word in filter(None, wanted.split(",")):
        name = word.removesuffix("?")
        if name not in PEERS:
            raise BenchError(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
        peer = PEERS[name]
        if not (peer.live if live else peer.complete):
            continue
        reason = peer.missing()
        if reason is None:
            found.append(Contestant(name, partial(serve, name, peer.command())))
        elif name == word:
            raise BenchError(f"{name} can't run here: {reason}")
        else:
            print(f"{name}: missing: {reason}")
            out.write("missing", {"server": name, "reason": reason})
    return found


def turns(
    entered: Sequence[Contestant], runs: int, case: str = "", beaten: Collection[str] = ()
) -> Iterator[tuple[Contestant, Server]]:
    """Start each contestant `runs` times, in turn; the server is stopped after its turn.

    Args:
        case: printed before the first, where a question has several.
        beaten: names of those that get no further turn; looked at before each, so it may grow.
    """
    if case:
        print(case, flush=True)
    for turn in range(runs):
        shift = turn % len(entered)
        for contestant in (*entered[shift:], *entered[:shift]):
            if contestant.name in beaten:
                continue
            with contestant.start() as server:
                yield contestant, server


class Results:
    """All results of a question; each is written and printed as it comes.

    Args:
        out: where the raw records go.
    """

    def __init__(self, out: JsonLines) -> None:
        self._out = out
        self._all: list[Result] = []

    def add(self, result: Result) -> None:
        """Take one, write it, print it as a line."""
        self._all.append(result)
        self._out.write("result", asdict(result))
        figures = "  ".join(f"{name} {value:.4g}" for name, value in result.figures.items())
        print(f"{result.server:>12}  {figures}  {result.fault}", flush=True)

    @property
    def faults(self) -> list[str]:
        """What went wrong, a line each."""
        return [f"{one.case} {one.server}: {one.fault}" for one in self._all if one.fault]

    def values(self, case: str, figure: str) -> dict[str, list[float]]:
        """A figure in the runs that count, by server, in the order in which they came."""
        values: dict[str, list[float]] = defaultdict(list)
        for one in self._all:
            if one.case == case and not one.fault and figure in one.figures:
                values[one.server].append(one.figures[figure])
        return dict(values)

    def medians(self, case: str, figure: str) -> dict[str, float]:
        """The median of a figure over the runs that count, by server."""
        return {server: median(each) for server, each in self.values(case, figure).items()}
