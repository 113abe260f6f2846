"""One player watching one stream: all parts set up, run, taken down, and what was found."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.build import BenchError
from bench.harness import Result, Server
from bench.studio.audience import Names, follow
from bench.studio.browser import Tab, open_tab
from bench.studio.encoder import FRAMES_PER_S, Encoder, dash_command, encode
from bench.studio.page import put_page
from bench.studio.viewing import Viewing, judge, percentile
from bench.usage import machine_busy_s, usage

__all__ = ["Watched", "watch"]

MANIFEST = "/live/glass.mpd"
NAMES = Names("/live/chunk-stream0-", ".m4s", digits=5)
SEGMENT_S = 1.0
BEGIN_S = 2.0  # a player that comes earlier would find a manifest without a whole segment
PICTURE_S = 30.0
STEP_S = 0.5
CAMERA_LATE_MS = 20.0  # p99; it is below 2 ms where nobody else is at work


@dataclass(frozen=True)
class Watched:
    """One run: what the viewer saw, what was asked for, and what became of it.

    Attributes:
        statuses: the browser's answers by extension and status, as "m4s 200".
        failures: its requests that broke, by extension and reason.
        audience: what the raw readers counted; empty without them.
        camera_late_ms: p99.
        encoder_errors: lines of the encoder's that say more than a warning.
        others_cores: that somebody else kept busy.
    """

    viewing: Viewing
    statuses: Mapping[str, int]
    failures: Mapping[str, int]
    said: list[str]
    audience: Mapping[str, Any]
    camera_late_ms: float
    encoder_errors: list[str]
    server_cores: float
    others_cores: float

    @property
    def missing(self) -> int:
        """404s of segments, of the player and of the raw readers."""
        readers = self.audience.get("statuses", {})
        return self.statuses.get("m4s 404", 0) + int(readers.get("404", 0))

    @property
    def cut(self) -> int:
        """Answers that broke off, of the player and of the raw readers."""
        wrong = sum(self.audience.get(name, 0) for name in ("cut", "wrong_length", "wrong_frames"))
        return sum(self.failures.values()) + int(wrong)

    @property
    def fault(self) -> str:
        """Why it doesn't count, or nothing."""
        if self.camera_late_ms > CAMERA_LATE_MS:
            return f"void: the camera was {self.camera_late_ms:.0f} ms late (p99)"
        return ""

    def result(self, case: str) -> Result:
        """As what the report shows."""
        viewing = self.viewing
        figures = {
            "p95 ms": viewing.p95_ms,
            "p50 ms": viewing.p50_ms,
            "p99 ms": viewing.p99_ms,
            "player says ms": viewing.player_ms,
            "stalls": viewing.stalls,
            "longest still ms": viewing.longest_still_ms,
            "404s": self.missing,
            "cut": self.cut,
            "encoder errors": len(self.encoder_errors),
            "server cores": self.server_cores,
            "others": self.others_cores,
        }
        return Result("glass", case, "ours", figures, self.fault)


def watch(
    server: Server,
    player: str,
    target_s: float,
    *,
    seconds: float,
    settle_s: float,
    readers: int = 0,
    screenshot: Path | None = None,
) -> Watched:
    """One run against a server that was just started.

    Args:
        seconds: that count.
        settle_s: that don't, before them.
    Raises:
        BenchError: some part is missing or ended early.
    """
    page_url = put_page(server, player, MANIFEST, target_s)
    origin_url = f"http://{server.host}:{server.port}"
    with contextlib.ExitStack() as stack:
        encoder = stack.enter_context(encode(dash_command(origin_url + MANIFEST, SEGMENT_S)))
        _wait(BEGIN_S, server, encoder)
        audience = None
        if readers:
            first = int(encoder.frames / FRAMES_PER_S / SEGMENT_S) + 2  # the one that comes next
            audience = stack.enter_context(follow(server, NAMES, readers, first))
        tab = stack.enter_context(open_tab(page_url))
        _await_picture(tab, server, encoder)
        _wait(settle_s, server, encoder, tab)
        with _measured(server) as used:
            _wait(seconds, server, encoder, tab)
        notes = tab.ask("watch.report()")
        counted = audience.report() if audience is not None else {}
        if screenshot is not None:
            tab.photograph(screenshot)
    late = sorted(encoder.late_ms)
    return Watched(
        viewing=judge(notes, settle_s, FRAMES_PER_S),
        statuses=dict(tab.statuses),
        failures=dict(tab.failures),
        said=tab.said,
        audience=counted,
        camera_late_ms=percentile(late, 0.99),
        encoder_errors=list(encoder.errors),
        server_cores=used["server"] / seconds,
        others_cores=used["others"] / seconds,
    )


def _wait(seconds: float, server: Server, encoder: Encoder, tab: Tab | None = None) -> None:
    """Lets time pass; whoever ends meanwhile ends the run."""
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(left_s, STEP_S))
        server.check()
        encoder.check()
        if tab is not None:
            tab.ask("0")  # what the browser has told is only taken in when it is asked something


def _await_picture(tab: Tab, server: Server, encoder: Encoder) -> None:
    for _ in range(int(PICTURE_S / STEP_S)):
        _wait(STEP_S, server, encoder)
        if tab.ask("watch.frames.length"):
            return
    said = [*tab.said, *map(str, tab.failures.items()), *map(str, tab.statuses.items())]
    raise BenchError(f"the player shows no picture: {'; '.join(said) or 'it says nothing'}")


@contextlib.contextmanager
def _measured(server: Server) -> Iterator[dict[str, float]]:
    """CPU seconds of the block: the server's, and those of processes that aren't ours."""
    used: dict[str, float] = {}
    before = server.usage().cpu_s, usage(os.getpid()).cpu_s, machine_busy_s()
    yield used
    after = server.usage().cpu_s, usage(os.getpid()).cpu_s, machine_busy_s()
    of_server, of_ours, of_all = (end - begin for begin, end in zip(before, after, strict=True))
    used |= {"server": of_server, "others": max(0.0, of_all - of_ours)}
