"""PUT and POST: what they answer, what is refused before the body, and what then becomes of it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.origin.conftest import OpenSite
from tests.origin.drive import Client, Site, frame


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_new_then_replaced(site: Site, method: str) -> None:
    first = await site.ask(method, "/x", body=b"one")
    second = await site.ask(method, "/x", body=b"second")
    assert (first.status, second.status) == (201, 200)
    assert first.etag != second.etag
    assert (await site.get("/x")).body == b"second"
    assert first.fields["content-type"] == "application/json"
    assert first.fields["cache-control"] == "no-store"


async def test_receipt(site: Site) -> None:
    writer = await site.upload("/a%20b")
    await writer.chunk(b"12345", b"678")
    readers = [await site.follow("/a%20b") for _ in range(3)]
    await readers[0].close()
    await trio.sleep(1.5)
    await writer.chunk(b"9")
    answer = await writer.end()
    assert answer.status == 201
    assert answer.json == {
        "path": "/a%20b",
        "etag": answer.etag,
        "bytes": 9,
        "chunks": 3,
        "longest_gap_ms": 1500,
        "peak_readers": 3,
    }


async def test_chunked_and_length_store_the_same(site: Site) -> None:
    body = bytes(range(256)) * 700
    await site.put("/length", body)
    writer = await site.upload("/chunked")
    for start in range(0, len(body), 50_000):
        await writer.chunk(body[start : start + 50_000])
    await writer.end()
    assert (await site.get("/length")).body == (await site.get("/chunked")).body == body


@pytest.mark.parametrize("line", ["Content-Length: 0", "Transfer-Encoding: chunked", "X: none"])
async def test_empty_body_is_an_object_of_zero_bytes(site: Site, line: str) -> None:
    client = site.connect()
    await client.request("PUT", "/x", line)
    if line.startswith("Transfer"):
        await client.send(b"0\r\n\r\n")
    answer = await client.read("PUT")
    assert (answer.status, answer.json["bytes"], answer.json["chunks"]) == (201, 0, 0)
    got = await site.get("/x")
    assert (got.status, got.fields["content-length"]) == (200, "0")
    assert await site.list() == ["/x"]
    await site.check_nothing_left()


async def test_bytes_of_an_unfinished_chunk_show_after_20_ms(site: Site) -> None:
    client = site.connect()
    await client.request("PUT", "/x", "Transfer-Encoding: chunked")
    began = trio.current_time()
    await client.send(b"64\r\nhalf a")
    reader = site.connect()
    await reader.request("GET", "/x", "Prefer: wait=5")
    answer = await reader.head()
    assert trio.current_time() - began == pytest.approx(0.02)
    await reader.until(6)
    assert answer.body == b"half a"
    await client.send(b"x" * 94 + b"\r\n0\r\n\r\n")
    assert (await client.read("PUT")).json["chunks"] == 2
    assert (await reader.rest()).is_whole is True


async def test_bytes_behind_a_whole_chunk_show_after_20_ms_too(site: Site) -> None:
    client = site.connect()
    await client.request("PUT", "/x", "Transfer-Encoding: chunked")
    await wait_all_tasks_blocked()  # so that these come at once, behind the head
    await client.send(b"5\r\nhello\r\n64\r\nhalf a")
    began = trio.current_time()
    reader = site.connect()
    await reader.request("GET", "/x")
    answer = await reader.head()
    await reader.until(5)
    assert trio.current_time() == began
    await reader.until(11)
    assert trio.current_time() - began == pytest.approx(0.02)
    assert answer.body == b"hellohalf a"
    await client.send(b"x" * 94 + b"\r\n0\r\n\r\n")
    assert (await reader.rest()).is_whole is True


async def test_a_chunk_shows_before_its_line_end_and_at_64_kib(site: Site) -> None:
    client = site.connect()
    await client.request("PUT", "/x", "Transfer-Encoding: chunked")
    await client.send(b"5\r\nhello")
    await wait_all_tasks_blocked()
    assert (await site.ask("HEAD", "/x")).fields["chunkstore-offset"] == "5"
    await client.send(b"\r\nfffff\r\n" + b"x" * 65535)
    await wait_all_tasks_blocked()
    assert (await site.ask("HEAD", "/x")).fields["chunkstore-offset"] == "5"
    await client.send(b"x")
    await wait_all_tasks_blocked()
    assert (await site.ask("HEAD", "/x")).fields["chunkstore-offset"] == "65541"


async def test_if_none_match_star(site: Site) -> None:
    star = "If-None-Match: *"
    assert (await site.put("/x", b"one", star)).status == 201
    assert (await site.put("/x", b"two", star)).status == 412
    assert (await site.get("/x")).body == b"one"
    await site.upload("/open")
    assert (await site.put("/open", b"two", star)).status == 412  # an open object exists


async def test_if_match(site: Site) -> None:
    etag = (await site.put("/x", b"one")).etag
    assert (await site.put("/x", b"no", 'If-Match: "other"')).status == 412
    assert (await site.put("/none", b"no", "If-Match: *")).status == 412
    assert (await site.put("/x", b"two", f"If-Match: {etag}")).status == 200
    assert (await site.put("/x", b"no", f"If-Match: {etag}")).status == 412
    assert (await site.get("/x")).body == b"two"


async def test_conditions_hold_again_at_the_end(site: Site) -> None:
    etag = (await site.put("/x", b"one")).etag
    writer = await site.upload("/x", f"If-Match: {etag}")
    await writer.chunk(b"two")
    reader = await site.follow("/x")
    await reader.until(3)
    # Nobody can replace it meanwhile without displacing the upload; but it can go away.
    visible = site.origin.catalog.namespace.entry("/x")
    assert visible is not None
    assert visible.complete is not None
    site.origin.catalog._evict(visible.complete)
    answer = await writer.end()
    assert answer.status == 412
    assert (await reader.rest()).is_whole is False
    assert (await site.get("/x")).status == 404
    assert site.origin.metrics.aborts["precondition"] == 1
    await site.check_nothing_left()


async def test_content_range_is_refused(site: Site) -> None:
    answer = await site.put("/x", b"abc", "Content-Range: bytes 0-2/3")
    assert answer.status == 400
    assert "Content-Range" in answer.json["detail"]
    assert (await site.get("/x")).status == 404


async def test_an_absurdly_long_content_type_is_refused(site: Site) -> None:
    assert (await site.put("/x", b"", "Content-Type: " + "t" * 257)).status == 400
    assert (await site.put("/x", b"", "Content-Type: " + "t" * 256)).status == 201


async def test_the_content_type_is_kept(site: Site) -> None:
    await site.put("/x", b"", "Content-Type: text/x-caf\xe9")
    assert (await site.get("/x")).fields["content-type"] == "text/x-caf\xe9"


async def refused_early(site: Site, case: str, client: Client) -> int:
    """Begin a PUT that is refused before its body; the status it must get."""
    chunked = "Transfer-Encoding: chunked"
    if case == "length":
        await client.request("PUT", "/x", "Content-Length: 2000")
        return 413
    if case == "memory":
        # Only open uploads are there, and they fill the budget.
        for target in ("/full", "/too"):
            writer = await site.upload(target)
            await writer.chunk(b"x" * 800)
        await client.request("PUT", "/x", "Content-Length: 900")
        return 507
    if case == "origin":
        await client.request("PUT", "/x", chunked, "Origin: http://evil.test")
        return 403
    if case == "single writer":
        await site.upload("/single/x")
        await client.request("PUT", "/single/x", chunked)
        return 409
    await site.put("/x", b"")
    await client.request("PUT", "/x", chunked, "If-None-Match: *")
    return 412


EARLY = ["length", "memory", "origin", "single writer", "condition"]
SMALL = {
    "max_object_bytes": 1000,
    "memory_bytes": 2000,
    "policies": [{"match": "/single/", "single_writer": True}],
}


@pytest.mark.parametrize("case", EARLY)
async def test_refused_before_the_body_keeps_the_connection(open_site: OpenSite, case: str) -> None:
    site = await open_site(**SMALL)
    client = site.connect()
    status = await refused_early(site, case, client)
    answer = await client.read("PUT")  # at once: the body hasn't been sent
    assert answer.status == status
    assert "connection" not in answer.fields
    assert answer.fields["content-type"] == "application/problem+json"
    if case == "length":
        # More than an object may have isn't read away.
        await client.send(b"x" * 1001)
        assert await client.is_closed()
    elif case == "memory":
        await client.send(b"x" * 900)
        assert (await client.ask("GET", "/nothing")).status == 404
    else:
        await client.send(frame(b"x" * 900) + b"0\r\n\r\n")
        assert (await client.ask("GET", "/nothing")).status == 404
    assert site.origin.metrics.uploads_refused[status] == 1


async def test_the_rest_of_a_refused_body_is_read_for_20_s(site: Site) -> None:
    await site.put("/x", b"")
    client = site.connect()
    await client.request("PUT", "/x", "Transfer-Encoding: chunked", "If-None-Match: *")
    assert (await client.read("PUT")).status == 412
    began = trio.current_time()
    for _ in range(5):
        await client.send(frame(b"more"))
        await trio.sleep(2)
    assert await client.is_closed()
    assert 20 <= trio.current_time() - began <= 20.5


async def test_a_refused_body_whose_framing_breaks_ends_the_connection(site: Site) -> None:
    await site.put("/x", b"")
    client = site.connect()
    await client.request("PUT", "/x", "Transfer-Encoding: chunked", "If-None-Match: *")
    assert (await client.read("PUT")).status == 412
    await client.send(b"nonsense\r\n")
    assert await client.is_closed()


@pytest.mark.parametrize("case", EARLY)
async def test_expect_100_gets_the_decision_first(open_site: OpenSite, case: str) -> None:
    site = await open_site(**SMALL)
    expecting = Expecting(site.connect())
    status = await refused_early(site, case, expecting)
    answer = await expecting.read("PUT")
    assert (answer.status, answer.interim) == (status, [])


class Expecting(Client):
    """A client whose every PUT waits for 100 Continue."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.stream)

    async def request(
        self, method: str, target: str, *lines: str, body: bytes | None = None
    ) -> None:
        """As Client's, with the Expect field."""
        await super().request(method, target, *lines, "Expect: 100-continue", body=body)


async def test_expect_100_goes_on(site: Site) -> None:
    client = site.connect()
    await client.request("PUT", "/x", "Content-Length: 5", "Expect: 100-continue")
    with trio.fail_after(1):
        assert await client.stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hello")
    answer = await client.read("PUT")
    assert (answer.status, answer.interim) == (201, [])
    assert (await client.ask("GET", "/x")).body == b"hello"


async def test_if_match_of_an_upload_under_way_does_not_displace_it(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"hello")
    etag = (await site.ask("HEAD", "/x")).fields["etag"]
    assert (await site.put("/x", b"no", f"If-Match: {etag}")).status == 412
    assert (await writer.end()).status == 201
    assert (await site.get("/x")).body == b"hello"


async def test_two_writers_that_wait_for_100_cannot_both_be_the_single_one(
    open_site: OpenSite,
) -> None:
    site = await open_site(**SMALL)
    lines = ("Transfer-Encoding: chunked", "Expect: 100-continue")
    clients = [site.connect(), site.connect()]
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.request, "PUT", "/single/x", *lines)
    await wait_all_tasks_blocked()
    assert site.origin.metrics.uploads_refused[409] == 1
    assert not site.origin.metrics.aborts


async def test_413_when_the_body_grows_too_large(open_site: OpenSite) -> None:
    site = await open_site(max_object_bytes=1000)
    await site.put("/x", b"old")
    client = site.connect()
    writer = await site.upload("/x", client=client)
    await writer.chunk(b"x" * 1000)
    reader = await site.follow("/x")
    await writer.chunk(b"y")
    assert (await reader.rest()).is_whole is False
    assert (await site.get("/x")).body == b"old"
    answer = await writer.end()
    assert answer.status == 413
    assert "connection" not in answer.fields
    assert (await client.ask("GET", "/x")).body == b"old"
    assert site.origin.metrics.aborts["too_large"] == 1
    await site.check_nothing_left()


async def test_507_when_open_uploads_use_up_the_memory(open_site: OpenSite) -> None:
    site = await open_site(memory_bytes=10_000)
    first, second = await site.upload("/a"), await site.upload("/b")
    await first.chunk(b"x" * 5000)
    await second.chunk(b"x" * 4000)
    reader = await site.follow("/b")
    await second.chunk(b"x" * 1000)
    assert (await reader.rest()).is_whole is False
    assert (await second.end()).status == 507
    assert (await first.end()).status == 201
    assert site.origin.metrics.aborts["no_memory"] == 1
    await site.check_nothing_left()


@pytest.mark.parametrize(
    "junk", [b"zz\r\n", b"5\r\nhelloX", b"-1\r\n", b"ffffffffffffffff0\r\n", b"5\r\nhello\n"]
)
async def test_bad_framing_is_answered_and_aborts(site: Site, junk: bytes) -> None:
    await site.put("/x", b"old")
    writer = await site.upload("/x")
    await writer.chunk(b"new")
    reader = await site.follow("/x")
    await writer.client.send(junk)
    answer = await writer.answer()
    assert answer.status in (400, 413)
    assert answer.fields["connection"] == "close"
    assert await writer.client.is_closed()
    assert (await reader.rest()).is_whole is False
    assert (await site.get("/x")).body == b"old"
    assert site.origin.metrics.aborts["bad_framing"] == 1
    await site.check_nothing_left()
