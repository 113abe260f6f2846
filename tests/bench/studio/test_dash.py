"""LL-DASH out of a fragmented MP4: a segment is a group of pictures, the manifest says when."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.studio.dash import DashPackager
from bench.studio.packager import Begin, Publish, StreamError
from tests.bench.studio.boxes import box, init, stream
from tests.bench.studio.shelf import Shelf

START = datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
INIT = box("free", b"avcC", b"\x01\x42\xc0\x1e") + init()
MPD = "{urn:mpeg:dash:schema:mpd:2011}"


def packager() -> DashPackager:
    """Of segments of 5 frames."""
    return DashPackager("a.mpd", START, 0.2)


@given(
    count=st.integers(1, 250),
    start=st.integers(0, 2**40),
    cuts=st.lists(st.integers(0, 20000), max_size=8),
)
def test_whatever_the_pieces_a_segment_is_a_group_of_pictures(
    count: int, start: int, cuts: list[int]
) -> None:
    made = stream(count, gop=5, start=start)
    data = INIT + b"".join(one.data for one in made)
    under_test, shelf = packager(), Shelf()
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    for begin, end in zip([0, *ends], ends, strict=False):
        shelf.carry_out(under_test.feed(data[begin:end]))
    shelf.carry_out(under_test.finish())
    numbers = range(1, 1 + -(-count // 5))
    for number in numbers:
        group = made[5 * number - 5 : 5 * number]
        name = f"chunk-stream0-{number:05d}.m4s"
        assert shelf.objects[name] == b"".join(one.data for one in group)
    assert shelf.objects["init-stream0.m4s"] == INIT
    assert len(shelf.objects) == 1 + len(numbers)
    assert shelf.removed == [f"chunk-stream0-{n:05d}.m4s" for n in numbers[:-40]]


def test_the_manifest_says_when_a_segment_may_be_asked_for() -> None:
    steps = packager().feed(INIT + stream(1, gop=5, start=2000)[0].data)
    (published,) = (step for step in steps if isinstance(step, Publish))
    assert steps.index(published) > steps.index(Begin("chunk-stream0-00001.m4s"))
    tree = ElementTree.fromstring(published.data)
    assert tree.get("availabilityStartTime") == "2030-01-02T03:04:05.678Z"
    (template,) = tree.iter(f"{MPD}SegmentTemplate")
    assert template.get("duration") == "200000"
    assert template.get("availabilityTimeOffset") == "0.160000"  # all but a frame
    assert template.get("presentationTimeOffset") == "2000000"
    (representation,) = tree.iter(f"{MPD}Representation")
    assert representation.get("codecs") == "avc1.42c01e"


def test_what_cannot_be_described_is_refused() -> None:
    with pytest.raises(StreamError, match="avcC"):
        packager().feed(init() + stream(1, gop=5)[0].data)
    with pytest.raises(StreamError, match="keyframe"):
        packager().feed(INIT + b"".join(one.data for one in stream(6, gop=50)))
