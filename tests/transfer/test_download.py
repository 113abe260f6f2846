"""Downloads from a real origin over connections that are cut, and from peers that lie."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import FetchError, StalledError, StatusError
from chunkstore.transfer import download
from tests.client.peer import CHUNKED, LENGTH, Peer, Stream
from tests.origin.drive import Site, run_site
from tests.transfer.stage import MemorySink, client_of, retrying


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 500), max_size=5),
    can_restart=st.booleans(),
    pause_s=st.sampled_from((0.0, 0.3, 2.0)),
)
def test_an_object_that_grows_comes_whole_in_spite_of_any_cuts(
    chunks: list[bytes], cuts: list[int], can_restart: bool, pause_s: float
) -> None:
    async def test(site: Site) -> None:
        sink = MemorySink(can_restart=can_restart)
        async with trio.open_nursery() as nursery:
            upload = await site.upload("/a")
            await upload.chunk(chunks[0])

            async def write() -> None:
                for chunk in chunks[1:]:
                    await trio.sleep(pause_s)
                    await upload.chunk(chunk)
                assert (await upload.end()).status == 201

            nursery.start_soon(write)
            async with client_of(site, cuts) as client:
                size = await download(client, "/a", sink, retrying())
        assert sink.data == b"".join(chunks)
        assert size == len(sink.data)

    run_site(test)


async def test_a_writer_that_dies_is_an_honest_failure(nursery: trio.Nursery) -> None:
    site = await Site.open(nursery)
    upload = await site.upload("/a")
    await upload.chunk(b"abc")
    sink = MemorySink(can_restart=False)
    notes: list[str] = []
    async with trio.open_nursery() as reading, client_of(site) as client:

        async def read() -> None:
            with pytest.raises(FetchError, match=r"cut after 3 bytes, and not .* 404 Not Found"):
                await download(client, "/a", sink, retrying(notes))

        reading.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await upload.kill()
        await trio.sleep(5)
    assert sink.data == b"abc"
    assert notes[1:] == ["going on from byte 3"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("can_restart", [False, True])
async def test_another_object_after_a_cut(can_restart: bool, nursery: trio.Nursery) -> None:
    site = await Site.open(nursery)
    await site.put("/a", b"x" * 1000)
    sink = MemorySink(can_restart=can_restart)
    async with client_of(site, [600]) as client:
        task = retrying()

        async def change(text: str) -> None:
            await site.put("/a", b"y" * 500)

        first = task.pause

        async def pause(error: FetchError, why_not: str = "") -> None:
            await change(str(error))
            await first(error, why_not)

        task.pause = pause  # type: ignore[method-assign]
        if can_restart:
            assert await download(client, "/a", sink, task) == 500
            assert sink.data == b"y" * 500
        else:
            with pytest.raises(FetchError, match="the object is another one now"):
                await download(client, "/a", sink, task)
            assert set(sink.data) == set(b"x")
    nursery.cancel_scope.cancel()


async def test_waiting_for_an_object(nursery: trio.Nursery) -> None:
    site = await Site.open(nursery)
    sink = MemorySink(can_restart=True)
    async with trio.open_nursery() as inner, client_of(site) as client:
        inner.start_soon(lambda: download(client, "/a", sink, retrying(), wait_s=4))
        await trio.sleep(3)
        await site.put("/a", b"late")
        await trio.testing.wait_all_tasks_blocked()
        assert sink.data == b"late"
        with pytest.raises(StatusError, match="404"):
            await download(client, "/b", sink, retrying())
    nursery.cancel_scope.cancel()


BODYLESS = b"HTTP/1.1 206 x\r\nContent-Range: bytes 0-2/3\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([LENGTH + b"ab", LENGTH.replace(b'"x"', b'"y"') + b"abc"], "another one now"),
        ([LENGTH.replace(b'"x"', b'W/"x"') + b"ab", b""], "no strong ETag to go on by"),
        ([BODYLESS], "206 Partial Content"),
        ([LENGTH + b"ab", BODYLESS], "another part than asked for"),
        ([b"HTTP/1.1 301 x\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"], "not followed"),
    ],
)
async def test_peers_that_lie(answers: list[bytes], message: str, nursery: trio.Nursery) -> None:
    sink = MemorySink(can_restart=False)
    async with Peer(nursery, *[[answer] for answer in answers]).client() as client:
        with pytest.raises(FetchError, match=message):
            await download(client, "/a", sink, retrying())
    assert b"abc".startswith(sink.data)


async def test_a_wrong_part_is_not_used_and_a_file_begins_anew(nursery: trio.Nursery) -> None:
    sink = MemorySink(can_restart=True)
    answers = [LENGTH + b"ab", BODYLESS, LENGTH + b"xyz"]
    async with Peer(nursery, *[[answer] for answer in answers]).client() as client:
        assert await download(client, "/a", sink, retrying()) == 3
    assert sink.data == b"xyz"


async def test_silence_is_tried_again_so_often_and_no_oftener(nursery: trio.Nursery) -> None:
    async def silent(stream: Stream) -> None:
        await stream.receive_some()
        await stream.send_all(CHUNKED)
        await stream.receive_some()

    notes: list[str] = []
    async with Peer(nursery, *[silent] * 3).client() as client:
        with pytest.raises(StalledError, match="nothing came for 30 s"):
            await download(client, "/a", MemorySink(can_restart=True), retrying(notes, retries=2))
    assert len(notes) == 2
