"""What a viewer saw: the page's notes as latency, stalls and what the player itself believed.

The latency of a frame is from the time in its picture to the moment at which the browser puts it
on the screen. Percentiles are over the frames that were shown after the player had settled.

A *stall* is a picture that stands still for more than a quarter of a second; or for more than three
frames' time when the video element said that it ran dry (`waiting`). Shorter stills without that
are the browser's own: what a viewer sees of them is in `longest_still_ms`. A picture that has
stood still when the notes end counts as well. While it stands still no frame is shown, and so none
counts as late: look at both figures.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

from bench.build import BenchError

__all__ = ["Viewing", "judge", "percentile"]

STILL_MS = 250.0
DRY_FRAMES = 3
_MINIMUM_FRAMES = 10


@dataclass(frozen=True)
class Viewing:
    """The figures of a settled player.

    Attributes:
        p50_ms, p95_ms, p99_ms, max_ms: latency glass to glass.
        frames: that were shown with a clock that could be read, each time once.
        unreadable: that were shown with one that couldn't, since the player started.
        backwards: that showed an earlier time than the one before.
        stalls, longest_still_ms: see above.
        waiting: how often the video element ran dry, however short.
        seeks: jumps; they shorten the latency and lose pictures.
        player_ms: the player's own latency, the median of one a second; 0 if it tells none.
        fastest: the highest playback rate.
        seconds: from the first to the last moment that counts.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    frames: int
    unreadable: int
    backwards: int
    stalls: int
    longest_still_ms: float
    waiting: int
    seeks: int
    player_ms: float
    fastest: float
    seconds: float


def judge(notes: Mapping[str, Any], settle_s: float, frames_per_s: float) -> Viewing:
    """The figures that a page's notes say.

    Args:
        notes: what `watch.report()` returns.
        settle_s: how long after its first picture the player isn't judged.
        frames_per_s: of the encoder.
    Raises:
        BenchError: there were next to no pictures.
    """
    frames: Sequence[tuple[float, float]] = notes["frames"]
    if not frames:
        raise BenchError("the player showed no picture with a clock in it")
    from_ms, until_ms = frames[0][0] + settle_s * 1000, notes["now"]
    settled = [frame for frame in frames if frame[0] >= from_ms]
    if len(settled) < _MINIMUM_FRAMES:
        raise BenchError(f"the player showed {len(settled)} pictures once it should have settled")
    new, backwards = _new(settled)
    events = [(at, name, value) for at, name, value in notes["events"] if at >= from_ms]
    dry = [at for at, name, _ in events if name == "waiting"]
    samples = [one for one in notes["samples"] if one[0] >= from_ms]
    stills = _stills([at for at, _ in new], until_ms)
    latencies = sorted(at - painted for at, painted in new)
    return Viewing(
        p50_ms=percentile(latencies, 0.5),
        p95_ms=percentile(latencies, 0.95),
        p99_ms=percentile(latencies, 0.99),
        max_ms=latencies[-1],
        frames=len(new),
        unreadable=notes["unreadable"],
        backwards=backwards,
        stalls=sum(
            _is_stall(begin, end, dry, DRY_FRAMES * 1000 / frames_per_s) for begin, end in stills
        ),
        longest_still_ms=max(end - begin for begin, end in stills),
        waiting=len(dry),
        seeks=sum(name == "seeking" for _, name, _ in events),
        player_ms=median([one[1] * 1000 for one in samples if one[1] is not None] or [0.0]),
        fastest=max((one[2] for one in samples), default=1.0),
        seconds=(until_ms - settled[0][0]) / 1000,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that `share` of all don't exceed; of a list in order and not empty."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _new(frames: Sequence[tuple[float, float]]) -> tuple[list[tuple[float, float]], int]:
    """Those that show another time than the one before, and how many of them an earlier one."""
    new = [frames[0]]
    backwards = 0
    for frame in frames[1:]:
        if frame[1] != new[-1][1]:
            backwards += frame[1] < new[-1][1]
            new.append(frame)
    return new, backwards


def _stills(at_ms: Sequence[float], until_ms: float) -> list[tuple[float, float]]:
    """From each picture to the next; the last one until the notes end."""
    return list(zip(at_ms, [*at_ms[1:], max(until_ms, at_ms[-1])], strict=True))


def _is_stall(begin: float, end: float, dry: Sequence[float], dry_still_ms: float) -> bool:
    if end - begin > STILL_MS:
        return True
    after = bisect_left(dry, begin)
    return end - begin > dry_still_ms and after < len(dry) and dry[after] <= end
