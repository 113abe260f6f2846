"""Uploads that end without being complete: no reader is told that they did."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.origin.conftest import OpenSite
from tests.origin.drive import Answer, Client, Site, frame, run_site

CHUNKS = (b"hello", b"x", b"0123456789" * 3, b"end")
WIRE = b"".join(map(frame, CHUNKS)) + b"0\r\n\r\n"
BODY = b"".join(CHUNKS)
RANGES = (f"Range: bytes=3-{2**53 - 1}", "Range: bytes=0-", "Range: bytes=4-30")
OLD = b"the last complete generation"


async def killed_at(site: Site, offset: int, *, with_old: bool) -> None:
    """Kill a writer at `offset` of its chunked body, with readers everywhere."""
    if with_old:
        await site.put("/x", OLD)
    client = site.connect()
    await client.request("PUT", "/x", "Transfer-Encoding: chunked")
    held: list[Client] = []
    if not with_old:
        held = [site.connect() for _ in range(2)]
        await held[0].request("GET", "/x", "Prefer: wait=5")
        await held[1].request("GET", "/x", "Prefer: wait=5", RANGES[0])
    readers: list[Client] = []
    for stop in sorted({min(9, offset), offset}):
        sent = min(9, offset) if stop > 9 else 0
        await client.send(WIRE[sent:stop]) if stop > sent else None
        await trio.sleep(0.03)
        # Readers behind (a lockstep stream that isn't read), at the edge, and with ranges.
        readers += [site.connect(lockstep=False) for _ in range(1 + len(RANGES))]
        for reader, lines in zip(readers[-4:], ([], *([one] for one in RANGES)), strict=True):
            await reader.request("GET", "/x", *lines)
        await wait_all_tasks_blocked()
    behind = site.connect(lockstep=True)
    await behind.request("GET", "/x")
    await client.close()
    for reader in (*held, *readers, behind):
        judge(await reader.read(), with_old=with_old)
    after = await site.get("/x")
    assert (after.status, after.body) == ((200, OLD) if with_old else (404, after.body))
    await site.check_nothing_left()


def judge(answer: Answer, *, with_old: bool) -> None:
    """An answer that overlapped the killed upload: never its whole, never wrong bytes."""
    if answer.status == 200:
        if with_old and answer.body == OLD:
            assert answer.is_whole is True
        else:
            assert answer.is_whole is False
            assert BODY.startswith(answer.body)
    elif answer.status == 206 and "content-length" not in answer.fields:
        assert answer.is_whole is False
        assert BODY[3:].startswith(answer.body)
    elif answer.status == 206:  # a part that was whole before the end came
        first = int(answer.fields["content-range"].removeprefix("bytes ").partition("-")[0])
        source = OLD if answer.fields["content-range"].endswith(f"/{len(OLD)}") else BODY
        assert source[first:].startswith(answer.body)
        assert answer.is_whole is True
    else:
        assert answer.status in (404, 416, 503)


@pytest.mark.parametrize("with_old", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("offset", range(len(WIRE)))
def test_writer_killed_at_every_byte(offset: int, with_old: bool) -> None:
    run_site(lambda site: killed_at(site, offset, with_old=with_old))


@pytest.mark.parametrize("offset", [0, 1, 300, 999])
async def test_writer_of_a_known_length_killed(site: Site, offset: int) -> None:
    await site.put("/x", OLD)
    client = site.connect()
    await client.request("PUT", "/x", "Content-Length: 1000")
    await client.send(b"n" * offset) if offset else None
    await trio.sleep(0.03)
    reader = site.connect()
    await reader.request("GET", "/x")
    await wait_all_tasks_blocked()
    await client.close()
    answer = await reader.read()
    if offset:
        assert answer.is_whole is False
        assert (b"n" * offset).startswith(answer.body)
    else:
        assert answer.body == OLD
    assert (await site.get("/x")).body == OLD
    assert site.origin.metrics.aborts["writer_gone"] == 1


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=8),
    cut=st.floats(0, 1, exclude_max=True),
    piece=st.integers(1, 700),
)
def test_writer_killed_anywhere_in_any_body(chunks: list[bytes], cut: float, piece: int) -> None:
    wire = b"".join(map(frame, chunks)) + b"0\r\n\r\n"
    sent = wire[: int(cut * len(wire))]

    async def test(site: Site) -> None:
        client, readers = site.connect(), []
        await client.request("PUT", "/x", "Transfer-Encoding: chunked")
        for start in range(0, len(sent), piece):
            await client.send(sent[start : start + piece])
            reader = site.connect()
            await reader.request("GET", "/x", "Prefer: wait=1")
            readers.append(reader)
        await client.close()
        for reader in readers:
            answer = await reader.read()
            assert answer.is_whole is (answer.status == 404)
            if answer.status == 200:
                assert b"".join(chunks).startswith(answer.body)

    run_site(test)


async def test_idle_writer_gets_408_and_its_readers_are_cut(site: Site) -> None:
    await site.put("/x", OLD)
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    began = trio.current_time()
    reader = await site.follow("/x")
    assert (await reader.rest()).is_whole is False
    assert 21 <= trio.current_time() - began <= 21.5  # and a second for the encoder's retry
    answer = await writer.answer()
    assert answer.status == 408
    assert answer.fields["connection"] == "close"
    assert await writer.client.is_closed()
    assert (await site.get("/x")).body == OLD
    assert site.origin.metrics.aborts["idle"] == 1
    await site.check_nothing_left()


async def test_framing_without_data_is_idle_too(site: Site) -> None:
    writer = await site.upload("/x")
    began = trio.current_time()
    for digit in b"00000005":
        await writer.client.send(bytes([digit]))
        await trio.sleep(2)
    assert (await writer.answer()).status == 408
    assert trio.current_time() - began <= 20.5


async def test_any_byte_keeps_an_upload_alive(site: Site) -> None:
    writer = await site.upload("/x")
    for _ in range(5):
        await writer.chunk(b"x")
        await trio.sleep(19)
    assert (await writer.end()).json["bytes"] == 5


async def test_on_idle_complete(open_site: OpenSite) -> None:
    policy = {"match": "/endless/", "on_idle": "complete", "upload_idle": "3s"}
    site = await open_site(policies=[policy])
    writer = await site.upload("/endless/x")
    await writer.chunk(b"abc")
    began = trio.current_time()
    reader = await site.follow("/endless/x")
    answer = await reader.rest()
    assert (answer.body, answer.is_whole) == (b"abc", True)
    assert 3 <= trio.current_time() - began <= 3.5
    receipt = await writer.answer()
    assert receipt.status == 201
    assert receipt.fields["connection"] == "close"
    assert (await site.get("/endless/x")).fields["content-length"] == "3"
    assert site.origin.metrics.completed_idle == 1  # counted apart
    assert not site.origin.metrics.aborts


async def test_how_an_answer_ended_is_counted(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    reader = await site.follow("/x")
    await writer.kill()
    await reader.rest()
    assert site.origin.metrics.endings["aborted"] == 1


async def test_a_connection_with_a_cut_answer_carries_no_other(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    reader = await site.follow("/x")
    await reader.request("GET", "/x")
    await writer.kill()
    assert (await reader.rest()).is_whole is False
    assert await reader.is_closed()


@pytest.mark.parametrize(
    ("framing", "sent"),
    [("Content-Length: 1000", b"hello"), ("Transfer-Encoding: chunked", b"100\r\nhello")],
)
async def test_on_idle_complete_is_not_for_bodies_known_to_be_short(
    open_site: OpenSite, framing: str, sent: bytes
) -> None:
    site = await open_site(policies=[{"match": "/endless/", "on_idle": "complete"}])
    client = site.connect()
    await client.request("PUT", "/endless/x", framing)
    await client.send(sent)
    assert (await client.read("PUT")).status == 408
    assert (await site.get("/endless/x")).status == 404
    assert site.origin.metrics.aborts["idle"] == 1


async def test_a_chunk_larger_than_any_object_is_refused_before_it_comes(
    open_site: OpenSite,
) -> None:
    policies = [{"match": "/big/", "max_object": 2000}]
    site = await open_site(max_object_bytes=1000, policies=policies)
    for size, status in ((b"7d0", 201), (b"7d1", 413)):
        client = site.connect()
        await client.request("PUT", "/big/x", "Transfer-Encoding: chunked")
        await client.send(size + b"\r\n")
        if status == 413:
            assert (await client.read("PUT")).status == 413
        else:
            await client.send(b"x" * 2000 + b"\r\n0\r\n\r\n")
            assert (await client.read("PUT")).status == 201
