"""Every form of Range, on complete objects and on open ones of n = 10 bytes."""

from __future__ import annotations

import pytest
import trio

from tests.origin.conftest import OpenSite
from tests.origin.drive import Site, Upload

TEN = b"0123456789"
VERY_LARGE = 2**53 - 1


async def open_ten(site: Site, target: str = "/x") -> Upload:
    """An open object of which ten bytes are visible."""
    writer = await site.upload(target)
    await writer.chunk(TEN[:5], TEN[5:])
    return writer


@pytest.mark.parametrize(
    ("asked", "found", "body"),
    [
        ("0-0", "0-0", b"0"),
        ("2-4", "2-4", b"234"),
        ("0-9", "0-9", TEN),
        ("8-100", "8-9", b"89"),
        ("7-", "7-9", b"789"),
        ("0-", "0-9", TEN),
        ("-3", "7-9", b"789"),
        ("-100", "0-9", TEN),
        (f"3-{VERY_LARGE}", "3-9", b"3456789"),
    ],
)
async def test_complete_satisfiable(site: Site, asked: str, found: str, body: bytes) -> None:
    etag = (await site.put("/x", TEN)).etag
    got = await site.get("/x", f"Range: bytes={asked}")
    assert (got.status, got.body, got.etag) == (206, body, etag)
    assert got.fields["content-range"] == f"bytes {found}/10"
    assert got.fields["content-length"] == str(len(body))
    assert got.fields["cache-control"] == "no-cache"


@pytest.mark.parametrize("asked", ["10-", "10-12", "99-", "-0"])
async def test_complete_unsatisfiable(site: Site, asked: str) -> None:
    await site.put("/x", TEN)
    got = await site.get("/x", f"Range: bytes={asked}")
    assert got.status == 416
    assert got.fields["content-range"] == "bytes */10"
    assert got.fields["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "value",
    ["bytes=0-1,3-4", "chunks=0-1", "bytes=", "bytes=a-b", "bytes=5-2", "bytes 0-1", "bytes=-"]
    + ["bytes=99999999999999999999-"],
)
async def test_ignored(site: Site, value: str) -> None:
    await site.put("/x", TEN)
    got = await site.get("/x", f"Range: {value}")
    assert (got.status, got.body) == (200, TEN)
    writer = await open_ten(site, "/y")
    reader = await site.follow("/y", f"Range: {value}")
    await writer.end()
    answer = await reader.rest()
    assert (answer.status, answer.body) == (200, TEN)


async def test_a_range_of_nothing(site: Site) -> None:
    await site.put("/x", b"")
    assert (await site.get("/x", "Range: bytes=0-")).fields["content-range"] == "bytes */0"
    assert (await site.get("/x", "Range: bytes=-5")).status == 200


async def test_large_slices_of_a_complete_object(site: Site) -> None:
    body = bytes(range(256)) * 8000
    await site.put("/x", body)
    for start, stop in ((0, 1_500_000), (1_048_000, 1_049_000), (999_999, 2_047_999)):
        got = await site.get("/x", f"Range: bytes={start}-{stop - 1}")
        assert got.body == body[start:stop]


async def test_open_from_0_is_a_stream(site: Site) -> None:
    writer = await open_ten(site)
    reader = await site.follow("/x", "Range: bytes=0-")
    await writer.chunk(b"more")
    await writer.end()
    answer = await reader.rest()
    assert answer.status == 200
    assert answer.chunks == [TEN[:5], TEN[5:], b"more"]


@pytest.mark.parametrize(
    ("asked", "found", "body"),
    [("2-6", "2-6", b"23456"), ("0-9", "0-9", TEN), ("4-", "4-9", b"456789"), ("9-", "9-9", b"9")],
)
async def test_open_bytes_that_are_there(site: Site, asked: str, found: str, body: bytes) -> None:
    await open_ten(site)
    got = await site.get("/x", f"Range: bytes={asked}")
    assert (got.status, got.body) == (206, body)
    assert got.fields["content-range"] == f"bytes {found}/*"
    assert got.fields["content-length"] == str(len(body))
    assert got.fields["cache-control"] == "no-store"
    assert got.fields["chunkstore-state"] == "open"


async def test_every_206_of_an_open_generation_is_no_store(open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": "/", "cache_open": "max-age=1"}])
    writer = await open_ten(site)
    whole = await site.follow("/x")
    streamed = await site.follow("/x", f"Range: bytes=0-{VERY_LARGE}")
    part = await site.get("/x", "Range: bytes=2-4")
    await writer.end()
    assert (await whole.rest()).fields["cache-control"] == "max-age=1"
    assert (await streamed.rest()).fields["cache-control"] == "no-store"
    assert part.fields["cache-control"] == "no-store"


async def test_open_closed_range_holds_until_its_last_byte(site: Site) -> None:
    writer = await open_ten(site)
    reader = site.connect()
    await reader.request("GET", "/x", "Range: bytes=8-12")
    await writer.chunk(b"ab")
    assert site.waiter_count == 1
    await writer.chunk(b"cdef")
    answer = await reader.read()
    assert (answer.status, answer.body) == (206, b"89abc")
    assert answer.fields["content-range"] == "bytes 8-12/*"
    await writer.end()
    await site.check_nothing_left()


async def test_open_closed_range_of_an_object_that_ends_short(site: Site) -> None:
    writer = await open_ten(site)
    reader = site.connect()
    await reader.request("GET", "/x", "Range: bytes=8-99")
    await writer.chunk(b"ab")
    await writer.end()
    answer = await reader.read()
    assert (answer.status, answer.body) == (206, b"89ab")
    assert answer.fields["content-range"] == "bytes 8-11/12"
    assert answer.fields["cache-control"] == "no-cache"


async def test_open_range_behind_the_edge_holds_until_its_first_byte(site: Site) -> None:
    writer = await open_ten(site)
    reader = site.connect()
    await reader.request("GET", "/x", "Range: bytes=11-")
    await writer.chunk(b"a")
    assert site.waiter_count == 1
    await writer.chunk(b"bcd")
    answer = await reader.read()
    assert (answer.status, answer.body) == (206, b"bcd")
    assert answer.fields["content-range"] == "bytes 11-13/*"


@pytest.mark.parametrize("asked", ["10-", "11-", "10-20", "99-", f"10-{VERY_LARGE}"])
async def test_open_range_at_or_above_the_final_size(site: Site, asked: str) -> None:
    writer = await open_ten(site)
    reader = site.connect()
    await reader.request("GET", "/x", f"Range: bytes={asked}")
    await writer.end()
    answer = await reader.read()
    assert answer.status == 416
    assert answer.fields["content-range"] == "bytes */10"


@pytest.mark.parametrize("last", [VERY_LARGE, 2**63 - 1])
@pytest.mark.parametrize("first", [0, 3, 5, 9])
async def test_open_range_of_unknown_end_is_streamed(site: Site, first: int, last: int) -> None:
    writer = await open_ten(site)
    reader = await site.follow("/x", f"Range: bytes={first}-{last}")
    await writer.chunk(b"abc")
    await writer.end()
    answer = await reader.rest()
    assert (answer.status, answer.is_whole) == (206, True)
    assert answer.body == (TEN + b"abc")[first:]
    assert answer.fields["transfer-encoding"] == "chunked"
    assert answer.fields["cache-control"] == "no-store"
    # RFC 8673: the position that was asked for is echoed, so that the client knows it was heard.
    assert answer.fields["content-range"] == f"bytes {first}-{last}/*"
    await site.check_nothing_left()


async def test_open_range_of_unknown_end_behind_the_edge(site: Site) -> None:
    writer = await open_ten(site)
    reader = site.connect()
    await reader.request("GET", "/x", f"Range: bytes=12-{VERY_LARGE}")
    await writer.chunk(b"ab")
    await writer.chunk(b"cd")
    await writer.chunk(b"ef")
    await writer.end()
    answer = await reader.read()
    assert (answer.status, answer.body) == (206, b"cdef")


async def test_open_suffix_is_200(site: Site) -> None:
    writer = await open_ten(site)
    reader = await site.follow("/x", "Range: bytes=-3")
    await writer.end()
    answer = await reader.rest()
    assert (answer.status, answer.body) == (200, TEN)


@pytest.mark.parametrize("asked", ["5-12", "10-", f"10-{VERY_LARGE}"])
async def test_a_held_range_gets_503_at_the_cap(site: Site, asked: str) -> None:
    await open_ten(site)
    began = trio.current_time()
    got = await site.get("/x", f"Range: bytes={asked}")
    assert got.status == 503
    assert trio.current_time() - began == pytest.approx(5)
    assert got.fields["retry-after"] == "1"
    assert site.waiter_count == 0


@pytest.mark.parametrize("end", ["kill", "delete", "displace"])
async def test_a_held_range_gets_503_at_an_abort(site: Site, end: str) -> None:
    writer = await open_ten(site)
    reader = site.connect()
    await reader.request("GET", "/x", "Range: bytes=5-12")
    await writer.chunk(b"a")
    if end == "kill":
        await writer.kill()
    elif end == "delete":
        await site.ask("DELETE", "/x")
    else:
        await site.upload("/x")
    assert (await reader.read()).status == 503
    assert site.waiter_count == 0


async def test_a_slice_of_an_open_object_counts_one_reader(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"x" * 200_000)
    assert len((await site.get("/x", "Range: bytes=1-150000")).body) == 150_000
    assert (await writer.end()).json["peak_readers"] == 1
