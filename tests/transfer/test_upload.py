"""Uploads to a real origin and to scripted peers; what is kept of a stream to send it again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from chunkstore.errors import FetchError, StatusError
from chunkstore.transfer import FileSource, Pace, Source, StreamSource, read_fd, upload
from tests.client.peer import Peer, Stream
from tests.origin.drive import Site
from tests.transfer.stage import client_of, retrying

CREATED = b"HTTP/1.1 201 x\r\nContent-Length: 2\r\n\r\n{}"


def stream_of(*reads: bytes, kept_bytes: int = 100, pace: Pace | None = None) -> StreamSource:
    """A stream that gives these, then its end."""
    left = [*reads, b""]

    async def read() -> bytes:
        await trio.lowlevel.checkpoint()
        return left.pop(0)

    return StreamSource(read, kept_bytes=kept_bytes, pace=pace)


async def all_of(source: Source) -> list[bytes]:
    """Its chunks."""
    return [chunk async for chunk in source.chunks()]


async def test_each_read_is_a_chunk_at_once(nursery: trio.Nursery) -> None:
    site = await Site.open(nursery)
    give, take = trio.open_memory_channel[bytes](10)
    source = StreamSource(take.receive)
    async with trio.open_nursery() as inner, client_of(site) as client:
        inner.start_soon(upload, client, "/a", source, retrying())
        await give.send(b"ab")
        await wait_all_tasks_blocked()
        reader = await site.follow("/a")
        assert await reader.more() == b"ab"
        await give.send(b"cde")
        assert await reader.more() == b"cde"
        await give.send(b"")
        assert (await reader.rest()).chunks == [b"ab", b"cde"]
    nursery.cancel_scope.cancel()


async def test_the_receipt(nursery: trio.Nursery, tmp_path: Path) -> None:
    site = await Site.open(nursery)
    path = tmp_path / "a"
    path.write_bytes(b"x" * 600_000)
    counts: list[int] = []
    async with client_of(site) as client:
        receipt = await upload(client, "/a", FileSource(path), retrying(), counts.append)
        assert (receipt.is_new, receipt.size_bytes) == (True, 600_000)
        assert receipt.members["bytes"] == 600_000
        assert counts[-1] == 600_000
        source = FileSource(path, chunk_bytes=1000)
        again = await upload(client, "/a", source, retrying())
        assert (again.is_new, again.members["chunks"]) == (False, 600)
        assert again.etag != receipt.etag
    nursery.cancel_scope.cancel()


async def until_end(stream: Stream) -> bytes:
    """Read a chunked request to its end."""
    got = b""
    while not got.endswith(b"0\r\n\r\n"):
        got += await stream.receive_some()
    return got.partition(b"\r\n\r\n")[2]


async def test_a_cut_upload_is_sent_again_from_its_first_byte(nursery: trio.Nursery) -> None:
    got: list[bytes] = []

    async def cut(stream: Stream) -> None:
        await stream.receive_some()

    async def busy(stream: Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 503 x\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n")

    async def take(stream: Stream) -> None:
        got.append(await until_end(stream))
        await stream.send_all(CREATED)

    notes: list[str] = []
    began_s = trio.current_time()
    async with Peer(nursery, cut, busy, take).client() as client:
        await upload(client, "/a", stream_of(b"ab", b"c"), retrying(notes))
    assert got == [b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"]
    assert len(notes) == 2
    assert trio.current_time() - began_s > 60  # as the server asked


async def test_a_stream_that_is_not_kept_any_longer_is_sent_once(nursery: trio.Nursery) -> None:
    async def cut(stream: Stream) -> None:
        got = b""
        while got.count(b"x") < 120:
            got += await stream.receive_some()

    give, take = trio.open_memory_channel[bytes](10)
    for _ in range(3):
        give.send_nowait(b"x" * 40)
    source = StreamSource(take.receive, kept_bytes=100)
    async with Peer(nursery, cut).client() as client:
        with pytest.raises(FetchError, match="no other try: more than 100 of the input were read"):
            await upload(client, "/a", source, retrying())


@pytest.mark.parametrize("status", [400, 401, 403, 409, 410, 412, 413, 501])
async def test_what_would_not_pass_by_itself_is_never_tried_again(
    status: int, nursery: trio.Nursery
) -> None:
    async def refuse(stream: Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status)
        await stream.receive_some()

    peer = Peer(nursery, refuse, refuse)
    async with peer.client() as client:
        with pytest.raises(StatusError) as caught:
            await upload(client, "/a", stream_of(b"a"), retrying())
    assert caught.value.status == status
    assert len(peer.requests) == 1


async def test_a_displaced_writer_stays_away(nursery: trio.Nursery) -> None:
    site = await Site.open(nursery)
    _, take = trio.open_memory_channel[bytes](1)
    async with trio.open_nursery() as inner, client_of(site) as client:

        async def put() -> None:
            with pytest.raises(StatusError, match="409 Conflict"):
                await upload(client, "/a", StreamSource(take.receive), retrying())

        inner.start_soon(put)
        await wait_all_tasks_blocked()
        assert (await site.put("/a", b"other")).status in (200, 201)
    assert (await site.get("/a")).body == b"other"
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("chunk_bytes", [None, 1000])
async def test_an_origin_that_has_no_room(
    chunk_bytes: int | None, nursery: trio.Nursery, tmp_path: Path
) -> None:
    site = await Site.open(nursery, max_object_bytes=50_000)
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    async with client_of(site) as client:
        with pytest.raises(StatusError, match="413 Content Too Large"):
            await upload(client, "/a", FileSource(path, chunk_bytes=chunk_bytes), retrying())
        await upload(client, "/b", stream_of(b"b"), retrying())
    assert await site.list() == ["/b"]
    nursery.cancel_scope.cancel()


async def test_a_receipt_that_says_something_else(nursery: trio.Nursery) -> None:
    async def lie(stream: Stream) -> None:
        await until_end(stream)
        await stream.send_all(CREATED.replace(b"2\r\n\r\n{}", b'12\r\n\r\n{"bytes": 2}'))

    async with Peer(nursery, lie).client() as client:
        with pytest.raises(FetchError, match="1 bytes were sent, 2 are stored"):
            await upload(client, "/a", stream_of(b"a"), retrying())


async def test_no_server_at_all(nursery: trio.Nursery) -> None:
    notes: list[str] = []
    async with Peer(nursery).client() as client:
        with pytest.raises(FetchError, match="Connection refused"):
            await upload(client, "/a", stream_of(b"a"), retrying(notes, retries=3))
    assert len(notes) == 3


async def test_a_file_that_becomes_shorter_is_no_whole_upload(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    source = FileSource(path)
    path.write_bytes(b"ab")
    with pytest.raises(FetchError, match="had 3 bytes and has 2 now"):
        await all_of(source)
    path.write_bytes(b"abcd")  # what was added is not part of what was promised
    assert await all_of(source) == [b"abc"]
    with pytest.raises(OSError, match="is no regular file"):
        FileSource(tmp_path)


async def test_a_file_that_is_replaced_is_not_sent_in_part(tmp_path: Path) -> None:
    """Of a playlist that was renamed into its place so much was stored as the one before had."""
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"abc")
    source = FileSource(path)
    other.write_bytes(b"abcd")
    other.replace(path)
    with pytest.raises(FetchError, match="was replaced by another file"):
        await all_of(source)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FetchError, match="was replaced by another file"):
        await all_of(source)


async def test_a_paced_source_and_its_retry(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    source = FileSource(path, pace=Pace(100))
    assert source.length is None
    began_s = trio.current_time()
    assert [len(chunk) for chunk in await all_of(source)] == [10] * 10
    assert trio.current_time() - began_s == pytest.approx(1, abs=0.01)
    await all_of(source)  # what was due once is due at once
    assert trio.current_time() - began_s == pytest.approx(1, abs=0.01)


@given(rate=st.floats(1e-3, 1e12), sizes=st.lists(st.integers(1, 10**6), max_size=20))
def test_a_pace_never_goes_back_and_keeps_its_rate(rate: float, sizes: list[int]) -> None:
    pace, end, last_s = Pace(rate), 0, 0.0
    assert 1 <= pace.chunk_bytes <= 65536
    for size in sizes:
        end += size
        assert pace.due_s(end) >= last_s
        last_s = pace.due_s(end)
    assert last_s * rate == pytest.approx(end)


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=9), st.lists(st.integers(0, 9)))
def test_a_stream_broken_off_anywhere_begins_anew(reads: list[bytes], tries: list[int]) -> None:
    async def main() -> None:
        source = stream_of(*reads, kept_bytes=100)
        for count in tries:
            chunks = source.chunks()
            for index in range(min(count, len(reads))):
                assert await anext(chunks) == reads[index]
            await chunks.aclose()
        assert await all_of(source) == reads
        assert await all_of(source) == reads

    trio.run(main)


async def test_reading_descriptors(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    with path.open("rb") as file:  # epoll takes no files
        assert await read_fd(file.fileno(), 2) == b"ab"
        assert await read_fd(file.fileno()) == b"c"
        assert await read_fd(file.fileno()) == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        await read_fd(file.fileno() if not file.closed else 10**6)
