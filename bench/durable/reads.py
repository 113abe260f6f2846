"""Complete GETs of what is on disk and warm: just written, and found by a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from bench.complete import fill, read
from bench.contest import Contestant, Results, contestants, turns
from bench.durable.place import Place
from bench.harness import JsonLines, Server
from bench.outcome import Verdicts

__all__ = ["ask"]

_DISK, _AGAIN, _MEMORY = "ours", "ours, started again", "ours, in memory"
_NGINX = "nginx"
_CASES = {"64KiB": (_MEMORY, 1.2), "8MiB": (_NGINX, 1.3)}
"""Size -> beside whom, and how many times that one's CPU is allowed."""
_CONNECTIONS = 64
_CPU = "CPU us/request"
Start = Callable[[], AbstractContextManager[Server]]


def ask(
    place: Place, peers: str, out: JsonLines, verdicts: Verdicts, *, seconds: float, runs: int
) -> None:
    """All sizes, beside the memory store and the peers."""
    others = contestants(None, peers, out, live=False)[1:]
    results = Results(out)
    for size, (rival, asked) in _CASES.items():
        case = f"{size}, warm"
        starts: Sequence[tuple[str, Start]] = [
            (_DISK, partial(_on_disk, place, size)),
            (_AGAIN, partial(_again, place, size)),
            (_MEMORY, partial(_filled, partial(place.serve, _MEMORY, None), size)),
            *((one.name, partial(_filled, one.start, size)) for one in others),
        ]
        entered = [Contestant(name, start) for name, start in starts]
        for _, server in turns(entered, runs, case):
            results.add(read(server, size, seconds, _CONNECTIONS, question="disk", case=case))
        costs = results.medians(case, _CPU)
        for name in (_DISK, _AGAIN):
            if name in costs and rival in costs:
                ratio = costs[name] / costs[rival]
                text = f"reads: {case}: {name}: {ratio:.2f}x the CPU of {rival} <= {asked}x"
                verdicts.add(text, ratio <= asked)
    verdicts.add("reads: every run valid " + "; ".join(results.faults), not results.faults)


@contextmanager
def _filled(start: Start, size: str) -> Iterator[Server]:
    with start() as server:
        fill(server, size)
        yield server


@contextmanager
def _on_disk(place: Place, size: str) -> Iterator[Server]:
    with place.dir() as data, _filled(partial(place.serve, _DISK, data), size) as server:
        yield server


@contextmanager
def _again(place: Place, size: str) -> Iterator[Server]:
    with place.dir() as data:
        with _filled(partial(place.serve, _AGAIN, data), size):
            pass
        with place.serve(_AGAIN, data) as server:
            yield server
