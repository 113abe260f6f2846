"""Encoders that stall, die and come back, at any byte of what they send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.encoders.recording import Recording, Sent, parse
from tests.encoders.replay import (
    MANIFESTS,
    PAUSE_S,
    Encoder,
    check_objects,
    cuts_of,
    ends_of,
    followers,
    objects_of,
    offsets_of,
)
from tests.examples import examples
from tests.origin.conftest import OpenSite
from tests.origin.drive import Client, Site, run_site

pytestmark = pytest.mark.real

Recordings = Mapping[str, Recording]

LONG = ["persistent", "large frames", "HLS of TS", "endless MP4"]
MANY = examples(50)
UPLOAD_IDLE_S = 20.0
TICK_S = 0.5
"""Deadlines are looked after so often."""
GRACE_S = 1.0


class Break(NamedTuple):
    """Where an encoder breaks off.

    Attributes:
        connection: which one does.
        at: the offset in its bytes.
        cuts: where they are cut before it.
    """

    connection: int
    at: int
    cuts: list[int]


@st.composite
def breaks(draw: st.DrawFn, recording: Recording, *, amid_body: bool = False) -> Break:
    """Any offset of any connection; or only those behind a request's head and before its end."""
    connection = draw(st.integers(0, len(recording.connections) - 1))
    raw = recording.connections[connection]
    at = draw(offsets_of(raw))
    if amid_body:
        amid = next(one for one in parse(raw) if at < one.end or one.end == len(raw))
        at = min(max(at, amid.body_start), amid.end - 1)
    return Break(connection, at, draw(cuts_of(raw, max_size=4)))


async def judge_cut(reader: Client, one: Sent) -> None:
    """A reader of an upload that broke off: a beginning of it, and no end."""
    answer = await reader.read()
    if answer.status == 404:
        assert len(one.chunks) <= 1  # no byte was ever shown: it waited
        return
    assert (answer.status, answer.is_whole) == (200, False)
    assert one.body.startswith(answer.body)
    assert len(answer.body) >= [0, *one.ends][-2]  # all but the chunk that lacked bytes


async def judge_broken(site: Site, sent: list[Sent], readers: dict[str, Client]) -> None:
    """What was whole is whole, what wasn't is gone, with all its readers."""
    for one in sent:
        reader = readers.pop(one.path, None)
        if reader is not None and one.is_whole:
            answer = await reader.read()
            assert (answer.status, answer.is_whole, answer.body) == (200, True, one.body)
        elif reader is not None:
            await judge_cut(reader, one)


@pytest.mark.parametrize("name", LONG)
@given(data=st.data())
@MANY
def test_killed_at_any_byte(recordings: Recordings, name: str, data: st.DataObject) -> None:
    connection, at, cuts = data.draw(breaks(recordings[name]))
    raw = recordings[name].connections[connection]
    sent = parse(raw[:at])

    async def test(site: Site) -> None:
        readers = await followers(site, [raw[:at]])
        encoder = Encoder(site, raw)
        await encoder.send_cut(cuts, at)
        await encoder.hang_up()
        await judge_broken(site, sent, readers)
        await check_objects(site, objects_of([raw[:at]]))
        amid_body = [one for one in sent if not one.is_whole]
        assert site.origin.metrics.aborts == ({"writer_gone": 1} if amid_body else {})
        assert not site.origin.metrics.endings["failed"]

    run_site(test)


@pytest.mark.parametrize("name", LONG)
@given(data=st.data(), gap_s=st.sampled_from([0.0, 0.5, 0.9, 1.1]))
@MANY
def test_killed_and_started_again(
    recordings: Recordings, name: str, data: st.DataObject, gap_s: float
) -> None:
    """The same bytes again, from the first on: who reads what broke off goes on in the retry."""
    connection, at, cuts = data.draw(breaks(recordings[name], amid_body=True))
    raw = recordings[name].connections[connection]
    [*_, broken] = parse(raw[:at])
    whole = next(one for one in parse(raw) if one.start == broken.start)

    async def test(site: Site) -> None:
        first = Encoder(site, raw)
        await first.send(broken.body_start)
        client = site.connect()
        await client.request("GET", broken.path, "Prefer: wait=5")
        await first.send_cut(cuts, at)
        await trio.sleep(PAUSE_S)  # all that came is shown
        await first.hang_up()
        await trio.sleep(gap_s)
        await Encoder(site, raw).send_cut(cuts)
        answer = await client.read()
        assert answer.status == 200
        if broken.path.endswith(MANIFESTS):
            assert answer.is_whole  # never shown in part
        elif broken.body and gap_s > GRACE_S:
            assert answer.is_whole is False
            assert broken.body.startswith(answer.body)
        else:
            assert (answer.is_whole, answer.body) == (True, whole.body)
            if "content-length" not in answer.fields:
                assert set(whole.ends) <= set(ends_of(answer))
        await check_objects(site, objects_of([raw]))

    run_site(test)


@pytest.mark.parametrize("name", LONG)
@given(data=st.data(), stall_s=st.sampled_from([1.0, 19.0, 19.9, 20.0 + 2 * TICK_S, 60.0]))
@MANY
def test_stalled_at_any_byte_of_a_body(
    recordings: Recordings, name: str, data: st.DataObject, stall_s: float
) -> None:
    connection, at, cuts = data.draw(breaks(recordings[name], amid_body=True))
    raw = recordings[name].connections[connection]
    sent = parse(raw[:at])

    async def test(site: Site) -> None:
        encoder = Encoder(site, raw)
        await encoder.send_cut(cuts, at)
        readers = await followers(site, [raw[:at]])
        await trio.sleep(stall_s)
        if stall_s < UPLOAD_IDLE_S:
            await encoder.send_cut(cuts)
            assert {answer.status for answer in await encoder.answers()} <= {200, 201}
            await check_objects(site, objects_of([raw]))
            assert not site.origin.metrics.aborts
            return
        now_s = trio.current_time()
        statuses = [answer.status for answer in await encoder.answers(len(sent))]
        assert trio.current_time() == now_s  # they are there already
        assert statuses[-1] == 408
        assert set(statuses[:-1]) <= {200, 201}
        assert await encoder.client.is_closed()
        await judge_broken(site, sent, readers)
        await check_objects(site, objects_of([raw[:at]]))
        assert site.origin.metrics.aborts == {"idle": 1}

    run_site(test)


async def test_a_minute_between_the_updates_of_a_manifest(
    recordings: Recordings, site: Site
) -> None:
    encoder = Encoder(site, recordings["persistent"].connections[2])
    for one in parse(encoder.raw):
        await trio.sleep(60)
        await encoder.send(one.end)
        assert (await site.get(one.path)).body == one.body
    assert [answer.status for answer in await encoder.answers()] == [201] + [200] * 7


@pytest.mark.parametrize(
    ("idle", "stall_s", "status"),
    [(None, 6, 201), (None, 19, 201), (None, 21, 408), ("3s", 6, 408), ("60s", 50, 201)],
)
async def test_init_mp4_waits_for_its_segment_as_long_as_the_policy_lets_it(
    recordings: Recordings, open_site: OpenSite, idle: str | None, stall_s: float, status: int
) -> None:
    policies = [] if idle is None else [{"match": "*/init.mp4", "upload_idle": idle}]
    site = await open_site(policies=policies)
    encoder = Encoder(site, recordings["HLS"].connections[0])
    [init] = parse(encoder.raw)
    await encoder.send(init.body_start)
    await trio.sleep(stall_s - 1)
    reader = site.connect()
    await reader.request("GET", init.path)  # waits: somebody is at it
    await trio.sleep(1)
    if status == 201:
        await encoder.send()
    assert [answer.status for answer in await encoder.answers()] == [status]
    answer = await reader.read()
    assert answer.status == (200 if status == 201 else 404)
    assert (answer.body == init.body) is (status == 201)


async def test_a_delete_whose_answer_nobody_reads(recordings: Recordings, site: Site) -> None:
    """Closed at once, as ffmpeg does: what it asks for is done, and nothing else breaks off."""
    for raw in recordings["single forgetful"].connections:
        encoder = Encoder(site, raw)
        await encoder.client.send(encoder.raw)
        await encoder.hang_up()
    await check_objects(site, objects_of(recordings["single forgetful"].connections))
    assert len(recordings["single forgetful"].named("", "DELETE")) == 5
    assert not site.origin.metrics.aborts
    assert not site.origin.metrics.endings["failed"]
    await site.check_nothing_left()


@pytest.mark.parametrize("name", ["persistent", "forgetful"])
async def test_all_that_came_before_a_close_is_done(
    recordings: Recordings, site: Site, name: str
) -> None:
    """At its end ffmpeg closes without having read its answers: they fail, what it sent doesn't."""
    for raw in recordings[name].connections:
        encoder = Encoder(site, raw)
        await encoder.client.send(encoder.raw)
        await encoder.hang_up()
    await check_objects(site, objects_of(recordings[name].connections))
    assert not site.origin.metrics.aborts
    assert not site.origin.metrics.endings["failed"]
    await site.check_nothing_left()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
async def test_stopped_by_a_signal(recordings: Recordings, site: Site, name: str) -> None:
    recording = recordings[name]
    readers = await followers(site, recording.connections)
    for raw in recording.connections:
        encoder = Encoder(site, raw)
        await encoder.send()
        await encoder.hang_up()
        await judge_broken(site, parse(raw), readers)
    await wait_all_tasks_blocked()
    await check_objects(site, objects_of(recording.connections))
    broken = sum(not one.is_whole for one in recording.sent)
    assert site.origin.metrics.aborts["writer_gone"] == broken
    assert (broken > 0) is (name == "SIGKILL")
