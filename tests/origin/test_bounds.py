"""Every bound of DESIGN.md section 5, over memory streams; test_sockets has the kernel's."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.config import Settings
from tests.origin.conftest import OpenSite
from tests.origin.drive import Client, Site, frame

LIVE = "Transfer-Encoding: chunked"


def test_defaults() -> None:
    settings = Settings()
    assert settings.memory_bytes == 2**30
    assert settings.object_limit_bytes == 256 * 2**20
    assert settings.max_objects == 1_000_000
    assert settings.max_connections == 16_384
    assert (settings.head_bytes, settings.max_fields) == (64 * 2**10, 100)
    assert settings.header_timeout_s == 10
    assert settings.idle_timeout_s == 75
    assert settings.upload_idle_s == 20
    assert settings.reader_stall_s == 10
    assert settings.drain_s == 10
    assert settings.hold_cap_s == 5
    assert settings.max_waiters == 10_000
    assert settings.send_buffer_bytes == 512 * 2**10
    assert settings.backlog == 4096


# --- memory and objects ------------------------------------------------------------------------


async def test_memory_is_charged_by_length_and_chunks(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"12345", b"678")
    assert site.used_bytes == 8 + 2 * 128
    await writer.client.send(b"5\r\nab")
    await trio.sleep(0.1)
    assert site.used_bytes == 10 + 3 * 128  # its 20 ms were over: it is a chunk of its own
    await writer.client.send(b"cde\r\n")
    await writer.end()
    assert site.used_bytes == 13 + 4 * 128
    await site.put("/y", b"z" * 100)
    assert site.used_bytes == 13 + 4 * 128 + 228
    await site.ask("DELETE", "/x")
    assert site.used_bytes == 228


async def test_memory_evicts_least_recently_used_and_small_ones_last(open_site: OpenSite) -> None:
    site = await open_site(memory_bytes=400_000)
    await site.put("/init.mp4", b"i" * 1000)
    for name in "abc":
        await site.put(f"/{name}", b"x" * 100_000)
    await site.get("/a")
    await site.put("/d", b"x" * 100_000)
    assert await site.list() == ["/a", "/c", "/d", "/init.mp4"]
    for _ in range(8):
        await site.put("/flood", b"x" * 100_000)
        await site.put("/more", b"x" * 100_000)
    assert "/init.mp4" in await site.list()
    assert site.used_bytes <= 400_000
    await site.check_nothing_left()


async def test_memory_is_not_freed_by_evicting_what_is_being_read(open_site: OpenSite) -> None:
    site = await open_site(memory_bytes=250_000)
    await site.put("/read", b"x" * 100_000)
    await site.put("/idle", b"x" * 100_000)
    reader = site.connect(lockstep=True)
    await reader.begin("/read")
    await site.put("/new", b"x" * 100_000)
    assert await site.list() == ["/new", "/read"]
    assert len((await reader.rest()).body) == 100_000


async def test_memory_with_only_open_generations_left_gets_507(open_site: OpenSite) -> None:
    site = await open_site(memory_bytes=10_000)
    writer = await site.upload("/a")
    await writer.chunk(b"x" * 9000)
    answer = await site.put("/b", b"x" * 2000)
    assert answer.status == 507
    assert await site.list() == ["/a"]
    assert (await writer.end()).status == 201
    assert (await site.put("/b", b"x" * 2000)).status == 201  # now there is one to evict


async def test_objects(open_site: OpenSite) -> None:
    site = await open_site(max_objects=3)
    for name in "abcd":
        assert (await site.put(f"/{name}", b"x")).status == 201
    assert await site.list() == ["/b", "/c", "/d"]
    assert (await site.put("/d", b"y")).status == 200  # no new name
    assert await site.list() == ["/b", "/c", "/d"]


async def test_objects_that_are_open_cannot_go(open_site: OpenSite) -> None:
    site = await open_site(max_objects=2)
    uploads = [await site.upload(f"/{name}") for name in "ab"]
    assert (await site.put("/c", b"x")).status == 507
    for upload in uploads:
        await upload.end()
    assert (await site.put("/c", b"x")).status == 201


async def test_objects_bound_is_exact_where_a_name_is_overwritten(open_site: OpenSite) -> None:
    site = await open_site(max_objects=2)
    await site.put("/a", b"x")
    await site.put("/b", b"x")
    await site.upload("/a")  # its complete one may go, its name can't
    assert (await site.put("/c", b"x")).status == 201
    assert len(site.origin.catalog.namespace) == 2


# --- heads -------------------------------------------------------------------------------------


async def refused(site: Site, data: bytes) -> int:
    """The status that bad input gets; the connection must close after it."""
    client = site.connect()
    await client.send(data)
    answer = await client.read()
    assert answer.fields["connection"] == "close"
    assert answer.fields["content-type"] == "application/problem+json"
    assert "date" in answer.fields
    assert await client.is_closed()
    return answer.status


async def test_head_size_and_fields(site: Site) -> None:
    host = b"GET / HTTP/1.1\r\nHost: x\r\n"
    assert await refused(site, host + b"A: " + b"a" * 65536 + b"\r\n\r\n") == 431
    assert await refused(site, host + b"A: " + b"a" * 70_000) == 431  # at once, not at its end
    assert await refused(site, host + b"A: b\r\n" * 100 + b"\r\n") == 431
    client = site.connect()
    await client.send(host + b"A: b\r\n" * 99 + b"\r\n")
    assert (await client.read()).status == 400  # "/" names no object, but the head was read
    assert await refused(site, b"GET /" + b"a" * 9000) == 414
    assert site.origin.metrics.endings["refused"] == 4


async def test_header_timeout_counts_from_the_first_byte(site: Site) -> None:
    client = site.connect()
    await trio.sleep(30)  # idle isn't late
    began = trio.current_time()
    for byte in b"GET /xyz HTTP":
        if trio.current_time() - began < 9.5:
            await client.send(bytes([byte]))
            await trio.sleep(1)
    answer = await client.read()
    assert answer.status == 408
    assert answer.fields["connection"] == "close"
    assert trio.current_time() - began <= 10.5
    assert await client.is_closed()


async def test_header_timeout_of_a_later_request(site: Site) -> None:
    client = site.connect()
    assert (await client.ask("GET", "/x")).status == 404
    await client.send(b"GET /x HTTP/1.1\r\n")
    began = trio.current_time()
    assert (await client.read()).status == 408
    assert 10 <= trio.current_time() - began <= 10.5


async def test_idle(site: Site) -> None:
    fresh, used = site.connect(), site.connect()
    await used.ask("GET", "/x")
    began = trio.current_time()
    assert await fresh.is_closed()
    assert await used.is_closed()
    assert 75 <= trio.current_time() - began <= 75.5
    await wait_all_tasks_blocked()
    assert not site.origin.server.connections


async def test_idle_counts_from_the_last_answer(site: Site) -> None:
    client = site.connect()
    for _ in range(3):
        await trio.sleep(74)
        assert (await client.ask("GET", "/x")).status == 404


# --- readers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_open", [False, True])
async def test_reader_stall(site: Site, is_open: bool) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"x" * 400_000)
    if not is_open:
        await writer.end()
    client = site.connect(lockstep=True)
    await client.request("GET", "/x")
    began = trio.current_time()
    await trio.sleep(9.5)
    assert site.origin.metrics.endings.total() == (0 if is_open else 1)  # the PUT
    if is_open:
        await writer.chunk(b"more")  # the writer doesn't wait
    await trio.sleep(1)
    assert site.origin.metrics.endings["stalled"] == 1
    assert trio.current_time() - began < 11
    with trio.fail_after(1):
        assert (await client.read()).is_whole is False


async def test_a_slow_reader_is_no_stalled_one(site: Site) -> None:
    await site.put("/x", b"x" * 400_000)
    client = site.connect(lockstep=True)
    answer = await client.begin("/x")
    while answer.is_whole is None:
        await trio.sleep(4.5)  # its first two reads may be of one piece
        await client.more()
    assert len(answer.body) == 400_000


async def test_stalled_readers_do_not_slow_the_writer(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"0")
    stalled = [site.connect(lockstep=True) for _ in range(100)]
    for client in stalled:
        await client.request("GET", "/x")
    began = trio.current_time()
    for _ in range(50):
        await writer.chunk(b"x" * 10_000)
    receipt = await writer.end()
    assert trio.current_time() == began
    assert receipt.json["peak_readers"] == 100
    await trio.sleep(11)
    assert site.origin.metrics.endings["stalled"] == 100
    await site.check_nothing_left()


# --- drain -------------------------------------------------------------------------------------


async def test_drain(site: Site) -> None:
    idle = site.connect()
    await idle.ask("GET", "/x")
    writer, endless = await site.upload("/x"), await site.upload("/endless")
    await writer.chunk(b"abc")
    await endless.chunk(b"abc")
    reader, cut = await site.follow("/x"), await site.follow("/endless")
    late = site.connect()
    await late.send(b"PUT /late HTTP/1.1\r\n")
    await wait_all_tasks_blocked()
    began = trio.current_time()
    site.origin.server.stop()
    assert await idle.is_closed()
    await late.send(b"Host: x\r\nContent-Length: 0\r\n\r\n")
    refusal = await late.read("PUT")
    assert (refusal.status, refusal.fields["connection"]) == (503, "close")
    assert refusal.fields["retry-after"] == "1"
    assert (await writer.end()).fields["connection"] == "close"
    assert (await reader.rest()).is_whole is True
    assert trio.current_time() == began
    assert (await cut.rest()).is_whole is False
    assert trio.current_time() - began == pytest.approx(10, abs=0.5)
    assert site.origin.metrics.aborts == {"drain": 1}
    # Two were cut: the reader of the endless upload, and its writer.
    assert site.origin.metrics.endings["drain"] == 2


# --- what clients send ahead, and bad input ----------------------------------------------------


async def test_a_body_of_many_tiny_chunks(site: Site) -> None:
    client = site.connect()
    await client.request("PUT", "/x", LIVE)
    count = 8000
    await client.send(frame(b"x") * count + b"0\r\n\r\n")
    answer = await client.read("PUT")
    assert answer.json["bytes"] == count
    assert 4096 <= answer.json["chunks"] < 4096 + count / 1024 + 1
    assert site.used_bytes < count + 130 * 4200


async def test_many_silent_connections_harm_nobody(site: Site) -> None:
    silent = [site.connect() for _ in range(1000)]
    await wait_all_tasks_blocked()
    assert (await site.put("/x", b"abc")).status == 201
    assert (await site.get("/x")).body == b"abc"
    await wait_all_tasks_blocked()
    assert len(site.origin.server.connections) == 1000
    assert await silent[0].is_closed()
    await wait_all_tasks_blocked()
    assert not site.origin.server.connections


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (
            b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
    ],
)
async def test_bad_input_is_answered_and_the_next_client_is_served(
    site: Site, data: bytes, status: int
) -> None:
    assert await refused(site, data) == status
    assert (await site.put("/x", b"abc")).status == 201


async def test_methods(site: Site) -> None:
    client = site.connect()
    for method in ("PATCH", "PROPFIND", "TRACE"):
        answer = await client.ask(method, "/x")
        assert answer.status == 405
        assert answer.fields["allow"] == "GET, HEAD, PUT, POST, DELETE, LIST, OPTIONS"
    for method in ("BREW", "get", "PURGE"):
        assert (await client.ask(method, "/x")).status == 501
    assert (await client.ask("OPTIONS", "*")).status == 204


async def test_every_answer_has_date_and_every_error_is_a_problem(site: Site) -> None:
    await site.put("/x", b"abc")
    client: Client = site.connect()
    for method, target, lines, status in [
        ("GET", "/x", (), 200),
        ("HEAD", "/x", (), 200),
        ("LIST", "/", (), 200),
        ("OPTIONS", "/", (), 204),
        ("PUT", "/y", ("Content-Length: 0",), 201),
        ("GET", "/x", ("If-None-Match: *",), 304),
        ("GET", "/none", (), 404),
        ("GET", "/x", ("Range: bytes=9-",), 416),
        ("GET", "/x", ('If-Match: "no"',), 412),
        ("PUT", "/x", ("Content-Length: 0", "Origin: null"), 403),
        ("PATCH", "/x", (), 405),
        ("BREW", "/x", (), 501),
        ("DELETE", "/none", (), 404),
        ("DELETE", "/x", (), 200),
    ]:
        answer = await client.ask(method, target, *lines)
        assert answer.status == status
        assert answer.fields["date"].endswith(" GMT")
        if status >= 400:
            assert answer.fields["content-type"] == "application/problem+json"
            assert answer.json["status"] == status
            assert answer.json["title"]
            assert len(answer.json["detail"]) > 10


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    ["/", "//", "/a//b", "/a/./b", "/a/../b", "/..", "/a%2Fb", "/a%2fb", "/a%5Cb", "/a\\b", "/%00"]
    + ["/%1F", "/%7F", "/%ff", "/%C3%28", "/%", "/%4", "/%zz", "/%2e%2e/b", "/" + "a" * 1024],
)
async def test_keys_that_are_not_normal_are_refused(site: Site, method: str, path: str) -> None:
    client = site.connect()
    answer = await client.ask(method, path, body=b"abc" if method[0] == "P" else None)
    assert answer.status == 400
    if method != "HEAD":
        assert answer.fields["content-type"] == "application/problem+json"
    assert (await client.ask("GET", "/x")).status == 404  # the connection lives on


async def test_keys_have_one_normal_form(site: Site) -> None:
    await site.put("/a%20b/%C3%A9/%41~/", b"abc")
    for path in ("/a%20b/%C3%A9/A%7E/", "/%61%20b/%c3%a9/%41~/"):
        assert (await site.get(path)).body == b"abc"
    assert (await site.get("/a%2520b/%C3%A9/A~/")).status == 404  # decoded once
    assert await site.list() == ["/a%20b/%C3%A9/A~/"]
    longest = "/" + "%C3%A9" * 511 + "a"
    assert (await site.put(longest, b"abc")).status == 201
    assert (await site.get(longest)).body == b"abc"
