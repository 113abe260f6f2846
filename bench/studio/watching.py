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
from bench.studio.audience import follow
from bench.studio.browser import Tab, open_tab
from bench.studio.encoder import FRAMES_PER_S
from bench.studio.page import put_page
from bench.studio.streams import STREAMS, Source, send
from bench.studio.viewing import Viewing, judge, percentile
from bench.usage import machine_busy_s, usage

__all__ = ["Plan", "Watched", "watch"]

BEGIN_S = 2.0  # a player that comes earlier would find a manifest without a whole segment
PICTURE_S = 30.0
STEP_S = 0.5
CAMERA_LATE_MS = 20.0  # p99; it is below 7 ms where nobody else is at work


@dataclass(frozen=True)
class Plan:
    """What is to be watched.

    Attributes:
        player: a key of `STREAMS`.
        publisher: who PUTs the stream, one of `PUBLISHERS`.
        target_s: the latency that the player is to keep.
        seconds: that count.
        settle_s: that don't, before them.
        readers: raw ones beside the player.
        cuts: uploads that are cut in the seconds that count.
    """

    player: str
    publisher: str
    target_s: float
    seconds: float
    settle_s: float
    readers: int = 0
    cuts: int = 0


@dataclass(frozen=True)
class Watched:
    """One run: what the viewer saw, what was asked for, and what became of it.

    Attributes:
        statuses: the browser's answers by extension and status, as "m4s 200".
        failures: its requests that broke, by extension and reason.
        audience: what the raw readers counted; empty without them.
        sent: the cuts that were made, and what became of our uploads.
        camera_late_ms: p99.
        encoder_errors: lines of the encoder's that say more than a warning.
        others_cores: that somebody else kept busy.
    """

    viewing: Viewing
    statuses: Mapping[str, int]
    failures: Mapping[str, int]
    said: list[str]
    audience: Mapping[str, Any]
    sent: Mapping[str, Any]
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
            "answers cut": self.cut,
            "uploads cut": len(self.sent["cuts"]),
            "encoder errors": len(self.encoder_errors),
            "server cores": self.server_cores,
            "others": self.others_cores,
        }
        return Result("glass", case, "ours", figures, self.fault)


def watch(server: Server, plan: Plan, screenshot: Path | None = None) -> Watched:
    """One run against a server that was just started.

    Args:
        screenshot: where a picture of the page goes.
    Raises:
        BenchError: some part is missing or ended early.
    """
    page_url = put_page(server, plan.player, STREAMS[plan.player].manifest, plan.target_s)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(
            send(server, plan.player, plan.publisher, is_cut=plan.cuts > 0)
        )
        _wait(BEGIN_S, server, source)
        audience = None
        if plan.readers:
            names, first = source.stream.names, source.next_number
            audience = stack.enter_context(follow(server, names, plan.readers, first))
        tab = stack.enter_context(open_tab(page_url))
        _await_picture(tab, server, source)
        _wait(plan.settle_s, server, source, tab)
        with _measured(server) as used:
            if plan.cuts:
                source.cut(plan.cuts, plan.seconds)
            _wait(plan.seconds, server, source, tab)
        notes = tab.ask("watch.report()")
        counted = audience.report() if audience is not None else {}
        sent = source.report()
        if screenshot is not None:
            tab.photograph(screenshot)
    late = sorted(source.encoder.late_ms)
    return Watched(
        viewing=judge(notes, plan.settle_s, FRAMES_PER_S),
        statuses=dict(tab.statuses),
        failures=dict(tab.failures),
        said=tab.said,
        audience=counted,
        sent=sent,
        camera_late_ms=percentile(late, 0.99),
        encoder_errors=list(source.encoder.errors),
        server_cores=used["server"] / plan.seconds,
        others_cores=used["others"] / plan.seconds,
    )


def _wait(seconds: float, server: Server, source: Source, tab: Tab | None = None) -> None:
    """Lets time pass; whoever ends meanwhile ends the run."""
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(left_s, STEP_S))
        server.check()
        source.check()
        if tab is not None:
            tab.ask("0")  # what the browser has told is only taken in when it is asked something


def _await_picture(tab: Tab, server: Server, source: Source) -> None:
    for _ in range(int(PICTURE_S / STEP_S)):
        _wait(STEP_S, server, source)
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
