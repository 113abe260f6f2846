"""The packager: what it lists is there, what the origin reads of it is what it closed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.studio.packager import Begin, End, Form, Packager, Publish, Step, StreamError
from chunkstore.playlist import MediaPlaylist, parse_playlist
from tests.bench.studio.boxes import Made, init, stream
from tests.bench.studio.shelf import Shelf, parts_of
from tests.bench.studio.test_fmp4 import pieces

START = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
FORMS = pytest.mark.parametrize("form", Form)

LISTED = """\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:1
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.240000
#EXT-X-PART-INF:PART-TARGET=0.080000
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:04:05.000Z
"""


def packager(form: Form, **changes: float) -> Packager:
    """Of segments of 5 frames, in parts of 2, 2 and 1."""
    times = {"segment_s": 0.2, "part_s": 0.1, **changes}
    window_segments = int(times.pop("window_segments", 3))
    return Packager(form, START, window_segments=window_segments, **times)


def parse(playlist: bytes) -> MediaPlaylist:
    """As the origin reads it."""
    found = parse_playlist(playlist)
    assert found is not None, playlist.decode()
    return found


def steps_of(form: Form, made: list[Made], **changes: float) -> list[Step]:
    """Of a whole stream that has ended."""
    under_test = packager(form, **changes)
    data = init() + b"".join(one.data for one in made)
    return [*under_test.feed(data), *under_test.finish()]


def test_a_playlist_of_ranges() -> None:
    frames = stream(7, gop=5)
    ends = [sum(len(one.data) for one in frames[:n]) for n in range(6)]
    shelf = Shelf()
    shelf.carry_out(packager(Form.RANGES).feed(init() + b"".join(one.data for one in frames)))
    first, _, third, last = (text.decode() for text, _ in shelf.versions)
    assert first == LISTED + (
        f'#EXT-X-PART:DURATION=0.080000,URI="seg0.m4s",BYTERANGE="{ends[2]}@0",INDEPENDENT=YES\n'
        f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="seg0.m4s",BYTERANGE-START={ends[2]}\n'
    )
    assert third.endswith(
        f'#EXT-X-PART:DURATION=0.040000,URI="seg0.m4s",BYTERANGE="{ends[5] - ends[4]}@{ends[4]}"\n'
        "#EXTINF:0.200000,\nseg0.m4s\n"
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="seg1.m4s",BYTERANGE-START=0\n'
    )
    assert "seg0.m4s\n#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:04:05.200Z\n#EXT-X-PART:" in last


def test_a_playlist_of_files() -> None:
    shelf = Shelf()
    shelf.carry_out(
        packager(Form.FILES).feed(init() + b"".join(one.data for one in stream(5, gop=5)))
    )
    _, second, third = (text.decode() for text, _ in shelf.versions)
    assert second == LISTED + (
        '#EXT-X-PART:DURATION=0.080000,URI="seg0.0.m4s",INDEPENDENT=YES\n'
        '#EXT-X-PART:DURATION=0.080000,URI="seg0.1.m4s"\n'
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="seg0.2.m4s"\n'
    )
    assert third.endswith(
        '#EXT-X-PART:DURATION=0.040000,URI="seg0.2.m4s"\n'
        "#EXTINF:0.200000,\nseg0.m4s\n"
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="seg1.0.m4s"\n'
    )


@FORMS
def test_a_part_is_listed_with_its_last_fragment(form: Form) -> None:
    under_test = packager(form)
    under_test.feed(init())
    listed = [
        sum(isinstance(step, Publish) for step in under_test.feed(one.data))
        for one in stream(10, gop=5)
    ]
    assert listed == [0, 1, 0, 1, 1] * 2


@given(
    form=st.sampled_from(Form),
    frames=st.integers(0, 60),
    gop=st.integers(1, 8),
    part_frames=st.integers(1, 8),
    duration=st.sampled_from([1, 33, 40, 1001]),
    window=st.integers(3, 5),
    start=st.integers(0, 2**40),
    cuts=st.lists(st.integers(0), max_size=8),
)
def test_whatever_the_pieces_all_that_is_listed_is_there(
    form: Form,
    frames: int,
    gop: int,
    part_frames: int,
    duration: int,
    window: int,
    start: int,
    cuts: list[int],
) -> None:
    made = stream(frames, gop=gop, duration=duration, start=start)
    data = init(1000) + b"".join(one.data for one in made)
    under_test = packager(
        form,
        segment_s=gop * duration / 1000,
        part_s=min(part_frames, gop) * duration / 1000,
        window_segments=window,
    )
    steps = [step for piece in pieces(data, cuts) for step in under_test.feed(piece)]
    whole = packager(
        form,
        segment_s=gop * duration / 1000,
        part_s=min(part_frames, gop) * duration / 1000,
        window_segments=window,
    )
    assert steps == whole.feed(data)
    shelf = Shelf()
    shelf.carry_out([*steps, *under_test.finish()])
    check_segments(shelf, made, gop)
    for playlist, sizes in shelf.versions:
        check_playlist(playlist, sizes, shelf, form, window)
    check_reader(shelf, made, gop, min(part_frames, gop))


def check_segments(shelf: Shelf, made: list[Made], gop: int) -> None:
    """Every segment is its group of pictures, to the byte."""
    for number in range(-(-len(made) // gop)):
        group = made[number * gop : (number + 1) * gop]
        assert shelf.objects[f"seg{number}.m4s"] == b"".join(one.data for one in group)
    assert len(shelf.whole) + len(shelf.removed) == len(shelf.objects) - 1  # all but the init


def check_playlist(
    playlist: bytes, sizes: dict[str, int], shelf: Shelf, form: Form, window: int
) -> None:
    """What it lists is there, follows on one another and is no longer than promised."""
    read = parse(playlist)
    assert read.can_block_reload
    assert len(read.part_counts) <= window
    assert read.part_target_s is not None
    text = playlist.decode()
    [hold_back] = re.findall(r"PART-HOLD-BACK=([\d.]+)", text)
    assert float(hold_back) >= 3 * read.part_target_s - 1e-9
    for seconds in re.findall(r"#EXTINF:([\d.]+),", text):
        assert int(float(seconds) + 0.5) <= read.target_s
    ends: dict[str, int] = {}
    for part in parts_of(playlist):
        assert part.duration_s <= read.part_target_s
        assert sizes[part.uri] >= part.stop
        if form is Form.RANGES:
            assert part.start == ends.get(part.uri, 0) < part.stop
            ends[part.uri] = part.stop
        else:
            assert part.uri in shelf.whole | set(shelf.removed)
    for uri in re.findall(r"^\w.*", text, re.MULTILINE):
        assert form is Form.FILES or ends.get(uri, sizes[uri]) == sizes[uri]
        assert uri in sizes
    assert read.has_ended is ("PRELOAD-HINT" not in text)


def check_reader(shelf: Shelf, made: list[Made], gop: int, part_frames: int) -> None:
    """The origin's reader has a part from the first version that was published with it."""
    for version, (playlist, _) in enumerate(shelf.versions):
        # Counted from the stream alone: a version for each part, and one more for the end.
        parts_per_segment = -(-gop // part_frames)
        tail = -(-(len(made) % gop) // part_frames)
        closed = min(version + 1, len(made) // gop * parts_per_segment + tail)
        msn, part = divmod(closed - 1, parts_per_segment)
        read = parse(playlist)
        assert read.has(msn, part)
        if not read.has_ended:
            is_last = part == parts_per_segment - 1
            assert not (read.has(msn + 1, 0) if is_last else read.has(msn, part + 1))
            assert read.has(msn, None) is is_last
            assert read.why_too_far(msn + 1, 0) is None


@FORMS
def test_the_window_slides_and_what_left_it_is_removed_later(form: Form) -> None:
    shelf = Shelf()
    shelf.carry_out(steps_of(form, stream(5 * 12, gop=5)))
    read = parse(shelf.versions[-1][0])
    assert (read.first_msn, read.part_counts, read.has_ended) == (9, (3, 3, 3), True)
    per_segment = 1 if form is Form.RANGES else 4
    assert len(shelf.removed) == 5 * per_segment
    assert shelf.removed[per_segment - 1 :: per_segment] == [f"seg{n}.m4s" for n in range(5)]


def test_parts_are_listed_for_three_whole_segments_and_the_open_one() -> None:
    shelf = Shelf()
    shelf.carry_out(
        packager(Form.RANGES, window_segments=5).feed(
            init() + b"".join(one.data for one in stream(27, gop=5))
        )
    )
    read = parse(shelf.versions[-1][0])
    assert (read.part_counts, read.open_part_count) == ((0, 0, 3, 3, 3), 1)


@FORMS
def test_a_stream_that_ends_in_mid_part_is_closed(form: Form) -> None:
    steps = steps_of(form, stream(8, gop=5))
    read = parse([step for step in steps if isinstance(step, Publish)][-1].data)
    assert (read.part_counts, read.has_ended) == ((3, 2), True)
    begun = {step.name for step in steps if isinstance(step, Begin)}
    assert begun == {step.name for step in steps if isinstance(step, End)}


def test_a_stream_without_a_frame_has_no_playlist() -> None:
    under_test = packager(Form.RANGES)
    assert under_test.finish() == []
    assert len(under_test.feed(init())) == 1
    assert under_test.finish() == []


def test_the_hold_back_may_be_longer_and_dates_are_utc() -> None:
    local = START.astimezone(timezone(timedelta(hours=5)))
    under_test = Packager(Form.RANGES, local, segment_s=0.2, part_s=0.1, hold_back_s=1.5)
    steps = under_test.feed(init() + b"".join(one.data for one in stream(5, gop=5)))
    text = [step for step in steps if isinstance(step, Publish)][-1].data.decode()
    assert "PART-HOLD-BACK=1.500000" in text
    assert "PROGRAM-DATE-TIME:2030-01-02T03:04:05.000Z" in text


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (stream(6, gop=6), "begin with a keyframe"),
        ([Made(0, (40,), False)], "begin with a keyframe"),
        ([*stream(1, gop=5), Made(40, (90,), False)], "fragment of 0.090000 s; parts of 0.080000"),
    ],
)
def test_a_stream_that_would_make_the_playlist_a_lie_is_refused(made: list[Made], why: str) -> None:
    with pytest.raises(StreamError, match=why):
        steps_of(Form.RANGES, made)


def test_a_segment_longer_than_its_target_is_refused() -> None:
    made = [*stream(9, gop=9, duration=100), Made(900, (800,), False)]
    with pytest.raises(StreamError, match=r"a segment of 1.700000 s; 1 s were promised"):
        steps_of(Form.RANGES, made, segment_s=1, part_s=0.9)


@pytest.mark.parametrize(
    "changes", [{"part_s": 0}, {"part_s": 0.3}, {"window_segments": 2}], ids=str
)
def test_settings_out_of_bounds(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 < part_s"):
        packager(Form.RANGES, **changes)
