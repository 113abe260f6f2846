"""What do a worker's chunks cost: downloads, deletions, a hundred thousand of them?

Method, in four parts. downloads: chunks of files from nginx, ours with its SHA-256 and its syncs
beside curl and sha256sum, eight at a time, in turns; CPU and wall are compared pair by pair.
stall: the longest that a loop with a tick of a millisecond is late while large chunks are deleted
beside it. many: a folder of many chunks; the start of a process on it with nothing of it in the
page cache (where root lets us have that), then each look-up's time, and a listing's. again: what is
fetched of a chunk that is deleted and asked for again while it is held.

Caveats: source, client and disk share the machine, so wall is mostly CPU; CPU is that of the
clients, of ours without the start of its process, and sends over loopback are partly paid for by
who receives. Coreutils' sha256sum may lack the CPU's instructions for it: openssl's has them, as
ours does, and is judged beside it. The others' work shows in a loop's lateness, also in that of an
idle one, which is printed with it.
"""

from __future__ import annotations

from bench.harness import Parser, main, open_results
from bench.outcome import Verdicts
from bench.worker import again, downloads, many, stall

__all__ = ["PARTS"]

PARTS = ("downloads", "stall", "many", "again")


def _parser() -> Parser:
    parser = Parser(__doc__ or "")
    parser.add_argument("--parts", default=",".join(PARTS), help="default %(default)s")
    parser.add_argument("--place", metavar="FOLDER", help="default: where temporary files are")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    text = "of each of 4 files, 8 chunks; default %(default)s"
    parser.add_argument("--file-mib", type=float, default=32, help=text)
    text = "of each of 10 chunks that are deleted; default %(default)s"
    parser.add_argument("--chunk-mb", type=float, default=200, help=text)
    parser.add_argument("--chunks", type=int, default=100_000, help="of many; default %(default)s")
    text = "many: leave the machine's page cache as it is, although root may have it dropped"
    parser.add_argument("--warm", action="store_true", help=text)
    return parser


def _run() -> int:
    parser = _parser()
    args = parser.parse_args()
    parts = args.parts.split(",")
    if wrong := [part for part in parts if part not in PARTS]:
        parser.error(f"no part is called {wrong[0]!r}; there are {', '.join(PARTS)}")
    if args.server:
        parser.error("a worker isn't a server: there is no --server here")
    if args.runs < 1 or min(args.file_mib, args.chunk_mb) <= 0:
        parser.error("there is at least one run, of sizes above 0")
    if args.chunks < many.DATASETS or args.chunks % many.DATASETS:
        parser.error(f"--chunks is a multiple of {many.DATASETS}")
    out, verdicts = open_results(args.json), Verdicts()
    if "downloads" in parts:
        load = downloads.Load(8, 4, max(8, round(args.file_mib * 2**20)))
        downloads.ask(load, args.runs, args.place, out, verdicts)
    if "stall" in parts:
        stall.ask(10, round(args.chunk_mb * 1e6), args.runs, args.place, out, verdicts)
    if "many" in parts:
        many.ask(args.chunks, args.runs, args.place, out, verdicts, is_cold=not args.warm)
    if "again" in parts:
        again.ask(args.place, out, verdicts)
    return verdicts.print(out, "worker")


if __name__ == "__main__":
    main(_run)
