"""How late is the picture in a real player, from the glass of the camera to that of the screen?

Method: a camera paints the time into each frame; ffmpeg encodes them and PUTs them as LL-DASH, a
chunk a frame, segments of a second; dash.js in Chromium, without a window, plays that at a given
distance from the live edge. The page reads the time back from every frame that it presents, so the
latency is measured and not what the player says of itself. It counts from `--settle` seconds after
the first picture. With `--readers` the same again with raw readers of the same segments beside the
player, each segment asked for before it exists.

Caveats: the time in a frame is that at which it was due, so a late camera counts against us; a run
in which it was later than 20 ms (p99) is void. The browser has neither a GPU nor a screen: the
"glass" is the moment for which it promises the frame to its compositor. Everything shares the
cores: server, encoder, readers, and the browser, which takes the most. Frames that never come make
no percentile worse but are stalls (`bench/studio/viewing.py` says what counts as one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.contest import Results
from bench.harness import Parser, main, open_results, serve_ours
from bench.outcome import Verdicts
from bench.studio.browser import find_browser
from bench.studio.encoder import FRAMES_PER_S
from bench.studio.packages import PLAYERS, player_script
from bench.studio.watching import Watched, watch

__all__ = ["ASKED", "Asked"]

_BESIDE_MS = 10.0
_SHARE = 0.98
"""Of the frames that are due; a few are lost to the browser's own pace."""


@dataclass(frozen=True)
class Asked:
    """What has to hold."""

    p95_ms: float
    stalls: int


ASKED = {("dash", 0.2): Asked(250, 0), ("dash", 0.12): Asked(160, 1)}
"""By player and target; of others only what always has to hold is asked."""


def _run() -> int:
    parser = Parser(__doc__ or "")
    text = "default %(default)s"
    parser.add_argument("--player", choices=sorted(PLAYERS), default="dash", help=text)
    parser.add_argument("--target", type=float, default=0.2, metavar="SECONDS", help=text)
    parser.add_argument("--seconds", type=float, default=60.0, help="that count; " + text)
    parser.add_argument("--settle", type=float, default=10.0, help="before them; " + text)
    parser.add_argument("--runs", type=int, default=1, help="alone, and beside readers; " + text)
    parser.add_argument("--readers", type=int, default=0, help="raw ones beside; " + text)
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="a PNG of the last run")
    args = parser.parse_args()
    find_browser()
    player_script(args.player)
    out = open_results(args.json)
    alone = f"{args.player}, target {args.target:g} s"
    beside = f"{alone}, beside {args.readers} readers"
    cases = {alone: 0, beside: args.readers} if args.readers else {alone: 0}
    print(f"{FRAMES_PER_S} frames a second for {args.seconds:g} s, settled for {args.settle:g} s")
    results = Results(out)
    runs: dict[str, list[Watched]] = {case: [] for case in cases}
    for _ in range(args.runs):
        for case, readers in cases.items():
            print(case, flush=True)
            with serve_ours(args.server) as server:
                watched = watch(
                    server,
                    args.player,
                    args.target,
                    seconds=args.seconds,
                    settle_s=args.settle,
                    readers=readers,
                    screenshot=args.screenshot,
                )
            runs[case].append(watched)
            out.write("glass", {"case": case, **asdict(watched)})
            results.add(watched.result(case))
            _tell(watched)
    verdicts = Verdicts()
    for case, watched_in in runs.items():
        _judge(verdicts, case, watched_in, ASKED.get((args.player, args.target)))
    if args.readers:
        _compare(verdicts, results, alone, beside)
    return verdicts.print(out, "glass")


def _tell(watched: Watched) -> None:
    """What isn't a figure."""
    viewing = watched.viewing
    print(f"{'':>12}  requests: {_counts(watched.statuses)}; broken: {_counts(watched.failures)}")
    if watched.audience:
        counted = watched.audience
        print(
            f"{'':>12}  readers: {_counts(counted['statuses'])}; segments {counted['segments']}, "
            f"cut {counted['cut']}, of a wrong length {counted['wrong_length']}"
        )
    print(
        f"{'':>12}  {viewing.frames} frames in {viewing.seconds:.1f} s, unreadable "
        f"{viewing.unreadable}, ran dry {viewing.waiting}, jumps {viewing.seeks}, "
        f"fastest {viewing.fastest:.3f}, camera late {watched.camera_late_ms:.1f} ms (p99)"
    )
    for line in (*watched.encoder_errors, *watched.said):
        print(f"{'':>12}  {line}")


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counted.items()) or "none"


def _judge(verdicts: Verdicts, case: str, runs: Sequence[Watched], asked: Asked | None) -> None:
    """What is asked of every run; the worst of them is what is shown."""
    fault = next((run.fault for run in runs if run.fault), "")
    verdicts.add(f"{case}: every run valid {fault}".rstrip(), not fault)
    if asked is not None:
        p95_ms = max(run.viewing.p95_ms for run in runs)
        verdicts.add(f"{case}: p95 {p95_ms:.0f} ms <= {asked.p95_ms:.0f}", p95_ms <= asked.p95_ms)
        stalls = max(run.viewing.stalls for run in runs)
        verdicts.add(f"{case}: stalls {stalls} <= {asked.stalls}", stalls <= asked.stalls)
    share = min(run.viewing.frames / (run.viewing.seconds * FRAMES_PER_S) for run in runs)
    verdicts.add(f"{case}: {share:.1%} of the frames shown, {_SHARE:.0%}", share >= _SHARE)
    wrong = sum(run.viewing.unreadable + run.viewing.backwards for run in runs)
    verdicts.add(f"{case}: {wrong} frames unreadable or out of order", not wrong)
    missing, cut = sum(run.missing for run in runs), sum(run.cut for run in runs)
    verdicts.add(f"{case}: {missing} 404s of segments", not missing)
    verdicts.add(f"{case}: {cut} answers cut", not cut)
    errors = sum(len(run.encoder_errors) for run in runs)
    verdicts.add(f"{case}: {errors} errors of the encoder", not errors)


def _compare(verdicts: Verdicts, results: Results, alone: str, beside: str) -> None:
    """The player beside readers, against itself alone."""
    alone_ms = results.medians(alone, "p95 ms").get("ours")
    beside_ms = results.medians(beside, "p95 ms").get("ours")
    if alone_ms is None or beside_ms is None:
        verdicts.add("a valid run alone and one beside readers", False)
        return
    more_ms = beside_ms - alone_ms
    text = f"p95 beside readers {more_ms:+.1f} ms of alone, within {_BESIDE_MS:.0f}"
    verdicts.add(text, more_ms <= _BESIDE_MS)


if __name__ == "__main__":
    main(_run)
