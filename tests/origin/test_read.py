"""GET and HEAD of complete, open and missing objects, conditionals, HTTP/1.0, keep-alive."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from tests.origin.conftest import OpenSite
from tests.origin.drive import Site

BIG = bytes(range(256)) * 1200  # beyond what goes out in one buffer with its head


async def test_complete_object(site: Site) -> None:
    put = await site.put("/a/1.m4s", b"hello")
    got = await site.get("/a/1.m4s")
    assert (got.status, got.body, got.is_whole) == (200, b"hello", True)
    assert got.fields["content-length"] == "5"
    assert got.fields["accept-ranges"] == "bytes"
    assert got.fields["cache-control"] == "public, max-age=60"
    assert got.etag == put.etag
    assert parsedate_to_datetime(got.fields["last-modified"]).year >= 2024
    assert "chunkstore-state" not in got.fields
    assert "transfer-encoding" not in got.fields


async def test_large_complete_object(site: Site) -> None:
    await site.put("/big", BIG)
    got = await site.get("/big")
    assert got.body == BIG
    assert got.fields["content-length"] == str(len(BIG))
    await site.check_nothing_left()


async def test_open_object_streams_from_byte_0_with_its_chunks(site: Site) -> None:
    writer = await site.upload("/a/1.m4s")
    await writer.chunk(b"one", b"two")
    reader = site.connect()
    got = await reader.begin("/a/1.m4s")
    assert got.status == 200
    assert got.fields["transfer-encoding"] == "chunked"
    assert got.fields["cache-control"] == "no-store"
    assert got.fields["chunkstore-state"] == "open"
    assert "content-length" not in got.fields
    assert "last-modified" not in got.fields
    await reader.until(6)
    await writer.chunk(b"three")
    await reader.until(11)
    assert len(got.chunks) == 3
    receipt = await writer.end()
    await reader.rest()
    assert got.chunks == [b"one", b"two", b"three"]
    assert got.is_whole is True
    assert got.etag == receipt.etag == (await site.get("/a/1.m4s")).etag
    await site.check_nothing_left()


async def test_many_readers_each_get_every_byte(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"0")
    readers = []
    for number in range(1, 20):
        readers.append(await site.follow("/x"))
        await writer.chunk(b"%d" % number * 100)
    await writer.end()
    bodies = {(await reader.rest()).body for reader in readers}
    assert bodies == {(await site.get("/x")).body}
    await site.check_nothing_left()


async def test_etag_is_stable_from_the_first_byte_and_one_per_generation(site: Site) -> None:
    etags = []
    for _ in range(2):
        writer = await site.upload("/x")
        await writer.chunk(b"a")
        first = (await site.ask("HEAD", "/x")).etag
        await writer.chunk(b"b")
        assert (await site.ask("HEAD", "/x")).etag == first
        assert (await writer.end()).etag == first
        assert (await site.get("/x")).etag == first
        etags.append(first)
    assert len(set(etags)) == 2
    assert all(etag[0] == etag[-1] == '"' for etag in etags)  # strong: no W/


async def test_http_1_0_client_of_an_open_object_gets_a_length(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    reader = site.connect()
    await reader.send(b"GET /x HTTP/1.0\r\n\r\n")
    await writer.chunk(b"def")
    await writer.end()
    got = await reader.read()
    assert (got.status, got.body, got.fields["content-length"]) == (200, b"abcdef", "6")
    assert "transfer-encoding" not in got.fields
    assert await reader.is_closed()


async def test_http_1_0_client_gets_503_at_the_hold_cap(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    reader = site.connect()
    await reader.send(b"GET /x HTTP/1.0\r\n\r\n")
    got = await reader.read()
    assert got.status == 503
    assert got.fields["retry-after"] == "1"


async def test_http_1_0_client_with_a_range_of_unknown_end_gets_no_chunks(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"abcdef")
    reader = site.connect()
    await reader.send(b"GET /x HTTP/1.0\r\nRange: bytes=2-9007199254740991\r\n\r\n")
    await writer.end()
    got = await reader.read()
    assert got.status == 206
    assert got.body == b"cdef"
    assert "transfer-encoding" not in got.fields


async def test_missing_object(site: Site) -> None:
    got = await site.get("/nothing")
    assert got.status == 404
    assert got.fields["cache-control"] == "no-store"
    assert got.fields["content-type"] == "application/problem+json"


async def test_head_of_a_complete_object_is_gets_head(site: Site) -> None:
    await site.put("/x", b"12345")
    got, head = await site.get("/x"), await site.ask("HEAD", "/x")
    assert head.status == 200
    assert head.body == b""
    assert head.is_whole is True
    changing = {"date"}
    assert {k: v for k, v in head.fields.items() if k not in changing} == {
        k: v for k, v in got.fields.items() if k not in changing
    }


async def test_head_of_an_open_object_says_its_offset(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"12345")
    client = site.connect()
    head = await client.ask("HEAD", "/x")
    assert head.status == 200
    assert head.fields["chunkstore-offset"] == "5"
    assert head.fields["chunkstore-state"] == "open"
    assert head.fields["cache-control"] == "no-store"
    assert "content-length" not in head.fields
    await writer.chunk(b"678")
    assert (await client.ask("HEAD", "/x")).fields["chunkstore-offset"] == "8"


async def test_head_never_holds(site: Site) -> None:
    await site.upload("/live/x.m4s")
    client = site.connect()
    await client.request("HEAD", "/live/x.m4s", "Prefer: wait=5")
    await client.request("HEAD", "/nothing", "Prefer: wait=5")
    assert (await client.read("HEAD")).status == 404
    assert (await client.read("HEAD")).status == 404
    assert site.origin.metrics.holds_met == site.origin.metrics.holds_unmet == 0


async def test_conditionals_of_a_complete_object(site: Site) -> None:
    etag = (await site.put("/x", b"hello")).etag
    modified = (await site.get("/x")).fields["last-modified"]
    for method in ("GET", "HEAD"):
        same = await site.ask(method, "/x", f"If-None-Match: {etag}")
        assert (same.status, same.body, same.etag) == (304, b"", etag)
        assert "content-length" not in same.fields
        assert (await site.ask(method, "/x", f'If-None-Match: "no", W/{etag}')).status == 304
        assert (await site.ask(method, "/x", "If-None-Match: *")).status == 304
        assert (await site.ask(method, "/x", 'If-None-Match: "other"')).status == 200
        assert (await site.ask(method, "/x", f"If-Modified-Since: {modified}")).status == 304
        assert (await site.ask(method, "/x", f"If-Match: {etag}")).status == 200
        assert (await site.ask(method, "/x", 'If-Match: "other"')).status == 412
        assert (await site.ask(method, "/x", f"If-Unmodified-Since: {modified}")).status == 200
        old = "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT"
        assert (await site.ask(method, "/x", old)).status == 412


async def test_a_match_against_an_open_generation_never_gives_304(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    etag = (await site.ask("HEAD", "/x")).etag
    soon = "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"
    for line in (f"If-None-Match: {etag}", "If-None-Match: *", soon):
        assert (await site.ask("HEAD", "/x", line)).status == 200
        reader = await site.follow("/x", line)
        assert (await reader.until(3)).status == 200
        await reader.close()
    assert (await site.ask("HEAD", "/x", 'If-Match: "other"')).status == 412
    await writer.end()
    assert (await site.get("/x", f"If-None-Match: {etag}")).status == 304


async def test_if_range(site: Site) -> None:
    etag = (await site.put("/x", b"0123456789")).etag
    part = "Range: bytes=2-4"
    assert (await site.get("/x", part, f"If-Range: {etag}")).status == 206
    assert (await site.get("/x", part, 'If-Range: "other"')).body == b"0123456789"
    assert (await site.get("/x", part, f"If-Range: W/{etag}")).status == 200
    modified = (await site.get("/x")).fields["last-modified"]
    assert (await site.get("/x", part, f"If-Range: {modified}")).status == 206
    writer = await site.upload("/y")
    await writer.chunk(b"0123456789")
    etag = (await site.ask("HEAD", "/y")).etag
    assert (await site.get("/y", part, f"If-Range: {etag}")).body == b"234"
    other = await site.follow("/y", part, 'If-Range: "other"')
    await writer.end()
    assert (await other.rest()).body == b"0123456789"


async def test_the_query_is_no_part_of_the_key(site: Site) -> None:
    await site.put("/x?token=1", b"hello")
    assert (await site.get("/x")).body == b"hello"
    got = await site.get("/x?CMCD=bl%3D21300%2Csid%3D%226e2f%22&unknown=1&limit=x")
    assert got.body == b"hello"
    assert await site.list("/") == ["/x"]


@pytest.mark.parametrize("size", [10, 300_000])
async def test_keep_alive_after_a_stream_and_with_pipelined_requests(site: Site, size: int) -> None:
    await site.put("/small", b"small")
    writer = await site.upload("/x")
    await writer.chunk(b"a" * size)
    client = site.connect()
    await client.begin("/x")
    await client.request("GET", "/small")
    await client.request("GET", "/x", "Connection: close")
    await writer.chunk(b"b" * size)
    await writer.end()
    assert (await client.rest()).body == b"a" * size + b"b" * size
    assert (await client.read()).body == b"small"
    assert len((await client.read()).body) == 2 * size
    assert await client.is_closed()


async def test_a_reader_that_leaves_at_the_edge_is_forgotten(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    leaving, staying = await site.follow("/x"), await site.follow("/x")
    await leaving.until(3)
    await leaving.close()
    await writer.chunk(b"def")
    await writer.end()
    assert (await staying.rest()).body == b"abcdef"
    assert site.origin.metrics.endings["client_gone"] == 1
    await site.check_nothing_left()


async def test_content_type_is_the_encoders_else_by_extension(site: Site) -> None:
    async def type_of(target: str, *lines: str) -> str:
        await site.put(target, b"x", *lines)
        return (await site.get(target)).fields["content-type"]

    assert await type_of("/1.m4s", "Content-Type: video/x-mine") == "video/x-mine"
    assert await type_of("/2.m4s", "Content-Type: *") == "video/iso.segment"
    assert await type_of("/3.M4S") == "video/iso.segment"
    assert await type_of("/4.mpd") == "application/dash+xml"
    assert await type_of("/5.m3u8") == "application/vnd.apple.mpegurl"
    assert await type_of("/6.unknown") == "application/octet-stream"
    assert await type_of("/7") == "application/octet-stream"


async def test_the_bytes_of_a_replaced_object_stay_for_its_readers(open_site: OpenSite) -> None:
    site = await open_site()
    await site.put("/x", BIG)
    reader = site.connect(lockstep=True)
    await reader.begin("/x")
    await site.put("/x", b"new")
    assert (await reader.rest()).body == BIG
    assert (await site.get("/x")).body == b"new"
    await site.check_nothing_left()
