"""What a player reads in an MPD."""

from __future__ import annotations

import pytest

from chunkstore.demo.manifest import parse_manifest

MPD = """<?xml version="1.0" encoding="utf-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic"
    availabilityStartTime="2026-01-02T03:04:05.500Z">
  <Period id="0" start="PT0.0S">
    <AdaptationSet id="0" contentType="video">
      <Representation id="0" bandwidth="800000">
        <SegmentTemplate timescale="1000000" duration="2000000" startNumber="1"
          initialization="init-stream$RepresentationID$.m4s"
          media="chunk-stream$RepresentationID$-$Number%05d$.m4s"/>
      </Representation>
    </AdaptationSet>
    <AdaptationSet id="1" contentType="audio">
      <SegmentTemplate duration="4" startNumber="7" initialization="/a/$Bandwidth$.mp4"
        media="$RepresentationID$/$Number$.m4s"/>
      <Representation id="low" bandwidth="64"/>
    </AdaptationSet>
  </Period>
</MPD>"""
BEGAN_S = 1_767_323_045.5


def test_tracks_know_their_segments_and_when_each_begins() -> None:
    video, audio = parse_manifest(MPD.encode(), "/live/a.mpd")
    assert (video.id, video.init_path) == ("0", "/live/init-stream0.m4s")
    assert video.path_of(12) == "/live/chunk-stream0-00012.m4s"
    assert video.number_at(BEGAN_S - 1) == video.number_at(BEGAN_S + 1.9) == 1
    assert video.number_at(BEGAN_S + 2) == 2
    assert (audio.id, audio.init_path) == ("low", "/a/64.mp4")
    assert audio.path_of(12) == "/live/low/12.m4s"
    assert audio.number_at(BEGAN_S + 9) == 9


def test_a_stream_that_is_over_has_nothing_to_follow() -> None:
    static = '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"/>'
    assert parse_manifest(static.encode(), "/a.mpd") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MPD[: len(MPD) // 2], "no XML document"),
        ("", "no XML document"),
        (MPD.replace("SegmentTemplate", "SegmentBase"), "has no SegmentTemplate"),
        (MPD.replace(' duration="4"', ""), "has no duration"),
        (MPD.replace("2026-01", "soon"), "soon"),
    ],
)
def test_what_is_no_such_manifest_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_manifest(text.encode(), "/a.mpd")
