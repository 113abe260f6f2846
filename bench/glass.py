"""How late is the picture in a real player, from the glass of the camera to that of the screen?

Method: a camera paints the time into each frame; ffmpeg encodes them, a chunk a frame, segments of
a second; a player in Chromium, without a window, plays that at a given distance from the live edge.
The page reads the time back from every frame that it presents, so the latency is measured and not
what the player says of itself. It counts from `--settle` seconds after the first picture.

    --player dash        LL-DASH, PUT by ffmpeg (or by `--publisher ours`), played by dash.js
    --player hls         LL-HLS in growing byte ranges, PUT by our publisher, played by hls.js
    --readers N          the same again with raw readers of the same segments beside the player,
                         each segment asked for before it exists
    --cuts N             so many uploads are cut in mid-segment, half of them so that the origin
                         doesn't learn of it; our publisher starts those anew, ffmpeg goes on with
                         the next segment
    --grace 0            with an origin whose readers don't wait for a retry

What cuts do to ffmpeg's streams, and without grace, is shown and not judged.

Caveats: the time in a frame is that at which it was due, so a late camera counts against us; a run
in which it was later than 20 ms (p99) is void. The browser has neither a GPU nor a screen: the
"glass" is the moment for which it promises the frame to its compositor, 60 times a second.
Everything shares the cores: server, encoder, readers, and the browser, which takes the most. Frames
that never come make no percentile worse but are stalls; `bench/studio/viewing.py` says what is one.
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.contest import Results
from bench.harness import OURS, Parser, Server, main, open_results, serve_ours
from bench.outcome import Verdicts
from bench.studio.browser import find_browser
from bench.studio.encoder import FRAMES_PER_S
from bench.studio.packages import player_script
from bench.studio.streams import PUBLISHERS, STREAMS
from bench.studio.watching import Plan, Watched, watch

__all__ = ["ASKED", "Asked"]

_BESIDE_MS = 10.0
_SHARE = 0.98
"""Of the frames that are due; a few are lost to the browser's own pace."""
_TARGET_S = {"dash": 0.2, "hls": 1.0}


@dataclass(frozen=True)
class Asked:
    """What has to hold."""

    p95_ms: float
    stalls: int


ASKED = {
    ("dash", 0.2): Asked(250, 0),
    ("dash", 0.12): Asked(160, 1),
    ("hls", 1.0): Asked(1500, 0),
}
"""By player and target; of others only what always has to hold is asked."""


def _plan() -> tuple[Namespace, Plan]:
    parser = Parser(__doc__ or "")
    text = "default %(default)s"
    parser.add_argument("--player", choices=sorted(STREAMS), default="dash", help=text)
    parser.add_argument("--target", type=float, metavar="SECONDS", help="default 0.2, hls 1")
    parser.add_argument("--seconds", type=float, default=60.0, help="that count; " + text)
    parser.add_argument("--settle", type=float, default=10.0, help="before them; " + text)
    parser.add_argument("--runs", type=int, default=1, help="alone, and beside readers; " + text)
    parser.add_argument("--readers", type=int, default=0, help="raw ones beside; " + text)
    parser.add_argument("--publisher", choices=PUBLISHERS, help="default ffmpeg, hls ours")
    parser.add_argument("--cuts", type=int, default=0, help="of uploads; " + text)
    parser.add_argument("--grace", type=float, metavar="SECONDS", help="default the server's")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="a PNG of the last run")
    args = parser.parse_args()
    publisher = args.publisher or {"dash": "ffmpeg", "hls": "ours"}[args.player]
    if (args.player, publisher) == ("hls", "ffmpeg"):
        parser.error("ffmpeg has no LL-HLS; there is --publisher ours")
    if args.grace is not None and args.server:
        parser.error("--grace is a setting of ours; --server has its own")
    plan = Plan(
        player=args.player,
        publisher=publisher,
        target_s=_TARGET_S[args.player] if args.target is None else args.target,
        seconds=args.seconds,
        settle_s=args.settle,
        cuts=args.cuts,
    )
    return args, plan


def _run() -> int:
    args, plan = _plan()
    find_browser()
    player_script(plan.player)
    out = open_results(args.json)
    alone = _name(plan, args.grace)
    beside = f"{alone}, beside {args.readers} readers"
    cases = {alone: plan}
    if args.readers:
        cases[beside] = replace(plan, readers=args.readers)
    print(
        f"{FRAMES_PER_S} frames a second for {plan.seconds:g} s, settled {plan.settle_s:g} s before"
    )
    results = Results(out)
    runs: dict[str, list[Watched]] = {case: [] for case in cases}
    for _ in range(args.runs):
        for case, each in cases.items():
            print(case, flush=True)
            with _serve(args) as server:
                watched = watch(server, each, args.screenshot)
            runs[case].append(watched)
            out.write("glass", {"case": case, **asdict(watched)})
            results.add(watched.result(case))
            _tell(watched)
    verdicts = Verdicts()
    is_shown_only = plan.cuts > 0 and (plan.publisher == "ffmpeg" or args.grace == 0)
    for case, found in runs.items():
        fault = next((run.fault for run in found if run.fault), "")
        verdicts.add(f"{case}: every run valid {fault}".rstrip(), not fault)
        if not is_shown_only:
            _judge_picture(verdicts, case, found, ASKED.get((plan.player, plan.target_s)))
            _judge_delivery(verdicts, case, found, plan.cuts)
    if args.readers:
        _compare(verdicts, results, alone, beside)
    return verdicts.print(out, "glass")


def _name(plan: Plan, grace_s: float | None) -> str:
    """The case, in words."""
    words = [f"{plan.player}.js", f"target {plan.target_s:g} s"]
    if plan.cuts:
        words.append(f"{plan.cuts} cuts of {plan.publisher}")
    if grace_s is not None:
        words.append(f"grace {grace_s:g} s")
    return ", ".join(words)


@contextlib.contextmanager
def _serve(args: Namespace) -> Iterator[Server]:
    """The server under test, with another grace for media if one is asked for."""
    if args.grace is None:
        with serve_ours(args.server) as server:
            yield server
        return
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as settings:
        settings.write(
            f'[[policies]]\nmatch = "*.m4s"\nhold = "2s"\nabort_grace = "{args.grace:g}s"\n'
        )
        settings.flush()
        with serve_ours(shlex.join([*OURS, "--config", settings.name])) as server:
            yield server


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
    if watched.sent["uploads"]:
        uploads = watched.sent["uploads"]
        print(
            f"{'':>12}  uploads: {_counts(uploads['statuses'])}; cut {len(watched.sent['cuts'])}, "
            f"begun anew {uploads['retries']}, displaced {uploads['displaced']}"
        )
    for line, count in Counter((*watched.encoder_errors, *watched.said)).items():
        print(f"{'':>12}  {line}" + (f" ({count} times)" if count > 1 else ""))


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counted.items()) or "none"


def _judge_picture(
    verdicts: Verdicts, case: str, runs: Sequence[Watched], asked: Asked | None
) -> None:
    """That it came in time and in order; the worst of all runs is what is shown."""
    if asked is not None:
        p95_ms = max(run.viewing.p95_ms for run in runs)
        verdicts.add(f"{case}: p95 {p95_ms:.0f} ms <= {asked.p95_ms:.0f}", p95_ms <= asked.p95_ms)
        stalls = max(run.viewing.stalls for run in runs)
        verdicts.add(f"{case}: stalls {stalls} <= {asked.stalls}", stalls <= asked.stalls)
    share = min(run.viewing.frames / (run.viewing.seconds * FRAMES_PER_S) for run in runs)
    verdicts.add(f"{case}: {share:.1%} of the frames shown, {_SHARE:.0%}", share >= _SHARE)
    wrong = sum(run.viewing.unreadable + run.viewing.backwards for run in runs)
    verdicts.add(f"{case}: {wrong} frames unreadable or out of order", not wrong)


def _judge_delivery(verdicts: Verdicts, case: str, runs: Sequence[Watched], cuts: int) -> None:
    """That nobody was told that a segment isn't there, and nobody was cut."""
    missing, cut = sum(run.missing for run in runs), sum(run.cut for run in runs)
    verdicts.add(f"{case}: {missing} 404s of segments", not missing)
    verdicts.add(f"{case}: {cut} answers cut", not cut)
    errors = sum(len(run.encoder_errors) for run in runs)
    verdicts.add(f"{case}: {errors} errors of the encoder", not errors)
    if cuts:
        least = min(len(run.sent["cuts"]) for run in runs)
        verdicts.add(f"{case}: {least} uploads cut, {cuts}", least == cuts)
        lost = sum(len(run.sent["uploads"]["given_up"]) for run in runs)
        verdicts.add(f"{case}: {lost} uploads given up", not lost)


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
