"""What ffmpeg sends: what the replays of its recordings are taken to be replays of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest

from tests.encoders.recording import Recording, Sent, parse

pytestmark = pytest.mark.real

Recordings = Mapping[str, Recording]

DASH = ["persistent", "forgetful", "single", "single forgetful", "POST", "credentials"]
WHOLE = [*DASH, "unanswered", "answered 500", "large frames", "HLS", "HLS of TS"]
WHOLE += ["endless TS", "endless MP4"]
STYP_BYTES = 24
BUFFER_BYTES = 32 * 1024


def boxes(data: bytes) -> Iterator[str]:
    """The types of the MP4 boxes that follow one another in `data`; they must fill it."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8].decode("ascii")
        assert size >= 8
        at += size
    assert at == len(data)


@pytest.mark.parametrize("name", WHOLE)
def test_every_request_is_whole_and_without_a_type(recordings: Recordings, name: str) -> None:
    recording = recordings[name]
    assert recording.exit_code == 0
    for raw in recording.connections:
        sent = parse(raw)
        assert sent[-1].end == len(raw)
        for one in sent:
            assert one.is_whole
            assert one.fields["transfer-encoding"] == "chunked"
            assert "content-type" not in one.fields


def test_post_unless_told_to_put(recordings: Recordings) -> None:
    assert {one.method for one in recordings["POST"].sent} == {"POST"}
    assert {one.method for one in recordings["single"].sent} == {"PUT"}


@pytest.mark.parametrize("name", ["forgetful", "single forgetful"])
def test_deletes_are_chunked_and_apart(recordings: Recordings, name: str) -> None:
    apart = [raw for raw in recordings[name].connections if raw.startswith(b"DELETE ")]
    assert len(apart) == (1 if name == "forgetful" else 5)
    deletes = [one for raw in apart for one in parse(raw)]
    assert {(one.method, one.body) for one in deletes} == {("DELETE", b"")}
    assert recordings[name].named("", "DELETE") == deletes  # none on another connection


def test_a_chunk_comes_in_three_sends(recordings: Recordings) -> None:
    seen = {
        re.sub(rb"^[0-9a-f]+\r\n$", b"size", read.data)
        for recording in recordings.values()
        for read in recording.reads
    }
    assert {b"size", b"\r\n"} <= seen
    assert any(re.match(rb"\0\0..moof(?s:.+)[^\n]$", data) for data in seen)


@pytest.mark.parametrize("name", [*DASH, "answered 500"])
def test_a_chunk_is_a_frame_behind_a_first_one_of_24_bytes(
    recordings: Recordings, name: str
) -> None:
    segments = [one for one in recordings[name].sent if "chunk-" in one.path and one.chunks]
    for one in segments:
        assert len(one.chunks[0]) == STYP_BYTES
        assert [*boxes(one.chunks[0])] == ["styp"]
        for chunk in one.chunks[2:]:
            assert [*boxes(chunk)] == ["moof", "mdat"]
        assert [*boxes(one.chunks[1])][-2:] == ["moof", "mdat"]
    assert len(segments) >= 5


def test_large_frames_split_at_32_kib(recordings: Recordings) -> None:
    [segment] = recordings["large frames"].named("chunk-stream0-00001.m4s")
    sizes = [len(chunk) for chunk in segment.chunks]
    assert max(sizes) == BUFFER_BYTES
    assert sizes.count(BUFFER_BYTES) > 10
    assert {*boxes(segment.body)} >= {"moof", "mdat"}


def test_order_of_a_start_and_manifests_behind_it(recordings: Recordings) -> None:
    recording = recordings["single"]
    names = [one.path.removeprefix("/live/") for one in recording.sent]
    first = [re.sub(r"stream\d", "stream", name) for name in names[:4]]
    assert first == ["init-stream.m4s"] * 2 + ["chunk-stream-00001.m4s", "live.mpd"]
    segments = [name for name in names if name.startswith("chunk-")]
    # As each segment is opened, and once more at the end.
    assert names.count("live.mpd") == len(segments) + 1
    assert all(b != "live.mpd" or a != b for a, b in pairwise(names[:-1]))


def test_a_connection_for_each_stream_and_one_for_the_manifest(recordings: Recordings) -> None:
    kinds = [
        {re.sub(r".*(stream\d).*", r"\1", one.path) for one in parse(raw)}
        for raw in recordings["persistent"].connections
    ]
    assert kinds == [{"stream0"}, {"stream1"}, {"/live/live.mpd"}]


@pytest.mark.parametrize("name", ["unanswered", "answered 500"])
def test_no_answer_is_waited_for_and_no_status_is_read(recordings: Recordings, name: str) -> None:
    # So requests are pipelined, each right behind the last chunk of the one before.
    asked, other = (
        [(one.method, one.path, len(one.body)) for one in recordings[run].sent]
        for run in ("persistent", name)
    )
    assert asked == other


def test_a_connection_closed_in_mid_segment_makes_the_persistent_mode_exit(
    recordings: Recordings,
) -> None:
    recording = recordings["closed"]
    assert recording.exit_code not in (0, None)
    video = recording.named("chunk-stream0-00001.m4s")
    assert [one.is_whole for one in video] == [False]  # and it was not sent again
    assert not recording.named("chunk-stream0-00002.m4s")
    # The other mode goes on, without that segment.
    other = recordings["single closed"]
    assert other.exit_code == 0
    assert [one.is_whole for one in other.named("chunk-stream0-00001.m4s")] == [False]
    assert [one.is_whole for one in other.named("chunk-stream0-00002.m4s")] == [True]


def test_credentials_add_expect_to_every_request(recordings: Recordings) -> None:
    sent = recordings["credentials"].sent
    assert {one.fields.get("expect") for one in sent} == {"100-continue"}
    assert not any("expect" in one.fields for one in recordings["persistent"].sent)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_the_last_chunk_is_sent_but_for_sigkill(recordings: Recordings, name: str) -> None:
    recording = recordings[name]
    is_killed = name == "SIGKILL"
    assert (recording.exit_code == -9) is is_killed
    [video] = recording.named("chunk-stream0-00001.m4s")
    assert video.is_whole is not is_killed
    assert all(one.is_whole for one in recording.sent) is not is_killed


def test_hls_segments_come_in_a_burst_and_init_mp4_waits_for_the_first(
    recordings: Recordings,
) -> None:
    reads = recordings["HLS"].reads
    init = [index for index, read in enumerate(reads) if read.connection == 0]
    assert reads[0].data.endswith(b"\r\n\r\n")  # the head, and nothing of the body yet
    assert len(init) == 2
    burst = [one for one in recordings["HLS"].sent if re.search(r"\d\.m4s$", one.path)]
    assert [len(one.chunks) for one in burst] == [2, 2, 2]
    assert {len(one.chunks[0]) for one in burst} == {BUFFER_BYTES}
    # What is left of init.mp4 comes when the first segment does, and nothing before.
    assert {read.connection for read in reads[1 : init[1]]} <= {1}


@pytest.mark.parametrize("name", ["endless TS", "endless MP4"])
def test_ts_and_mp4_are_one_request(recordings: Recordings, name: str) -> None:
    [sent] = recordings[name].sent
    assert len(sent.chunks) > 50


def test_what_is_not_whole_is_read_as_far_as_it_goes() -> None:
    head = b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + head + b"1\r\nx\r\n0\r\n\r\n"
    seen: dict[tuple[int, int, bool], Sent] = {}
    for stop in range(len(raw) + 1):
        sent = parse(raw[:stop])
        if sent:
            seen.setdefault((len(sent), len(sent[-1].body), sent[-1].is_whole), sent[-1])
    assert [*seen] == [
        *[(1, size, False) for size in range(6)],
        (1, 5, True),
        (2, 0, False),
        (2, 1, False),
        (2, 1, True),
    ]
    assert [one.ends for one in parse(raw)] == [[3, 5], [1]]
