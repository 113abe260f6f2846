"""What does a fan-out cost from one reader to 4096 of one writer, and how long is the join?

Method: that of `python -m bench fanout`, for 1x1, 1x16, 1x128, 1x1024 and 1x4096, one after the
other: ours and the floor (and the peers asked for) take turns in each. The join and the steady
state are shown apart: 4096 readers that come within two seconds are a storm, those who stay aren't.

Caveats: as for the fan-out. At 1x1 and 1x16 a second of it is 0.25 and 4 MiB: CPU per GiB is then
what eight wake-ups a second cost, for the floor as well, and spreads widely.
"""

from __future__ import annotations

from bench.contest import add_peers_flag
from bench.fanout import FLOORS, compete, entrants
from bench.harness import Parser, main, open_results
from bench.outcome import SHAPES

__all__ = ["NAMES"]

NAMES = ("1x1", "1x16", "1x128", "1x1024", "1x4096")
"""Of SHAPES, those of one writer, from the least readers to the most."""


def _run() -> int:
    parser = Parser(__doc__ or "")
    parser.add_argument("--shapes", default=",".join(NAMES), help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=6.0, help="steady; default %(default)s")
    parser.add_argument("--join", type=float, default=2.0, help="seconds; default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    parser.add_argument("--floor", choices=FLOORS, help="default: c where there is a compiler")
    add_peers_flag(parser, "none")
    args = parser.parse_args()
    names = args.shapes.split(",")
    if wrong := [name for name in names if name not in SHAPES]:
        parser.error(f"no shape is called {wrong[0]!r}; there are {', '.join(SHAPES)}")
    out = open_results(args.json)
    entered = entrants(args.server, args.peers, out)
    times = {"seconds": args.seconds, "join_s": args.join}
    codes: list[int] = []
    for shape in (SHAPES[name] for name in names):
        verdicts = compete(shape, entered, args.floor, out, runs=args.runs, **times)
        codes.append(verdicts.print(out, f"fanout, {shape}"))
    return max(codes)


if __name__ == "__main__":
    main(_run)
