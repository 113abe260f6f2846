"""The playlist reader: against playlists of a model that knows what it wrote."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.playlist import PLAYLIST_BYTES, MediaPlaylist, parse_playlist

LIVE = """#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:4
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,HOLD-BACK=12.0
#EXT-X-PART-INF:PART-TARGET=0.5
#EXT-X-MEDIA-SEQUENCE:266
# a comment
#EXTINF:4.0,
old.mp4
#EXT-X-PART:DURATION=2.0,URI="a, b.0.mp4",INDEPENDENT=YES
#EXT-X-PART:DURATION=2.0,URI="a.1.mp4"
#EXTINF:4.0,
a.mp4
#EXT-X-PART:DURATION=2.0,URI="b.0.mp4"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="b.1.mp4"
"""


def test_a_live_playlist_is_counted() -> None:
    assert parse_playlist(LIVE.encode()) == MediaPlaylist(
        target_s=4,
        part_target_s=0.5,
        can_block_reload=True,
        has_ended=False,
        first_msn=266,
        part_counts=(0, 2),
        open_part_count=1,
    )
    assert parse_playlist(LIVE.replace("\n", "\r\n").encode()) == parse_playlist(LIVE.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("#EXTM3U\n", ""),
        ("#EXTM3U\n", "\ufeff#EXTM3U\n"),
        ("#EXTM3U\n", "#EXTM3U8\n"),
        ("#EXT-X-TARGETDURATION:4\n", ""),
        ("#EXT-X-TARGETDURATION:4", "#EXT-X-TARGETDURATION:4.5"),
        ("#EXT-X-TARGETDURATION:4", "#EXT-X-TARGETDURATION:-4"),
        ("#EXT-X-TARGETDURATION:4", "#EXT-X-TARGETDURATION:4\n#EXT-X-TARGETDURATION:5"),
        ("SEQUENCE:266", "SEQUENCE:two"),
        ("SEQUENCE:266", "SEQUENCE:" + "9" * 20),
        ("PART-TARGET=0.5", "PART-TARGET=0"),
        ("PART-TARGET=0.5", "PART-TARGET=inf"),
        ("PART-TARGET=0.5", "TARGET=0.5"),
        ("#EXTINF:4.0,\nold.mp4", "old.mp4"),
        ("#EXTINF:4.0,\na.mp4\n", "#EXTINF:4.0,\na.mp4\n#EXT-X-MEDIA-SEQUENCE:3\n"),
        ('URI="b.0.mp4"', "URI"),
        ('DURATION=2.0,URI="b.0.mp4"', "DURATION=2.0"),
        ('URI="b.0.mp4"', 'URI="b.0.mp4",URI="c"'),
        ('URI="b.0.mp4"', 'URI="b.0.mp4'),
        ("# a comment", "#EXT-X-STREAM-INF:BANDWIDTH=1\nx.m3u8"),
        ("# a comment", "#EXT-X-SKIP:SKIPPED-SEGMENTS=3"),
    ],
)
def test_what_is_not_certain_is_no_playlist(old: str, new: str) -> None:
    assert old in LIVE
    assert parse_playlist(LIVE.replace(old, new).encode()) is None


def test_what_is_no_text_or_too_long_is_no_playlist() -> None:
    assert parse_playlist(b"") is None
    assert parse_playlist(LIVE.encode() + b"#\xff") is None
    filler = b"#" * (PLAYLIST_BYTES - len(LIVE)) + b"\n"
    assert parse_playlist(LIVE.encode() + filler[1:]) is not None
    assert parse_playlist(LIVE.encode() + filler) is None


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"#EXTM3U\n{text}".encode())
)
def test_any_bytes_are_read_or_refused_without_a_fault(data: bytes) -> None:
    assert parse_playlist(data) is None or data.startswith(b"#EXTM3U")


@dataclass
class Model:
    """A stream as its packager knows it: the parts of every segment, whole or not."""

    first: int
    listed: int  # parts are listed for so many of the last segments
    parts: list[int]  # of each segment; the last one isn't whole
    ended: bool = False
    lines: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Its playlist."""
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{self.first}"]
        lines += ["#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES", "#EXT-X-PART-INF:PART-TARGET=0.5"]
        last = len(self.parts) - 1
        for index, count in enumerate(self.parts):
            if last - index < self.listed:
                lines += [f'#EXT-X-PART:DURATION=0.5,URI="{index}.{at}"' for at in range(count)]
            if index < last:
                lines += ["#EXTINF:2,", f"{index}.mp4"]
        return "\n".join(lines) + "\n"

    def has(self, msn: int, part: int | None) -> bool:
        """Whether it has that, counted part by part."""
        index = msn - self.first
        if index < 0:
            return True
        last = len(self.parts) - 1
        if part is None:
            return index < last
        if index < last and part >= self.parts[index]:
            return self.has(msn + 1, 0)
        return index < last or (index == last and part < self.parts[index])


@given(
    st.builds(
        Model,
        first=st.integers(0, 50),
        listed=st.just(99),
        parts=st.lists(st.integers(1, 4), max_size=5).flatmap(
            lambda whole: st.integers(0, 3).map(lambda count: [*whole, count])
        ),
    ),
    st.integers(0, 60),
    st.none() | st.integers(0, 8),
)
def test_it_has_what_its_packager_says(model: Model, msn: int, part: int | None) -> None:
    playlist = parse_playlist(model.text().encode())
    assert playlist is not None
    assert playlist.has(msn, part) == model.has(msn, part)
    if playlist.has(msn, part):
        assert playlist.why_too_far(msn, part) is None


def test_an_old_segment_whose_parts_are_not_listed_any_more_is_there() -> None:
    playlist = parse_playlist(Model(10, 1, [4, 4, 2]).text().encode())
    assert playlist is not None
    assert playlist.part_counts == (0, 0)
    assert all(playlist.has(msn, part) for msn in (9, 10, 11) for part in (None, 0, 9))


@pytest.mark.parametrize(
    ("msn", "part", "is_allowed"),
    [
        (269, None, True),
        (270, None, False),
        (268, 6, True),  # 3 s of parts of 0.5 s ahead of the one that is there
        (268, 7, False),
        (269, 5, True),
        (269, 6, False),
        (2**63, None, False),
    ],
)
def test_how_far_ahead_one_may_ask(msn: int, part: int | None, is_allowed: bool) -> None:
    playlist = parse_playlist(LIVE.encode())
    assert playlist is not None
    assert not playlist.has(msn, part)
    assert (playlist.why_too_far(msn, part) is None) is is_allowed
