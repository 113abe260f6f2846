"""However the bytes of an encoder are cut on their way: the same objects, in the same chunks."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.encoders.recording import Recording, Sent, parse
from tests.encoders.replay import (
    Encoder,
    check_objects,
    cuts_of,
    ends_of,
    followers,
    objects_of,
    pause,
)
from tests.examples import examples
from tests.origin.drive import Answer, Client, Site, frame, run_site

pytestmark = pytest.mark.real

Recordings = Mapping[str, Recording]

INTERLEAVED = ["persistent", "credentials", "large frames"]
"""No two of their connections name the same file, so that any order of them is as good."""
IN_ORDER = ["forgetful", "single", "single forgetful", "POST", "HLS", "HLS of TS"]
IN_ORDER += ["endless TS", "endless MP4"]
HEAVY = examples(30)


@st.composite
def schedules(
    draw: st.DrawFn, recording: Recording, is_interleaved: bool
) -> list[tuple[int, int, bool]]:
    """Which connection sends up to which offset, and whether there is a pause then."""
    at_most = 8 if len(recording.connections) < 5 else 2
    stops = [[*draw(cuts_of(raw, max_size=at_most)), len(raw)] for raw in recording.connections]
    turns = [number for number, of in enumerate(stops) for _ in of]
    if is_interleaved:
        turns = draw(st.permutations(turns))
    pauses = draw(st.sets(st.integers(0, len(turns)), max_size=8))
    following = [iter(of) for of in stops]
    return [
        (number, next(following[number]), index in pauses) for index, number in enumerate(turns)
    ]


@pytest.mark.parametrize("name", [*INTERLEAVED, *IN_ORDER])
@given(data=st.data())
@HEAVY
def test_any_split_gives_the_same_objects(
    recordings: Recordings, name: str, data: st.DataObject
) -> None:
    recording = recordings[name]
    schedule = data.draw(schedules(recording, name in INTERLEAVED))

    async def test(site: Site) -> None:
        readers = await followers(site, recording.connections)
        encoders = [Encoder(site, raw) for raw in recording.connections]
        for number, stop, is_paused in schedule:
            await encoders[number].send(stop)
            if is_paused:
                await pause(encoders)
        known: set[str] = set()
        for encoder in encoders:
            for one, answer in zip(parse(encoder.raw), await encoder.answers(), strict=True):
                judge(one, answer, encoder.ends(one), is_known=one.path in known)
                known.add(one.path)
                if reader := readers.pop(one.path, None):
                    await judge_reader(reader, one, encoder.ends(one))
        assert not readers
        await check_objects(site, objects_of(recording.connections))
        assert not site.origin.metrics.aborts

    run_site(test)


def judge(one: Sent, answer: Answer, ends: list[int], *, is_known: bool) -> None:
    """What an encoder is answered whose every request is fine; some stop at any other status."""
    assert answer.status == (200 if is_known else 201)
    if one.method == "DELETE":
        assert [gone["was_open"] for gone in answer.json["deleted"]] == [False]
    else:
        assert (answer.json["bytes"], answer.json["chunks"]) == (len(one.body), len(ends))


async def judge_reader(reader: Client, one: Sent, ends: list[int]) -> None:
    """A reader who waited for a file got it in the chunks it was sent in."""
    answer = await reader.read()
    assert (answer.status, answer.is_whole, answer.body) == (200, True, one.body)
    if "content-length" not in answer.fields:  # else it came all at once
        assert ends_of(answer) == ends


async def test_byte_by_byte(recordings: Recordings, site: Site) -> None:
    raw = next(raw for raw in recordings["single"].connections if b"chunk-stream1-00001" in raw)
    [reader] = (await followers(site, [raw])).values()
    encoder = Encoder(site, raw)
    for stop in range(1, len(raw) + 1):
        await encoder.client.send(encoder.raw[stop - 1 : stop])
        await wait_all_tasks_blocked()
    [one] = parse(raw)
    [answer] = await encoder.answers()
    judge(one, answer, one.ends, is_known=False)
    await judge_reader(reader, one, one.ends)


async def test_a_chunk_is_shown_at_its_last_byte_not_at_its_line_end(
    recordings: Recordings, site: Site
) -> None:
    [segment] = recordings["persistent"].named("chunk-stream0-00001.m4s")
    encoder = Encoder(site, segment_alone(recordings))
    at = segment.body_start - segment.start
    await encoder.send(at)
    shown = 0
    for chunk in segment.chunks:  # size, data and line end, each in a send of its own
        shown += len(chunk)
        at += len(frame(chunk))
        await encoder.send(at - len(chunk) - 2)
        await encoder.send(at - 2)
        head = await site.ask("HEAD", segment.path)
        assert head.fields["chunkstore-offset"] == str(shown)
        await encoder.send(at)


def segment_alone(recordings: Recordings) -> bytes:
    """The bytes of the first video segment's request."""
    video = recordings["persistent"].connections[0]
    _, segment, *_ = parse(video)
    return bytes(video[segment.start : segment.end])


async def test_a_player_joins_an_endless_upload_at_its_first_byte(
    recordings: Recordings, site: Site
) -> None:
    for name in ("endless TS", "endless MP4"):
        [raw] = recordings[name].connections
        [one] = parse(raw)
        encoder = Encoder(site, raw)
        await encoder.send(len(raw) // 2)
        reader = await site.follow(one.path)
        await encoder.send()
        answer = await reader.rest()
        assert (answer.is_whole, answer.body) == (True, one.body)
        assert set(one.ends) <= set(ends_of(answer))


async def test_expect_is_answered_before_the_body_of_every_request(
    recordings: Recordings, site: Site
) -> None:
    for raw in recordings["credentials"].connections:
        encoder = Encoder(site, raw)
        for one in parse(raw):
            await encoder.send(one.body_start)
            go_on = await encoder.client.stream.receive_some()
            assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
            await encoder.send(one.end)
            assert (await encoder.client.read("PUT")).status in (200, 201)
    await check_objects(site, objects_of(recordings["credentials"].connections))
