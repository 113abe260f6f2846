"""The cutter of fragmented MP4: any pieces, the same fragments; what is damaged is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.studio.fmp4 import BOX_BYTES, Cutter, Fragment, Init, Mp4Error
from tests.bench.studio.boxes import NOT_SYNC, SYNC, Made, box, init, stream

BY_DEFAULT = 40

made_fragments = st.builds(
    Made,
    decode_time=st.integers(0, 2**64 - 1),
    durations=st.integers(1, 2**20).flatmap(
        lambda one: st.integers(1, 4).map(lambda count: (one,) * count)
    ),
    is_independent=st.booleans(),
    payload=st.binary(max_size=40),
    says=st.sampled_from(["tfhd", "trun", "first"]),
    has_front=st.booleans(),
)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The data, cut at these places."""
    edges = [0, *sorted(one % (len(data) + 1) for one in cuts), len(data)]
    return (data[start:stop] for start, stop in zip(edges, edges[1:], strict=False))


@given(st.lists(made_fragments, max_size=5), st.lists(st.integers(0), max_size=12))
def test_any_pieces_give_the_same_fragments(made: list[Made], cuts: list[int]) -> None:
    head, tail = init(90_000), box("mfra", bytes(12))
    data = head + b"".join(one.data for one in made) + tail
    cutter = Cutter()
    found = [one for piece in pieces(data, cuts) for one in cutter.feed(piece)]
    assert found == [
        Init(head, 90_000),
        *(Fragment(one.data, one.decode_time, one.duration, one.is_independent) for one in made),
    ]


def test_a_fragment_is_there_with_its_last_byte() -> None:
    cutter = Cutter()
    cutter.feed(init())
    for one in stream(3, gop=2):
        assert cutter.feed(one.data[:-1]) == []
        assert len(cutter.feed(one.data[-1:])) == 1


@pytest.mark.parametrize("flags", [SYNC, NOT_SYNC])
def test_the_tracks_defaults_hold_where_a_fragment_says_nothing(flags: int) -> None:
    cutter = Cutter()
    cutter.feed(init(duration=BY_DEFAULT, flags=flags, version=1))
    [found] = cutter.feed(Made(5, (BY_DEFAULT,) * 3, True, says="trex").data)
    assert isinstance(found, Fragment)
    assert (found.decode_time, found.duration) == (5, 3 * BY_DEFAULT)
    assert found.is_independent is (flags == SYNC)


FRAME = stream(1, gop=1)[0].data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\0\0\0\7moov", "a box of 7 bytes"),
        (b"\0\0\0\1mdat", "a box of 1 bytes"),
        ((BOX_BYTES + 1).to_bytes(4) + b"mdat", "a box of 16777217 bytes"),
        (FRAME, "moof where"),
        (box("mdat", b"x"), "without a moof"),
        (init() + box("mdat", b"x"), "without a moof"),
        (init() + init(), "second moov"),
        (init() + FRAME[: -len(box("mdat", b"0:"))] * 2, "moof where"),
        (init() + box("free") * 17, "no media"),
        (init(0), "timescale of 0"),
        (box("moov"), "one trak box, found 0"),
        (box("moov", b"\0\0\0\7trak"), "7 bytes in one that has 8"),
        (box("moov", b"\0\0\0\7"), "too short"),
        (init().replace(b"mvex", b"free"), "one mvex box, found 0"),
        (init() + FRAME.replace(b"tfdt", b"free"), "one tfdt box, found 0"),
        (init() + FRAME.replace(b"trun", b"free"), "lasts no time"),
        (init() + Made(0, (0,), True).data, "lasts no time"),
    ],
)
def test_what_is_damaged_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(Mp4Error, match=why):
        Cutter().feed(data)


@given(st.binary(max_size=120), st.integers(0, 500), st.integers(0, 500))
def test_any_damage_is_refused_or_read_without_a_fault(noise: bytes, at: int, left: int) -> None:
    data = init() + b"".join(one.data for one in stream(2, gop=1))
    try:
        Cutter().feed(data[:at] + noise + data[at + left :])
    except Mp4Error:
        pass
