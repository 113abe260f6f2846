"""How late is the picture of `chunkstore demo`, by its own watch view?

Method: the command as a person starts it, `--runs` times; its watch view is opened in Chromium,
without a window, as soon as its address is printed. Asked is what the page itself has measured,
`--seconds` after its first picture, of all frames since then.

And once more with a clock in the demo's picture, which is read back from each frame shown: how far
is what the page says from what the picture shows? The page counts from the manifest's start; what
came before that, the encoding of the first frame, it can't know.

Caveats: demo, encoder, player and browser share the cores, and the browser decodes without a GPU.
Frames that never come make no percentile worse: stalls and the share of frames stand beside it.
"""

from __future__ import annotations

import shlex
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.build import BenchError
from bench.contest import Results
from bench.harness import Parser, Result, Server, main, open_results, serve
from bench.outcome import Verdicts
from bench.studio.browser import Tab, find_browser, open_tab
from bench.studio.viewing import Viewing, judge
from chunkstore.demo.encoder import FRAMES_PER_S

__all__ = ["ASKED_MS"]

ASKED_MS = 500.0
_APART_MS = 50.0
_SHARE = 0.98
_DEMO = (sys.executable, "-m", "chunkstore", "demo", "--json")
_CLOCKED = (sys.executable, "-m", "bench.studio.demo")
_MEASURED = "import('/console/watch.js').then((it) => it.figures())"
_READER = Path(__file__).parent / "studio" / "pages" / "watch.js"
_ADDRESS = "watch it: "
_REMEMBERED_S = 30  # by the page
_PICTURE_S, _STEP_S = 30.0, 0.25


@dataclass(frozen=True)
class _Watched:
    """What the page measured, and what the clock in the picture showed if it had one."""

    page: dict[str, Any]
    clock: Viewing | None
    seconds: float

    @property
    def p95_ms(self) -> float:
        return 1000 * float(self.page["p95"])

    @property
    def share(self) -> float:
        return float(self.page["frames"]) / (self.seconds * FRAMES_PER_S)

    def result(self, case: str) -> Result:
        page = self.page
        figures = {
            "p95 ms": self.p95_ms,
            "p50 ms": 1000 * page["p50"],
            "max ms": 1000 * page["max"],
            "stalls": page["stalls"],
            "jumps": page["jumps"],
            "frames": page["frames"],
        }
        if self.clock is not None:
            figures |= {"clock p95 ms": self.clock.p95_ms, "clock p50 ms": self.clock.p50_ms}
            figures |= {"clock max ms": self.clock.max_ms, "unreadable": self.clock.unreadable}
        return Result("watch", case, "ours", figures)


def _run() -> int:
    args = _arguments()
    find_browser()
    out = open_results(args.json)
    results, verdicts = Results(out), Verdicts()
    command = shlex.split(args.server) if args.server else _DEMO
    print(f"watched for {args.seconds:g} s from the first picture on", flush=True)
    plain = []
    for _ in range(args.runs):
        with serve("demo", command) as server:
            plain.append(_watch(server, args, is_clocked=False))
        results.add(plain[-1].result("as it is"))
    with serve("demo", _CLOCKED) as server:
        clocked = _watch(server, args, is_clocked=True)
    results.add(clocked.result("with a clock in the picture"))
    p95_ms = max(run.p95_ms for run in plain)
    verdicts.add(f"p95 {p95_ms:.0f} ms <= {ASKED_MS:.0f}, in each run", p95_ms <= ASKED_MS)
    stalls = sum(run.page["stalls"] for run in (*plain, clocked))
    verdicts.add(f"stalls: {stalls}", not stalls)
    share = min(run.share for run in (*plain, clocked))
    verdicts.add(f"{share:.1%} of the frames shown, {_SHARE:.0%}", share >= _SHARE)
    assert clocked.clock is not None
    verdicts.add(
        f"by the clock in the picture: p95 {clocked.clock.p95_ms:.0f} ms <= {ASKED_MS:.0f}",
        clocked.clock.p95_ms <= ASKED_MS,
    )
    apart_ms = clocked.clock.p50_ms - 1000 * clocked.page["p50"]
    text = f"half of the frames are {apart_ms:+.0f} ms later by it than by the page"
    verdicts.add(f"{text}, within {_APART_MS:.0f}", abs(apart_ms) <= _APART_MS)
    return verdicts.print(out, "watch")


def _arguments() -> Namespace:
    parser = Parser(__doc__ or "")
    text = "default %(default)s"
    parser.add_argument("--seconds", type=float, default=30.0, help="at most 30; " + text)
    parser.add_argument("--runs", type=int, default=3, help="without a clock; " + text)
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="a PNG of the last run")
    args = parser.parse_args()
    if not 1 <= args.seconds <= _REMEMBERED_S:
        parser.error(f"--seconds takes 1 to {_REMEMBERED_S}")
    if args.runs < 1:
        parser.error("--runs takes 1 or more")
    return args


def _watch(server: Server, args: Namespace, *, is_clocked: bool) -> _Watched:
    """One run, from the moment at which the demo has printed its addresses."""
    with open_tab(_address(server)) as tab:
        if is_clocked:
            script = _READER.read_text(encoding="utf-8")
            tab.ask(f"(() => {{ {script}; globalThis.clock = watch; }})()")
        _wait(_PICTURE_S, server, tab, until=_MEASURED)
        began_s = time.monotonic()
        _wait(args.seconds, server, tab)
        page, notes = tab.ask(_MEASURED), tab.ask("clock.report()") if is_clocked else None
        seconds = min(args.seconds, time.monotonic() - began_s)
        if args.screenshot is not None:
            tab.photograph(args.screenshot)
    if page is None:
        raise BenchError(f"the watch view has no picture any more: {'; '.join(tab.said)}")
    return _Watched(page, judge(notes, 0.0, FRAMES_PER_S) if notes else None, seconds)


def _address(server: Server) -> str:
    """Of the watch view; a line of what the demo says at its start."""
    until_s = time.monotonic() + _PICTURE_S
    while time.monotonic() < until_s:
        for line in tuple(server.last_lines):
            if line.startswith(_ADDRESS):
                return line.removeprefix(_ADDRESS)
        server.check()
        time.sleep(_STEP_S)
    raise BenchError("the demo doesn't say where its watch view is")


def _wait(seconds: float, server: Server, tab: Tab, until: str = "null") -> None:
    """Lets time pass, or waits for something in the page."""
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if tab.ask(until) is not None:
            return
        time.sleep(min(left_s, _STEP_S))
        server.check()
    if until != "null":
        raise BenchError(f"the watch view shows no picture: {'; '.join(tab.said)}")


if __name__ == "__main__":
    main(_run)
