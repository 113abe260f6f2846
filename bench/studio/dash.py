"""Makes LL-DASH of a fragmented MP4: what ffmpeg's own muxer does, for a publisher that retries.

Segments by number, each an upload that grows by a fragment a frame. The manifest is PUT once: it
says when the stream began, how long a segment is, and that it may be asked for once it has a frame.

Source: ISO/IEC 23009-1, sections 5.3.9.4 (templates) and 5.3.9.5.3 (availability).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from bench.studio.fmp4 import Cutter, Fragment, Init
from bench.studio.packager import Append, Begin, End, Publish, Remove, Step, Store, StreamError

__all__ = ["DashPackager"]

_INIT = "init-stream0.m4s"
_KEPT_SEGMENTS = 40

_MANIFEST = """<?xml version="1.0" encoding="utf-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011"
     type="dynamic" minimumUpdatePeriod="PT500S" availabilityStartTime="{starts_at}"
     publishTime="{starts_at}" timeShiftBufferDepth="PT20S" maxSegmentDuration="PT{segment_s:g}S"
     minBufferTime="PT{segment_s:g}S">
  <Period id="0" start="PT0S">
    <AdaptationSet id="0" contentType="video" startWithSAP="1" segmentAlignment="true">
      <Representation id="0" mimeType="video/mp4" codecs="{codecs}" bandwidth="1000000">
        <SegmentTemplate timescale="1000000" duration="{segment_us}" startNumber="1"
                         availabilityTimeOffset="{offset_s:.6f}" availabilityTimeComplete="false"
                         presentationTimeOffset="{began_us}"
                         initialization="init-stream$RepresentationID$.m4s"
                         media="chunk-stream$RepresentationID$-$Number%05d$.m4s"/>
      </Representation>
    </AdaptationSet>
  </Period>
</MPD>
"""


class DashPackager:
    """Takes the bytes of a stream, gives the steps that make it LL-DASH.

    Args:
        manifest: its name.
        starts_at: when the first fragment's picture was taken.
        segment_s: duration of a segment; each has to begin with a keyframe.
    """

    def __init__(self, manifest: str, starts_at: datetime, segment_s: float) -> None:
        self._manifest = manifest
        self._starts_at = starts_at.astimezone(UTC)
        self._segment_s = segment_s
        self._cutter = Cutter()
        self._init = Init(b"", 1)
        self._began_at = 0
        self._number = 0  # of the segment that is open; 0: none

    def feed(self, data: bytes | bytearray | memoryview) -> list[Step]:
        """Take some bytes of the stream, in any pieces; the steps that they are cause for.

        Raises:
            Mp4Error: it is no fragmented MP4 with one track.
            StreamError: a segment doesn't begin with a keyframe.
        """
        steps: list[Step] = []
        for found in self._cutter.feed(data):
            if isinstance(found, Init):
                self._init = found
                steps.append(Store(_INIT, found.data))
            else:
                steps += self._add(found)
        return steps

    def finish(self) -> list[Step]:
        """The stream has ended."""
        return [End(_name(self._number))] if self._number else []

    def _add(self, fragment: Fragment) -> Iterator[Step]:
        if not self._number:
            self._began_at = fragment.decode_time
        since_s = (fragment.decode_time - self._began_at) / self._init.timescale
        number = 1 + int(since_s / self._segment_s + 1e-6)
        if number != self._number:
            if not fragment.is_independent:
                raise StreamError("a segment has to begin with a keyframe; is the GOP as long?")
            if self._number:
                yield End(_name(self._number))
            yield Begin(_name(number))
            if not self._number:
                yield Publish(self._manifest, self._text(fragment.duration).encode())
            self._number = number
            if number > _KEPT_SEGMENTS:
                yield Remove(_name(number - _KEPT_SEGMENTS))
        yield Append(_name(number), fragment.data)

    def _text(self, frame_units: int) -> str:
        timescale = self._init.timescale
        return _MANIFEST.format(
            starts_at=self._starts_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            segment_s=self._segment_s,
            segment_us=round(self._segment_s * 1e6),
            offset_s=self._segment_s - frame_units / timescale,
            began_us=round(self._began_at / timescale * 1e6),
            codecs=_codecs(self._init.data),
        )


def _name(number: int) -> str:
    return f"chunk-stream0-{number:05d}.m4s"


def _codecs(init: bytes) -> str:
    """RFC 6381, of H.264: profile, constraints and level stand behind avcC's version."""
    at = init.find(b"avcC")
    if at < 0:
        raise StreamError("no avcC in the init segment: only H.264 can be described")
    return f"avc1.{init[at + 5 : at + 8].hex()}"
