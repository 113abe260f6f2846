"""Behind nginx and Varnish as Debian has them, with the settings that packaging/ has for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from tests.real.front import WAIT, Reader, Writer, fronted, put
from tests.real.parts import MPD_PATH, client_of, get, real_encoder

pytestmark = pytest.mark.real

DEADLINE_S = 90
READERS = 200
PATH = "/live/1.m4s"
CHUNK_BYTES = 30_000
CHUNKS = [bytes([number]) * CHUNK_BYTES for number in range(1, 6)]
WHOLE = b"".join(CHUNKS)
EACH = pytest.mark.parametrize("name", ["nginx", "varnish"])


async def until_all(readers: Sequence[Reader], size: int) -> None:
    """Wait until all of them have so many bytes."""
    for reader in readers:
        await reader.until(size)


async def write_in_step(writer: Writer, readers: Sequence[Reader], chunks: Sequence[bytes]) -> None:
    """Write the rest of an object, each chunk when all readers have the one before."""
    at = len(readers[0].body)
    for chunk in chunks:
        await writer.write(chunk)
        at += len(chunk)
        await until_all(readers, at)
    await writer.end()


async def ask(port: int, path: str, value: str) -> tuple[int, str, bytes]:
    """GET a range: status, Content-Range, body."""
    async with client_of(port) as client:
        answer = await client.request("GET", path, [("Range", value)])
        return answer.status, answer.fields.get("content-range", ""), await answer.body()


# --- what Varnish collapses and keeps ------------------------------------------------------------


async def test_200_readers_through_varnish_are_one_request(tmp_path: Path) -> None:
    early = READERS // 2
    with trio.fail_after(DEADLINE_S):
        async with fronted("varnish", tmp_path) as ports:
            readers = [Reader(ports.front, PATH, WAIT) for _ in range(early)]
            readers += [Reader(ports.front, PATH) for _ in range(READERS - early)]
            async with trio.open_nursery() as nursery:
                for reader in readers[:early]:
                    nursery.start_soon(reader.run)
                await ports.until_held(1)  # before there is anything
                writer = Writer(ports.origin, PATH)
                nursery.start_soon(writer.run)
                await writer.write(CHUNKS[0])
                await until_all(readers[:early], CHUNK_BYTES)
                for reader in readers[early:]:  # in its midst
                    nursery.start_soon(reader.run)
                await until_all(readers, CHUNK_BYTES)
                await write_in_step(writer, readers, CHUNKS[1:])
            assert writer.status == 201
            assert {reader.ending for reader in readers} == {"whole"}
            assert {bytes(reader.body) for reader in readers} == {WHOLE}
            assert await get(ports.front, PATH) == (200, WHOLE)  # afterwards, from the cache
            assert await ports.answers(200) == 1
            assert await ports.answers(404) == 0


async def test_varnish_keeps_what_came_complete(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted("varnish", tmp_path) as ports:
            await put(ports.origin, PATH, WHOLE)
            for query in ("", "?CMCD=bl%3D100", "?CMCD=bl%3D200&", "?CMCD=sid%3D%22a%22"):
                assert await get(ports.front, PATH + query) == (200, WHOLE)
            assert await ports.answers(200) == 1


async def test_varnish_keeps_nothing_without_a_policy(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted("varnish", tmp_path) as ports:
            for body in (b"one", b"another"):
                await put(ports.origin, "/notes", body)
                assert await get(ports.front, "/notes") == (200, body)


async def test_a_manifest_is_shared_and_soon_replaced(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted("varnish", tmp_path) as ports:
            await put(ports.origin, MPD_PATH, b"<MPD>1</MPD>")
            async with client_of(ports.front) as client:
                answer = await client.request("GET", MPD_PATH)
                await answer.body()
            assert answer.fields["cache-control"] == "public, max-age=0, s-maxage=1"
            await put(ports.origin, MPD_PATH, b"<MPD>2</MPD>")
            while await get(ports.front, MPD_PATH) != (200, b"<MPD>2</MPD>"):
                pass
            assert await ports.answers(200) < 5  # however often that was asked


async def test_those_who_wait_for_what_never_comes_share_the_404(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted("varnish", tmp_path) as ports:
            readers = [Reader(ports.front, PATH, [("Prefer", "wait=3")]) for _ in range(READERS)]
            async with trio.open_nursery() as nursery:
                for reader in readers:
                    nursery.start_soon(reader.run)
            assert {reader.answer.status for reader in readers if reader.answer} == {404}
            # One, where all have asked within the 3 s; never one after the other, nor each its own.
            assert await ports.answers(404) < READERS / 2


# --- behind either -------------------------------------------------------------------------------


@EACH
async def test_a_404_is_not_kept(tmp_path: Path, name: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports:
            assert (await get(ports.front, PATH))[0] == 404
            assert (await get(ports.front, PATH))[0] == 404
            assert await ports.answers(404) == 2
            await put(ports.origin, PATH, WHOLE)
            assert await get(ports.front, PATH) == (200, WHOLE)


@EACH
async def test_an_upload_that_breaks_off_is_a_cut_and_is_not_kept(
    tmp_path: Path, name: str
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports:
            readers = [Reader(ports.front, PATH, WAIT) for _ in range(10)]
            writer = Writer(ports.origin, PATH)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run)
                for reader in readers:
                    nursery.start_soon(reader.run)
                for chunk in CHUNKS[:2]:
                    await writer.write(chunk)
                await until_all(readers, 2 * CHUNK_BYTES)
                await writer.die()
            assert {reader.ending for reader in readers} == {"cut"}
            assert {bytes(reader.body) for reader in readers} == {WHOLE[: 2 * CHUNK_BYTES]}
            assert (await get(ports.front, PATH))[0] == 404
            await put(ports.origin, PATH, WHOLE)
            assert await get(ports.front, PATH) == (200, WHOLE)


@EACH
async def test_a_put_through_it_streams(tmp_path: Path, name: str) -> None:
    large = bytes(2**20)  # with it, more than a proxy lets through by default
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports:
            writer, reader = Writer(ports.front, PATH), Reader(ports.origin, PATH, WAIT)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run)
                nursery.start_soon(reader.run)
                await write_in_step(writer, [reader], [*CHUNKS, large])
            assert writer.status == 201
            assert (reader.ending, bytes(reader.body)) == ("whole", WHOLE + large)


@EACH
async def test_a_page_of_the_same_site_may_write(tmp_path: Path, name: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports:
            for host, status in ((f"127.0.0.1:{ports.front}", 201), ("elsewhere.example", 403)):
                origin = [("Origin", f"http://{host}")]
                assert await put(ports.front, f"/{status}", b"from a page", origin) == status


@EACH
async def test_a_writer_that_dies_behind_it_is_no_end(tmp_path: Path, name: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports:
            writer, reader = Writer(ports.front, PATH), Reader(ports.origin, PATH, WAIT)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run)
                nursery.start_soon(reader.run)
                await writer.write(CHUNKS[0])
                await reader.until(CHUNK_BYTES)
                await writer.die()
            assert reader.ending == "cut"
            assert (await get(ports.origin, PATH))[0] == 404


@EACH
async def test_an_encoder_may_put_through_it(tmp_path: Path, name: str) -> None:
    seconds = 4
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports:
            encoder = real_encoder(ports.front, is_persistent=True, seconds=seconds)
            await encoder.run()
            assert encoder.exit_code == 0, encoder.last_words
            _, lines = await get(ports.origin, "/live/?list")
            paths = lines.decode().split()
            assert MPD_PATH in paths
            assert sum(path.endswith(".m4s") for path in paths) >= 2 * (1 + seconds // 2)
            for path in paths:
                found = await get(ports.origin, path)
                assert found[0] == 200
                assert await get(ports.front, path) == found


@EACH
async def test_ranges_of_what_is_being_written_and_of_what_is_complete(
    tmp_path: Path, name: str
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports:
            port, size = ports.front, len(WHOLE)
            writer, reader = Writer(ports.origin, PATH), Reader(port, PATH, WAIT)
            later = Reader(port, PATH, [("Range", "bytes=29990-30009")])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run)
                nursery.start_soon(reader.run)
                await writer.write(CHUNKS[0])
                await reader.until(CHUNK_BYTES)
                assert await ask(port, PATH, "bytes=0-9") == (206, "bytes 0-9/*", WHOLE[:10])
                assert await ask(port, PATH, "bytes=29990-") == (
                    *(206, "bytes 29990-29999/*"),
                    WHOLE[29990:30000],
                )
                nursery.start_soon(later.run)
                await ports.until_held(1)
                await write_in_step(writer, [reader], CHUNKS[1:])
            assert later.answer is not None
            assert later.answer.fields["content-range"] == "bytes 29990-30009/*"
            assert later.body == WHOLE[29990:30010]
            expected = (206, f"bytes 29990-30009/{size}", WHOLE[29990:30010])
            assert await ask(port, PATH, "bytes=29990-30009") == expected
            assert (await ask(port, PATH, f"bytes={size}-"))[:2] == (416, f"bytes */{size}")
            assert await ask(port, PATH, "bytes=0-") in (
                (200, "", WHOLE),
                (206, f"bytes 0-{size - 1}/{size}", WHOLE),
            )


@EACH
async def test_a_playlist_is_held_until_it_has_what_is_asked_for(tmp_path: Path, name: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports:
            await put(ports.origin, "/live/a.m3u8", playlist(1))
            # The first that asks is held at the origin; a cache in front holds the others itself.
            readers = [Reader(ports.front, "/live/a.m3u8?_HLS_msn=2") for _ in range(5)]
            async with trio.open_nursery() as nursery:
                for reader in readers:
                    nursery.start_soon(reader.run)
                await ports.until_held(1 if name == "varnish" else len(readers))
                await put(ports.origin, "/live/a.m3u8", playlist(2))
            assert {bytes(reader.body) for reader in readers} == {playlist(2)}
            assert {reader.ending for reader in readers} == {"whole"}


def playlist(last: int) -> bytes:
    """Segments up to number `last`."""
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n"
    return (head + "".join(f"#EXTINF:20,\n{msn}.m4s\n" for msn in range(last + 1))).encode()


@EACH
async def test_head_and_list_ask_the_origin(tmp_path: Path, name: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted(name, tmp_path) as ports, client_of(ports.front) as client:
            writer, reader = Writer(ports.origin, PATH), Reader(ports.front, PATH, WAIT)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run)
                nursery.start_soon(reader.run)
                await writer.write(CHUNKS[0])
                await reader.until(CHUNK_BYTES)
                answer = await client.request("HEAD", PATH)
                assert answer.fields["chunkstore-offset"] == str(CHUNK_BYTES)
                assert answer.fields["chunkstore-state"] == "open"
                await answer.body()
                assert await (await client.request("LIST", "/")).body() == f"{PATH}\n".encode()
                await writer.end()


async def test_nginx_passes_each_chunk_on_over_kept_connections(tmp_path: Path) -> None:
    small = b"the size of a moof's head"
    with trio.fail_after(DEADLINE_S):
        async with fronted("nginx", tmp_path) as ports:
            writer = Writer(ports.origin, PATH)
            readers = [Reader(ports.front, PATH, WAIT) for _ in range(10)]
            async with trio.open_nursery() as nursery:
                for reader in readers:
                    nursery.start_soon(reader.run)
                await ports.until_held(len(readers))
                nursery.start_soon(writer.run)
                await write_in_step(writer, readers, [small, *CHUNKS, small])
            assert {bytes(reader.body) for reader in readers} == {small + WHOLE + small}
            # HTTP/1.0 would have been answered with a length, when all was there.
            for reader in readers:
                assert reader.answer is not None
                assert reader.answer.fields["transfer-encoding"] == "chunked"
            accepted = "chunkstore_connections_total"
            before = await ports.metric(accepted)
            asking = await ports.metric(accepted) - before
            for _ in range(10):
                assert (await get(ports.front, PATH))[0] == 200
            assert await ports.metric(accepted) == before + 2 * asking


async def test_nginx_closes_no_encoders_connection(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with fronted("nginx", tmp_path) as ports, client_of(ports.front) as client:
            for _ in range(1001):
                answer = await client.request("HEAD", PATH)
                assert answer.fields["connection"] == "keep-alive"
                await answer.body()


async def test_nginx_keeps_nothing_for_a_reader_that_stalls(tmp_path: Path) -> None:
    stalled = 'chunkstore_endings_total{ending="stalled"}'
    chunk = bytes(2**20)
    with trio.fail_after(DEADLINE_S):
        async with (
            fronted("nginx", tmp_path, 'reader_stall = "1s"') as ports,
            await trio.open_tcp_stream("127.0.0.1", ports.front) as stream,
            trio.open_nursery() as nursery,
        ):
            writer = Writer(ports.origin, PATH)
            nursery.start_soon(writer.run)
            await writer.write(chunk)
            await stream.send_all(
                f"GET {PATH} HTTP/1.1\r\nHost: h\r\nPrefer: wait=25\r\n\r\n".encode()
            )
            for _ in range(40):  # more than all sockets on the way hold
                await writer.write(chunk)
            while await ports.metric(stalled) != 1:
                pass
            await writer.end()
