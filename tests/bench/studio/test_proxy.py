"""The cutting proxy between our publisher and a real origin: who is cut, and who isn't."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bench.studio import proxy as proxy_module
from bench.studio.packager import Form
from bench.studio.proxy import Cut, CuttingProxy, Kind, is_media
from bench.studio.publisher import publishing
from tests.bench.studio.boxes import stream
from tests.bench.studio.test_publisher import DEADLINE_S, GOP, Live, ask_early, check, port_of
from tests.origin.drive import Answer, Client, Upload
from tests.origin.test_sockets import SocketSite, listening, until

SEGMENT = "/live/seg0.m4s"
BODY = b"".join(one.data for one in stream(GOP, gop=GOP))
FRAME = len(stream(1, gop=GOP)[0].data)
READERS = 3
KINDS = pytest.mark.parametrize("kind", Kind)


def is_segment(path: str) -> bool:
    """Whether it is a whole segment's, not a part's."""
    return is_media(path) and path.count(".") == 1


@asynccontextmanager
async def proxied(site: SocketSite) -> AsyncIterator[tuple[CuttingProxy, int]]:
    """A proxy in front of an origin, and its port."""
    proxy = CuttingProxy(port_of(site), is_wanted=is_segment)
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(proxy.run)
        yield proxy, port
        nursery.cancel_scope.cancel()


async def until_kept(site: SocketSite) -> None:
    """Wait until the origin has the segment, whole."""
    namespace = site.origin.catalog.namespace
    await until(
        lambda: SEGMENT in namespace._entries and bool(namespace._entries[SEGMENT].complete)
    )


@KINDS
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("at", [1, FRAME - 1, FRAME, 2 * FRAME + 5, len(BODY) - 1, len(BODY)])
async def test_readers_of_a_cut_segment_go_on_in_its_retry(at: int, form: Form, kind: Kind) -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site, proxied(site) as (proxy, port):
            async with publishing("127.0.0.1", port, "/live/") as publisher:
                live = Live(form, publisher)
                await live.begin()
                readers = [
                    await ask_early(site, "seg0.m4s", None, waiters=n + 1) for n in range(READERS)
                ]
                are_amid = at > FRAME  # else the cut may come before they have begun
                if are_amid:
                    await live.frames(1)
                    for reader in readers:
                        await reader.head()
                        await reader.until(FRAME)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cut_at, proxy, kind, at)
                    await wait_all_tasks_blocked()
                    await live.frames(GOP - are_amid)
                    for reader in readers:
                        answer = await (reader.rest() if are_amid else reader.read())
                        assert (answer.status, answer.is_whole, answer.body) == (200, True, BODY)
                await live.frames(2 * GOP)
                await live.end()
            assert proxy.cuts == [Cut(SEGMENT, at, kind)]
            assert site.origin.metrics.taken_over == READERS or not are_amid
            assert (publisher.tally.retries, publisher.tally.given_up) == (1, [])
            assert set(publisher.tally.statuses) <= {200, 201}
            await check(site, live.shelf)
            assert not site.origin.metrics.endings["failed"]


async def cut_at(proxy: CuttingProxy, kind: Kind, at: int) -> None:
    """A cut that says what it was told."""
    assert await proxy.cut(kind, at=at) == Cut(SEGMENT, at, kind)


@KINDS
async def test_without_grace_they_are_cut(kind: Kind) -> None:
    policies = [{"match": "/live/", "abort_grace": 0}]
    with trio.fail_after(DEADLINE_S):
        async with listening(policies=policies) as site, proxied(site) as (proxy, port):
            async with publishing("127.0.0.1", port, "/live/") as publisher:
                live = Live(Form.RANGES, publisher)
                await live.begin()
                readers = [
                    await ask_early(site, "seg0.m4s", None, waiters=n + 1) for n in range(READERS)
                ]
                await live.frames(2)
                for reader in readers:
                    await reader.head()
                    await reader.until(2 * FRAME)
                await proxy.cut(kind)
                answers: list[Answer] = [await reader.rest() for reader in readers]
                assert [answer.is_whole for answer in answers] == [False] * READERS
                await live.frames(GOP - 2)
                await live.end()
            await check(site, live.shelf)
            assert site.origin.metrics.taken_over == 0


async def test_many_cuts_of_one_segment() -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site, proxied(site) as (proxy, port):
            async with publishing("127.0.0.1", port, "/live/") as publisher:
                live = Live(Form.RANGES, publisher)
                await live.begin()
                reader = await ask_early(site, "seg0.m4s", None, waiters=1)
                for number in range(1, GOP):
                    await live.frames(1)
                    for kind in Kind:
                        # Each after the segment has caught up, and one that hasn't yet.
                        await proxy.cut(kind, at=number * FRAME)
                        await proxy.cut(kind)
                await live.frames(1)
                answer = await reader.read()
                assert (answer.is_whole, answer.body) == (True, BODY)
                await live.end()
            assert len(proxy.cuts) == 4 * (GOP - 1)
            assert publisher.tally.retries == len(proxy.cuts)
            await check(site, live.shelf)


async def test_a_cut_that_was_called_off_cuts_nothing() -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site, proxied(site) as (proxy, port):
            async with publishing("127.0.0.1", port, "/live/") as publisher:
                live = Live(Form.RANGES, publisher)
                await live.begin()
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(proxy.cut)
                        await wait_all_tasks_blocked()
                        scope.cancel()
                await live.frames(2 * GOP)
                await live.end()
            assert proxy.cuts == []
            assert publisher.tally.retries == 0


async def test_only_what_is_amid_is_cut() -> None:
    """Neither a manifest nor an upload that has ended, on a connection that is kept."""
    with trio.fail_after(DEADLINE_S):
        async with listening() as site, proxied(site) as (proxy, port):
            manifest, segment = Upload(await dial(port)), Upload(await dial(port))
            for upload, path in ((manifest, "/live/a.mpd"), (segment, SEGMENT)):
                await upload.client.request("PUT", path, "Transfer-Encoding: chunked")
                await upload.chunk(b"some")
            await segment.client.send(b"0\r\n\r\n")
            await until_kept(site)
            assert (await segment.client.read("PUT")).status == 201
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_at, proxy, Kind.RESET, 3)
                await wait_all_tasks_blocked()
                assert proxy.cuts == []
                # The next request of the connection, sent in one piece and not to its end.
                await segment.client.send(
                    f"PUT {SEGMENT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "5\r\n12345\r\n".encode()
                )
            assert (await segment.client.read("PUT")).was_reset
            assert (await manifest.end()).status == 201
            for upload in (manifest, segment):
                await upload.client.close()


async def test_what_a_side_does_the_other_one_sees() -> None:
    with trio.fail_after(DEADLINE_S):
        async with listening() as site, proxied(site) as (_, port):
            writer, reader = Upload(await dial(port)), await dial(port)
            await writer.client.request("PUT", SEGMENT, "Transfer-Encoding: chunked")
            await writer.chunk(b"some")
            await reader.begin(SEGMENT)
            await reader.until(4)
            await writer.kill()
            await until(lambda: site.origin.metrics.aborts["writer_gone"] == 1)
            assert (await site.ask("DELETE", SEGMENT)).status == 200
            answer = await reader.rest()
            assert (answer.is_whole, answer.was_reset) == (False, True)
            # One that says it is done and waits for its answer gets it.
            await writer.client.close()
            polite = await dial(port)
            await polite.request("GET", "/none", "Connection: close")
            assert isinstance(polite.stream, trio.SocketStream)
            await polite.stream.send_eof()
            assert (await polite.read()).status == 404
            assert await polite.is_closed()
            for client in (reader, polite):
                await client.close()


async def test_an_origin_that_is_gone_is_a_reset() -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            proxy = CuttingProxy(listener.socket.getsockname()[1])
            await listener.aclose()
            port: int = await nursery.start(proxy.run)
            client = await dial(port)
            assert (await client.read()).was_reset
            await client.close()
            nursery.cancel_scope.cancel()


async def test_half_open_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "SILENT", 2)
    with trio.fail_after(DEADLINE_S):
        async with listening() as site:
            async with proxied(site) as (proxy, port):
                for number in range(4):
                    upload = Upload(await dial(port))
                    await upload.client.request(
                        "PUT", f"/live/seg{number}.m4s", "Transfer-Encoding: chunked"
                    )
                    await upload.chunk(b"some")
                    await proxy.cut(Kind.HALF_OPEN)
                    await upload.client.close()
                await until(lambda: len(site.origin.server.connections) == 2)
            await until(lambda: not site.origin.server.connections)


async def test_random_cuts_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    cuts: list[tuple[float, Kind]] = []

    class Recording(CuttingProxy):
        async def cut(self, kind: Kind = Kind.RESET, *, at: int = 1) -> Cut:
            cuts.append((trio.current_time(), kind))
            return Cut(SEGMENT, at, kind)

    began_s = trio.current_time()
    await Recording(1).cut_at_random(10, 60, Random(7))
    assert [kind for _, kind in cuts] == [Kind.RESET, Kind.HALF_OPEN] * 5
    assert [int((at_s - began_s) / 6) for at_s, _ in cuts] == list(range(10))
    assert len({(at_s - began_s) % 6 for at_s, _ in cuts}) == 10


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/live/chunk-stream0-00001.m4s", True),
        ("/live/seg1.2.m4s", True),
        ("/live/init-stream0.m4s", False),
        ("/live/init.mp4", False),
        ("/live/media.m3u8", False),
        ("/init/1.ts", True),
    ],
)
def test_what_media_is(path: str, expected: bool) -> None:
    assert is_media(path) is expected


async def dial(port: int) -> Client:
    """A connection to the proxy."""
    return Client(await trio.open_tcp_stream("127.0.0.1", port))
