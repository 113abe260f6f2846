"""The publisher against a real origin: what is packaged is stored, held for, and removed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import trio

from bench.studio.fmp4 import Mp4Error
from bench.studio.packager import Form, Packager, Step
from bench.studio.publisher import Publisher, carry, publishing
from chunkstore.playlist import MediaPlaylist, parse_playlist
from tests.bench.studio.boxes import init, stream
from tests.bench.studio.shelf import Shelf, parts_of
from tests.origin.drive import Answer, Client
from tests.origin.test_sockets import SocketSite, listening, until

DEADLINE_S = 20
START = datetime(2030, 1, 2, tzinfo=UTC)
GOP, PART = 6, 2
LIST = "/live/media.m3u8"
FORMS = pytest.mark.parametrize("form", Form)


def packager(form: Form) -> Packager:
    """Of segments of 6 frames, in parts of 2."""
    return Packager(form, START, segment_s=0.24, part_s=0.08, window_segments=3)


def port_of(site: SocketSite) -> int:
    """Where it listens."""
    port: int = site.listener.raw.getsockname()[1]
    return port


def parse(playlist: bytes) -> MediaPlaylist:
    """As the origin reads it."""
    found = parse_playlist(playlist)
    assert found is not None
    return found


class Live:
    """A stream that a test moves on frame by frame, and what should have become of it."""

    def __init__(self, form: Form, publisher: Publisher, count: int = 60) -> None:
        self.shelf = Shelf()
        self._packager = packager(form)
        self._publisher = publisher
        self._frames = iter(stream(count, gop=GOP))

    async def begin(self) -> None:
        """The init segment."""
        await self._take(self._packager.feed(init()))

    async def frames(self, count: int) -> None:
        """So many more."""
        for _ in range(count):
            await self._take(self._packager.feed(next(self._frames).data))

    async def part(self) -> bytes:
        """The frames of a part; the playlist that lists it."""
        await self.frames(PART)
        return self.shelf.versions[-1][0]

    async def end(self) -> None:
        """What is left."""
        await self._take(self._packager.finish())

    async def _take(self, steps: Sequence[Step]) -> None:
        self.shelf.carry_out(steps)
        await self._publisher.take(steps)


async def check(site: SocketSite, shelf: Shelf) -> None:
    """The origin has what was packaged and not removed, whole and to the byte."""
    kept = {f"/live/{name}" for name in shelf.objects.keys() - set(shelf.removed)}
    assert set(await site.list()) == kept | {LIST}
    for path in kept:
        answer = await site.get(path)
        assert answer.status == 200
        assert answer.body == shelf.objects[path.removeprefix("/live/")]
    assert (await site.get(LIST)).body == shelf.versions[-1][0]


@FORMS
async def test_all_that_was_packaged_is_stored_and_old_segments_go(form: Form) -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site:
            async with publishing("127.0.0.1", port_of(site), "/live/") as publisher:
                live = Live(form, publisher)
                await live.begin()
                await live.frames(60)
                await live.end()
            await check(site, live.shelf)
            assert set(publisher.tally.statuses) == {200, 201}
            assert (publisher.tally.retries, publisher.tally.given_up) == (0, [])
            assert publisher.removals == {200: len(live.shelf.removed)}
            assert live.shelf.removed


async def test_a_fragment_is_a_chunk() -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site:
            async with publishing("127.0.0.1", port_of(site), "/live/") as publisher:
                live = Live(Form.RANGES, publisher)
                await live.begin()
                await live.frames(1)
                await until(lambda: "/live/seg0.m4s" in site.origin.catalog.namespace._entries)
                reader = await site.follow_pushed("/live/seg0.m4s")
                await live.frames(GOP - 1)
                answer = await reader.rest()
                await live.end()
    assert answer.is_whole
    assert answer.chunks == [one.data for one in stream(GOP, gop=GOP)]


@FORMS
async def test_blocking_reload_gets_each_playlist_with_its_part(form: Form) -> None:
    """Before a part is sent a reader asks for the playlist that lists it, and is held."""
    with trio.fail_after(DEADLINE_S):
        async with listening() as site:
            async with publishing("127.0.0.1", port_of(site), "/live/") as publisher:
                live = Live(form, publisher)
                await live.begin()
                await live.part()
                await until(lambda: "/live/media.m3u8" in site.origin.catalog.namespace._entries)
                reader = await site.dial()
                for count in range(2, 4 * GOP // PART):
                    msn, part = divmod(count - 1, GOP // PART)
                    await reader.request("GET", f"{LIST}?_HLS_msn={msn}&_HLS_part={part}")
                    await until(lambda: site.waiter_count == 1)
                    listed = await live.part()
                    answer = await reader.read()
                    assert (answer.status, answer.body) == (200, listed)
                    read = parse(answer.body)
                    assert read.has(msn, part)
                    assert not read.has(msn, part + 1)
                await live.end()


async def test_the_hinted_range_is_held_and_then_served() -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site:
            async with publishing("127.0.0.1", port_of(site), "/live/") as publisher:
                live = Live(Form.RANGES, publisher)
                await live.begin()
                await live.part()
                for _ in range(2 * GOP // PART):
                    hint = live.shelf.versions[-1][0].decode().splitlines()[-1]
                    uri, start = hint.split('"')[1], int(hint.rpartition("=")[2])
                    first = await ask_early(site, uri, f"{start}-", waiters=1)
                    streamed = await ask_early(site, uri, f"{start}-{2**53 - 1}", waiters=2)
                    listed = parts_of(await live.part())[-1]
                    assert (listed.uri, listed.start) == (uri, start)
                    body = live.shelf.objects[uri][start : listed.stop]
                    # One that names its end gets all of it; one that doesn't what there is, at
                    # once; and one to an end that nobody knows gets it as it grows.
                    exact = await ask(site, uri, f"{start}-{listed.stop - 1}")
                    assert exact.status == 206
                    assert exact.body == body
                    await first.head()
                    assert body.startswith(await first.more())
                    await streamed.head()
                    assert (await streamed.until(len(body))).body == body
                await live.end()


async def test_the_hinted_file_is_held_and_then_streamed() -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site:
            async with publishing("127.0.0.1", port_of(site), "/live/") as publisher:
                live = Live(Form.FILES, publisher)
                await live.begin()
                await live.part()
                for _ in range(2 * GOP // PART):
                    hint = live.shelf.versions[-1][0].decode().splitlines()[-1]
                    uri = hint.split('"')[1]
                    early = await ask_early(site, uri, None, waiters=1)
                    await live.frames(1)  # the part goes on, and its reader has this much
                    await early.head()
                    assert (await early.more()) == live.shelf.objects[uri]
                    await live.frames(PART - 1)
                    answer = await early.rest()
                    assert answer.is_whole
                    assert answer.body == live.shelf.objects[uri]
                    assert parts_of(live.shelf.versions[-1][0])[-1].uri == uri
                await live.end()


async def test_a_pipe_is_carried_to_its_end() -> None:
    made = stream(20, gop=GOP)
    script = "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))"
    data = init() + b"".join(one.data for one in made)
    with trio.fail_after(DEADLINE_S):
        async with listening() as site, trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert process.stdin is not None
            assert process.stdout is not None
            nursery.start_soon(feed, process.stdin, data.hex().encode())
            async with process.stdout, publishing("127.0.0.1", port_of(site), "/live/") as to:
                await carry(process.stdout, packager(Form.RANGES), to)
            assert await process.wait() == 0
            shelf = Shelf()
            whole = packager(Form.RANGES)
            shelf.carry_out([*whole.feed(data), *whole.finish()])
            await check(site, shelf)


async def feed(stdin: trio.abc.SendStream, data: bytes) -> None:
    """All of it, and the end."""
    async with stdin:
        await stdin.send_all(data)


async def test_a_stream_that_cannot_be_packaged_cuts_what_is_under_way() -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site:

            async def publish() -> None:
                async with publishing("127.0.0.1", port_of(site), "/live/") as publisher:
                    live = Live(Form.RANGES, publisher)
                    await live.begin()
                    await live.frames(1)
                    await until(lambda: "/live/seg0.m4s" in site.origin.catalog.namespace._entries)
                    await publisher.take(Packager(Form.RANGES, START).feed(bytes(8)))

            with pytest.raises(Mp4Error):
                await publish()
            await until(lambda: site.origin.metrics.aborts["writer_gone"] == 1)
            assert "/live/seg0.m4s" not in await site.list()


async def ask_early(site: SocketSite, uri: str, span: str | None, *, waiters: int) -> Client:
    """A GET of what isn't there yet, which is held, as one of so many."""
    client = await site.dial()
    await client.request("GET", f"/live/{uri}", *([f"Range: bytes={span}"] if span else []))
    await until(lambda: site.waiter_count == waiters)
    return client


async def ask(site: SocketSite, uri: str, span: str) -> Answer:
    """A ranged GET, answered."""
    client = await site.dial()
    return await client.ask("GET", f"/live/{uri}", f"Range: bytes={span}")
