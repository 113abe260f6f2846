"""Uploads that are refused: the connection they came on lives on, and somebody counts them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio

from chunkstore.config import Settings
from tests.encoders.recording import Recording, parse
from tests.encoders.replay import Encoder, objects_of
from tests.origin.conftest import OpenSite
from tests.origin.drive import Site, Upload

pytestmark = pytest.mark.real

Recordings = Mapping[str, Recording]

FIRST = "/live/chunk-stream0-00001.m4s"


async def test_too_large_in_mid_body(recordings: Recordings, open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": f"{FIRST}", "max_object": 20_000}])
    await refuse_first(site, recordings, 413)
    assert site.origin.metrics.aborts == {"too_large": 1}


async def test_a_single_writer_is_at_it(recordings: Recordings, open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": f"{FIRST}", "single_writer": True}])
    other = await site.upload(FIRST)
    await other.chunk(b"another encoder's")
    await refuse_first(site, recordings, 409)
    assert site.origin.metrics.uploads_refused == {409: 1}
    assert (await other.end()).status == 201
    assert (await site.get(FIRST)).body == b"another encoder's"


async def test_no_memory_until_there_is_some(recordings: Recordings, open_site: OpenSite) -> None:
    site = await open_site(memory_bytes=60_200, max_object_bytes=60_000)
    encoder = Encoder(site, recordings["persistent"].connections[0])
    init, *_, last = parse(encoder.raw)
    full = await fill(site)
    await encoder.send(init.end)
    assert [answer.status for answer in await encoder.answers(1)] == [507]
    assert site.origin.metrics.uploads_refused == {507: 1}
    await full.kill()
    await encoder.send()
    statuses = [(await encoder.client.read("PUT")).status for _ in parse(encoder.raw)[1:]]
    assert statuses == [201] * 3
    assert (await site.get(last.path)).body == last.body
    assert (await site.get(init.path)).status == 404


async def fill(site: Site) -> Upload:
    """Another upload that takes all the memory there is."""
    writer = await site.upload("/other")
    await writer.chunk(bytes(60_000))
    return writer


async def test_a_page_of_another_site(recordings: Recordings, site: Site) -> None:
    """The same bytes, from a browser: not one of them may be stored."""
    raw = bytes(recordings["persistent"].connections[0])
    origin = b"\r\nOrigin: http://elsewhere.test\r\n\r\n"
    for one in reversed(parse(raw)):
        raw = raw[: one.body_start - 4] + origin + raw[one.body_start :]
    encoder = Encoder(site, raw)
    await encoder.send()
    assert {answer.status for answer in await encoder.answers()} == {403}
    assert site.origin.metrics.uploads_refused == {403: 4}
    assert await site.list() == []


async def test_what_is_drained_is_bounded(recordings: Recordings, open_site: OpenSite) -> None:
    """A refused segment whose end doesn't come is read for 20 s and no longer."""
    site = await open_site(policies=[{"match": f"{FIRST}", "single_writer": True}])
    other = await site.upload(FIRST)
    encoder = Encoder(site, recordings["persistent"].connections[0])
    _, first, *_ = parse(encoder.raw)
    await encoder.send(first.body_start)
    assert [answer.status for answer in await encoder.answers(2)] == [201, 409]
    for second in range(1, int(Settings().discard_s)):
        await encoder.send(first.body_start + 1000 * second)
        await trio.sleep(1)
    assert len(site.origin.server.connections) == 2  # it is still read from
    await trio.sleep(2)
    assert await encoder.client.is_closed()
    await other.kill()


async def refuse_first(site: Site, recordings: Recordings, status: int) -> None:
    """Replay the video to an origin that refuses its first segment: the others get through."""
    encoder = Encoder(site, recordings["persistent"].connections[0])
    for one in parse(encoder.raw):
        await encoder.send(one.end)
        answer = await encoder.client.read("PUT")
        assert answer.status == (status if one.path == FIRST else 201)
        assert "connection" not in answer.fields
    stored = objects_of([encoder.raw])
    del stored[FIRST]
    for path, one in stored.items():
        assert (await site.get(path)).body == one.body
