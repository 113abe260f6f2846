"""What does a data dir cost: the live path, a commit, a read, a million objects?

Method, in four parts. live: a fan-out with a data dir and without, in turns; CPU and p99 compared
pair by pair. commits: 64 uploads of 64 KiB whose last chunks are sent at once; p99 of their 201,
and how many syncs the server made meanwhile, counted by strace in turns of their own; the floor is
one write of all their bytes and one fdatasync. reads: complete GETs of what is in the page cache,
of what was just written and after a start, 64 KiB beside the memory store, 8 MiB beside nginx.
many: two data dirs, made with few and with many small objects by the engine, without a server; then
what a start takes after SIGTERM and after SIGKILL, its RSS, the p99 of a LIST of a hundred, and
between them windows of PUTs to both in turn.

Caveats: the disk is whatever lies under `--place`, and others may use it: the floor of the commits
says what it was like. A virtual disk may call durable what a cache has. Else as for `fanout`,
`complete` and `listing`.
"""

from __future__ import annotations

from bench.durable import commits, live, many, reads
from bench.durable.place import Place
from bench.harness import Parser, main, open_results
from bench.listing import WINDOW
from bench.outcome import Verdicts, add_load_flags, shape_of
from bench.usage import need_descriptors

__all__ = ["PARTS"]

PARTS = ("live", "commits", "reads", "many")


def _parser() -> Parser:
    parser = Parser(__doc__ or "")
    add_load_flags(parser, readers=128)
    parser.add_argument("--parts", default=",".join(PARTS), help="default %(default)s")
    parser.add_argument("--place", metavar="FOLDER", help="default: where temporary files are")
    parser.add_argument("--seconds", type=float, default=8.0, help="a turn; default %(default)s")
    parser.add_argument("--turns", type=int, default=20, help="of commits; default %(default)s")
    parser.add_argument("--keys", type=int, default=1_000_000, help="default %(default)s")
    parser.add_argument("--few", type=int, default=10_000, help="default %(default)s")
    parser.add_argument("--windows", type=int, default=10, help="of PUTs; default %(default)s")
    parser.add_argument("--peers", default="nginx?", help="for reads; default %(default)s")
    return parser


def _run() -> int:
    parser = _parser()
    args = parser.parse_args()
    parts = args.parts.split(",")
    if wrong := [part for part in parts if part not in PARTS]:
        parser.error(f"no part is called {wrong[0]!r}; there are {', '.join(PARTS)}")
    if min(args.keys, args.few) < WINDOW or args.keys % 100 or args.few % 100:
        parser.error(f"key counts are multiples of 100, at least {WINDOW}")
    shape = shape_of(args)
    need_descriptors(shape.reader_count + 2 * shape.writers + 128)
    out, verdicts = open_results(args.json), Verdicts()
    place = Place(args.place, args.server)
    times = {"seconds": args.seconds, "runs": args.runs}
    if "live" in parts:
        live.ask(place, shape, out, verdicts, join_s=args.join, **times)
    if "commits" in parts:
        commits.ask(place, args.turns, out, verdicts)
    if "reads" in parts:
        reads.ask(place, args.peers, out, verdicts, **times)
    if "many" in parts:
        many.ask(place, args.keys, args.few, args.windows, out, verdicts)
    return verdicts.print(out, "disk")


if __name__ == "__main__":
    main(_run)
