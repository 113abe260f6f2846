"""Encoders that aren't ffmpeg, by hand: byte sequences as GPAC, GStreamer and libcurl send them."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.origin.drive import Answer, Client, Site, frame
from tests.origin.test_hold import hold

GPAC = "Host: o\r\nUser-Agent: GPAC/2.4\r\nConnection: Keep-Alive\r\n"
GST = "Host: o\r\nUser-Agent: GStreamer souphttpclientsink 1.24\r\n"
CURL = "Host: o\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
BODY = frame(b"moof") + frame(b"mdat") + b"0\r\n\r\n"


def put(path: str, fields: str, body: bytes = b"", *, method: str = "PUT") -> bytes:
    """A request as it goes over the wire."""
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode() + body


class Case(NamedTuple):
    """What a client sends on one connection.

    Attributes:
        wire: its bytes.
        statuses: of the answers.
        stored: path -> body and Content-Type of what is there in the end.
    """

    wire: bytes
    statuses: list[int]
    stored: dict[str, tuple[bytes, str]]


SEGMENT = put("/live/v_1.m4s", f"{GPAC}{CHUNKED}Content-Type: *\r\n", BODY)
CASES = {
    "GPAC, a type that is none": Case(
        SEGMENT, [201], {"/live/v_1.m4s": (b"moofmdat", "video/iso.segment")}
    ),
    "GPAC, a part of a segment": Case(
        put("/live/v_1.m4s.0", f"{GPAC}{CHUNKED}Content-Type: *\r\n", BODY),
        [201],
        {"/live/v_1.m4s.0": (b"moofmdat", "video/iso.segment")},
    ),
    "GPAC, DELETE without a body": Case(
        SEGMENT + put("/live/v_1.m4s", GPAC, method="DELETE"), [201, 200], {}
    ),
    "GPAC, its manifest first": Case(
        put("/live/a.mpd", f"{GPAC}{CHUNKED}Content-Type: application/dash+xml\r\n", BODY)
        + put("/live/v_init.mp4", f"{GPAC}{CHUNKED}Content-Type: video/mp4\r\n", BODY),
        [201, 201],
        {
            "/live/a.mpd": (b"moofmdat", "application/dash+xml"),
            "/live/v_init.mp4": (b"moofmdat", "video/mp4"),
        },
    ),
    "curlhttpsink": Case(
        put("/live/a.ts", f"{CURL}{CHUNKED}Expect: 100-continue\r\n", BODY, method="POST") * 2,
        [201, 200],
        {"/live/a.ts": (b"moofmdat", "video/mp2t")},
    ),
    "souphttpclientsink": Case(
        put("/live/a.ts", f"{GST}Content-Length: 4\r\nContent-Range: bytes 0-3/*\r\n", b"moof")
        + put("/live/a.ts", f"{GST}Content-Length: 4\r\nContent-Range: bytes 4-7/*\r\n", b"mdat"),
        [400, 400],
        {},
    ),
    "souphttpclientsink, over what is there": Case(
        put("/live/a.ts", f"{GST}Content-Length: 3\r\n", b"old")
        + put("/live/a.ts", f"{GST}Content-Length: 4\r\nContent-Range: bytes 4-7/*\r\n", b"mdat")
        + put("/live/b.ts", f"{GST}Content-Length: 3\r\n", b"new"),
        [201, 400, 201],
        {"/live/a.ts": (b"old", "video/mp2t"), "/live/b.ts": (b"new", "video/mp2t")},
    ),
}


@pytest.mark.parametrize("is_bytewise", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", CASES)
async def test_as_it_comes(site: Site, name: str, is_bytewise: bool) -> None:
    case = CASES[name]
    client = site.connect()
    step = 1 if is_bytewise else len(case.wire)
    for start in range(0, len(case.wire), step):
        await client.send(case.wire[start : start + step])
        await wait_all_tasks_blocked()
    answers = [await client.read("PUT") for _ in case.statuses]
    assert [answer.status for answer in answers] == case.statuses
    assert await site.list() == sorted(case.stored)
    for path, (body, content_type) in case.stored.items():
        got = await site.get(path)
        assert (got.body, got.fields["content-type"]) == (body, content_type)


async def test_a_range_of_a_put_is_told_what_to_use_instead(site: Site) -> None:
    client = site.connect()
    await client.send(CASES["souphttpclientsink"].wire)
    for _ in range(2):
        answer = await client.read("PUT")
        assert answer.json["detail"] == (
            "a PUT with Content-Range is not supported (RFC 9110 section 14.5): send the object as"
            " one chunked PUT, which readers can follow while it grows"
        )
    assert site.origin.metrics.uploads_refused == {400: 2}


async def test_an_init_segment_that_the_manifest_is_ahead_of_is_held(site: Site) -> None:
    packager = site.connect()
    await packager.send(put("/live/a.mpd", GPAC + CHUNKED, BODY))
    assert (await packager.read("PUT")).status == 201
    player = await hold(site, "/live/v_init.mp4")
    await trio.sleep(1)
    await packager.send(put("/live/v_init.mp4", GPAC + CHUNKED, BODY))
    assert (await player.read()).body == b"moofmdat"


async def test_a_hinted_part_of_a_segment_is_held(site: Site) -> None:
    """PRELOAD-HINT names a part that is not yet PUT; players ask for it at once."""
    packager = site.connect()
    await packager.send(put("/live/v_1.m4s.0", GPAC + CHUNKED, BODY))
    await packager.read("PUT")
    player = await hold(site, "/live/v_1.m4s.1")
    await trio.sleep(1)
    await packager.send(put("/live/v_1.m4s.1", GPAC + CHUNKED, frame(b"moof")))
    answer = await player.head()
    assert (answer.status, answer.fields["chunkstore-state"]) == (200, "open")
    await packager.send(frame(b"mdat") + b"0\r\n\r\n")
    assert (await player.rest()).chunks == [b"moof", b"mdat"]


async def test_a_playlist_rewritten_5_times_a_second_while_it_is_read(site: Site) -> None:
    """Each reader gets one version, whole, and never an older one than before."""
    versions = [b"#EXTM3U\n" + b"#EXT-X-PART:%d\n" % number * 50 for number in range(25)]
    got: list[Answer] = []

    async def read() -> None:
        client = site.connect()
        while versions[-1] not in [answer.body for answer in got[-1:]]:
            got.append(await client.ask("GET", "/live/a.m3u8"))
            await trio.sleep(0.03)

    packager = site.connect()
    await packager.send(put("/live/a.m3u8", GPAC + CHUNKED, frame(versions[0]) + b"0\r\n\r\n"))
    await packager.read("PUT")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for version in versions[1:]:
            await trio.sleep(0.1)
            await packager.send(put("/live/a.m3u8", GPAC + CHUNKED, frame(version[:300])))
            await trio.sleep(0.1)
            await packager.send(frame(version[300:]) + b"0\r\n\r\n")
            assert (await packager.read("PUT")).status == 200
    seen = [versions.index(answer.body) for answer in got]
    assert seen == sorted(seen)
    assert set(seen) == set(range(25))
    assert {answer.fields["content-length"] for answer in got} <= {str(len(v)) for v in versions}


async def test_a_put_that_a_signal_left_unterminated(site: Site) -> None:
    await site.put("/live/v_1.m4s", b"old")
    packager = site.connect()
    await packager.send(SEGMENT.removesuffix(b"0\r\n\r\n"))
    reader = await site.follow("/live/v_1.m4s")
    await reader.until(8)
    await packager.close()
    answer = await reader.rest()
    assert (answer.body, answer.is_whole) == (b"moofmdat", False)
    assert (await site.get("/live/v_1.m4s")).body == b"old"
    assert site.origin.metrics.aborts == {"writer_gone": 1}


async def test_post_with_expect_is_told_to_go_on(site: Site) -> None:
    client = site.connect()
    await client.send(put("/live/a.ts", f"{CURL}{CHUNKED}Expect: 100-continue\r\n", method="POST"))
    assert await go_on(client)
    await client.send(BODY)
    assert (await client.read("POST")).status == 201


@pytest.mark.parametrize("is_patient", [True, False], ids=["waits", "goes on after a second"])
async def test_a_large_upload_of_libcurl(site: Site, is_patient: bool) -> None:
    body = bytes(range(256)) * 4097  # more than 1 MiB, from where on it sends Expect
    client = site.connect()
    fields = f"{CURL}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n"
    await client.send(put("/big.bin", fields))
    if is_patient:
        assert await go_on(client)
    else:
        await trio.sleep(1)
    await client.send(body)
    assert (await client.read("PUT")).status == 201
    assert (await site.get("/big.bin")).body == body


async def go_on(client: Client) -> bool:
    """Whether 100 Continue comes, and nothing else."""
    return bytes(await client.stream.receive_some()) == b"HTTP/1.1 100 Continue\r\n\r\n"
