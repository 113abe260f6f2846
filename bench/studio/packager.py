"""Makes LL-HLS of a fragmented MP4: parts, segments, playlists, and what is to be PUT when.

It decides and does nothing: each piece of the stream becomes steps, in their order, for whoever
carries them out. A part is closed, and the playlist that lists it is there, with its last fragment
and not with the next one: a fragment is taken to last as long as the one before it.

The parts are delivered in one of two forms. `RANGES`: a part is a range of bytes of its segment,
which is one upload that grows. `FILES`: a part is an object of its own, that grows too, beside the
segment.

Source: draft-pantos-hls-rfc8216bis, sections 4.4 (the tags) and 6.2.2 (live playlists).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias

from bench.build import BenchError
from bench.studio.fmp4 import Cutter, Fragment, Init

__all__ = [
    "Append",
    "Begin",
    "End",
    "Form",
    "Packager",
    "Publish",
    "Remove",
    "Step",
    "Store",
    "StreamError",
]

INIT: Final = "init.mp4"
PLAYLIST: Final = "media.m3u8"
PART_SEGMENTS: Final = 3
"""Whole segments whose parts are listed: those that end less than three targets from the edge."""
HOLD_BACK_PARTS: Final = 3
"""Players stay at least so many parts behind the edge (section 4.4.3.8)."""


class StreamError(BenchError):
    """The stream can't be packaged so that its playlist tells the truth."""


class Form(Enum):
    """How parts are delivered."""

    RANGES = "ranges"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Store:
    """A whole object that has to be there before anything that follows."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Begin:
    """An upload begins."""

    name: str


@dataclass(frozen=True, slots=True)
class Append:
    """A fragment of an upload that has begun."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """An upload has all its bytes."""

    name: str


@dataclass(frozen=True, slots=True)
class Publish:
    """A version of an object that replaces the one before; only the newest matters."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Remove:
    """An object that nobody may ask for any more."""

    name: str


Step: TypeAlias = Store | Begin | Append | End | Publish | Remove


@dataclass(slots=True)
class _Part:
    offset: int
    size: int = 0
    duration: int = 0
    is_independent: bool = False


@dataclass(slots=True)
class _Segment:
    number: int
    decode_time: int
    size: int = 0
    duration: int = 0
    is_whole: bool = False
    parts: list[_Part] = field(default_factory=list)  # those that are closed

    @property
    def name(self) -> str:
        return f"seg{self.number}.m4s"

    def part_name(self, index: int) -> str:
        return f"seg{self.number}.{index}.m4s"


class Packager:
    """Takes the bytes of a stream, gives the steps that make it LL-HLS.

    The encoder has to make a keyframe every `segment_s`: a segment is closed with its last
    fragment, before it is known what the next one is.

    Args:
        form: how parts are delivered.
        starts_at: when the first fragment's picture was taken; it becomes the program date.
        segment_s: duration of a segment.
        part_s: duration of a part, rounded down to whole fragments, at least one.
        window_segments: whole segments that are listed, at least 3. Those that leave the list
            are removed when it has moved on by another window and a segment.
        hold_back_s: how far players stay behind the edge; three parts where that is more.
    """

    def __init__(
        self,
        form: Form,
        starts_at: datetime,
        *,
        segment_s: float = 2.0,
        part_s: float = 0.2,
        window_segments: int = 6,
        hold_back_s: float = 0.0,
    ) -> None:
        if not 0 < part_s <= segment_s or window_segments < PART_SEGMENTS:
            raise ValueError("expected 0 < part_s <= segment_s and a window of 3 segments or more")
        self._form = form
        self._starts_at = starts_at.astimezone(UTC)
        self._segment_s = segment_s
        self._part_s = part_s
        self._window_segments = window_segments
        self._hold_back_s = hold_back_s
        self._cutter = Cutter()
        self._timescale = 0
        self._began_at = 0  # the first decode time
        self._segment_units = self._part_units = 0
        self._target_s = 0
        self._segments: deque[_Segment] = deque()
        self._unlisted: deque[_Segment] = deque()
        self._part: _Part | None = None  # the one that is open

    def feed(self, data: bytes | bytearray | memoryview) -> list[Step]:
        """Take some bytes of the stream, in any pieces; the steps that they are cause for.

        Raises:
            Mp4Error: it is no fragmented MP4 with one track.
            StreamError: a segment doesn't begin with a keyframe, or is longer than the playlist
                says, or a fragment is longer than a part may be.
        """
        steps: list[Step] = []
        for found in self._cutter.feed(data):
            if isinstance(found, Init):
                self._timescale = found.timescale
                steps.append(Store(INIT, found.data))
            else:
                steps += self._add(found)
        return steps

    def finish(self) -> list[Step]:
        """The stream has ended: what is left to do, with a playlist that says so."""
        if not self._segments:
            return []
        steps: list[Step] = []
        if not self._segments[-1].is_whole:
            steps += [*self._close_part(), *self._close_segment()]
        return [*steps, Publish(PLAYLIST, self._playlist(has_ended=True))]

    # --- segments and parts --------------------------------------------------------------------

    def _add(self, fragment: Fragment) -> Iterator[Step]:
        if not self._part_units:
            self._learn(fragment)
        if fragment.duration > self._part_units:
            lasts, promised = self._text(fragment.duration), self._text(self._part_units)
            raise StreamError(f"a fragment of {lasts} s; parts of {promised} s were promised")
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.is_whole:
            if not fragment.is_independent:
                raise StreamError("a segment has to begin with a keyframe; is the GOP as long?")
            number = segment.number + 1 if segment else 0
            segment = _Segment(number, fragment.decode_time)
            self._segments.append(segment)
            yield Begin(segment.name)
        is_file = self._form is Form.FILES
        name = segment.part_name(len(segment.parts))
        if self._part is None:
            self._part = _Part(segment.size)
            if is_file:
                yield Begin(name)
        yield Append(segment.name, fragment.data)
        if is_file:
            yield Append(name, fragment.data)
        part = self._part
        part.is_independent |= fragment.is_independent
        for growing in (part, segment):
            growing.size += len(fragment.data)
            growing.duration += fragment.duration
        # Full: another one like this would be too much, or lead further away from what is due.
        is_full = 2 * segment.duration + fragment.duration >= 2 * self._segment_units
        if is_full or part.duration + fragment.duration > self._part_units:
            yield from self._close_part()
            if is_full:
                yield from self._close_segment()
            yield Publish(PLAYLIST, self._playlist(has_ended=False))
            yield from self._remove_old()

    def _learn(self, fragment: Fragment) -> None:
        """What the first fragment decides for all of the stream."""
        self._began_at = fragment.decode_time
        self._segment_units = round(self._segment_s * self._timescale)
        # Rounded up a little, so that five frames of 0.04 s are 0.2 s in floating point too.
        count = int(self._part_s * self._timescale / fragment.duration + 1e-6)
        self._part_units = max(1, count) * fragment.duration
        longest_units = self._segment_units + fragment.duration / 2
        self._target_s = max(1, self._rounded_s(longest_units))

    def _close_part(self) -> Iterator[Step]:
        if self._part is not None:
            segment = self._segments[-1]
            if self._form is Form.FILES:
                yield End(segment.part_name(len(segment.parts)))
            segment.parts.append(self._part)
            self._part = None

    def _close_segment(self) -> Iterator[Step]:
        segment = self._segments[-1]
        if self._rounded_s(segment.duration) > self._target_s:
            # A target that was published can't change (section 4.4.3.1).
            raise StreamError(
                f"a segment of {self._text(segment.duration)} s; {self._target_s} s were promised"
            )
        segment.is_whole = True
        yield End(segment.name)
        if len(self._segments) > self._window_segments:
            self._unlisted.append(self._segments.popleft())

    def _remove_old(self) -> Iterator[Step]:
        """Those that players can't have in any list any more (section 6.2.2)."""
        while len(self._unlisted) > self._window_segments + 1:
            segment = self._unlisted.popleft()
            if self._form is Form.FILES:
                yield from (Remove(segment.part_name(n)) for n in range(len(segment.parts)))
            yield Remove(segment.name)

    # --- the playlist --------------------------------------------------------------------------

    def _playlist(self, *, has_ended: bool) -> bytes:
        # Rounded up: no part may be longer than its target, no hold-back shorter than three.
        target_us = math.ceil(self._part_units * 1_000_000 / self._timescale)
        hold_back_s = max(HOLD_BACK_PARTS * target_us / 1_000_000, self._hold_back_s)
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:9",
            f"#EXT-X-TARGETDURATION:{self._target_s}",
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold_back_s:.6f}",
            f"#EXT-X-PART-INF:PART-TARGET={target_us / 1_000_000:.6f}",
            f"#EXT-X-MEDIA-SEQUENCE:{self._segments[0].number}",
            "#EXT-X-INDEPENDENT-SEGMENTS",
            f'#EXT-X-MAP:URI="{INIT}"',
        ]
        last_whole = self._segments[-1].number - (not self._segments[-1].is_whole)
        for segment in self._segments:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{self._date(segment)}")
            if segment.number > last_whole - PART_SEGMENTS:
                lines += (self._part_line(segment, n) for n in range(len(segment.parts)))
            if segment.is_whole:
                lines += [f"#EXTINF:{self._text(segment.duration)},", segment.name]
        lines.append("#EXT-X-ENDLIST" if has_ended else self._hint())
        return "\n".join([*lines, ""]).encode()

    def _part_line(self, segment: _Segment, index: int) -> str:
        part = segment.parts[index]
        is_file = self._form is Form.FILES
        name = segment.part_name(index) if is_file else segment.name
        line = f'#EXT-X-PART:DURATION={self._text(part.duration)},URI="{name}"'
        if not is_file:
            line += f',BYTERANGE="{part.size}@{part.offset}"'
        return line + (",INDEPENDENT=YES" if part.is_independent else "")

    def _hint(self) -> str:
        """The part that comes next; it may be asked for already."""
        segment = self._segments[-1]
        if segment.is_whole:
            segment = _Segment(segment.number + 1, 0)
        if self._form is Form.FILES:
            name = segment.part_name(len(segment.parts))
            return f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{name}"'
        uri = f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{segment.name}"'
        return f"{uri},BYTERANGE-START={segment.size}"

    def _date(self, segment: _Segment) -> str:
        since_s = (segment.decode_time - self._began_at) / self._timescale
        date = self._starts_at + timedelta(seconds=since_s)
        return date.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _rounded_s(self, units: float) -> int:
        return math.floor(units / self._timescale + 0.5)

    def _text(self, units: int) -> str:
        return f"{units / self._timescale:.6f}"
