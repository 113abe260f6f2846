"""The end of a server: what runs may finish, what waits is let go, and what lasts is cut."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.config import Settings
from chunkstore.metrics import Metrics
from chunkstore.origin import Origin
from chunkstore.server import Log, Server
from tests.live.rig import parse
from tests.server.rig import GET, Peer, Reply, all_closed, connect, dial, jumping, listen, serving


def ask(path: str) -> bytes:
    """A request for `path`."""
    return f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


@jumping
async def test_idle_is_closed_and_running_may_finish(nursery: trio.Nursery) -> None:
    reply = Reply()
    drained: list[bool] = []
    async with serving(handlers={"GET": reply}, on_drain=lambda: drained.append(True)) as server:
        silent, idle, running, begun = (dial(server, nursery) for _ in range(4))
        assert (await idle.ask(GET)).status == 200
        await running.send(ask("/wait"))
        await begun.send(GET[:5])
        await wait_all_tasks_blocked()
        server.stop()
        await wait_all_tasks_blocked()
        assert drained == [True]
        assert await silent.rest() == await idle.rest() == b""
        assert len(server.connections) == 2
        await begun.send(GET[5:])  # its head had begun: it is answered, and told that it's the last
        await begun.rest()
        assert b"Connection: close\r\n" in begun.received
        assert parse(begun.received).body == b"hello"
        reply.release.set()
        await running.rest()
        assert b"Connection: close\r\n" in running.received
        assert parse(running.received).body == b"hello"
        assert server.metrics.endings["complete"] == 3


@jumping
async def test_what_lasts_is_cut_at_the_deadline(nursery: trio.Nursery) -> None:
    async with serving() as server:
        before, within = dial(server, nursery), dial(server, nursery)
        await before.send(ask("/wait"))
        await within.send(ask("/half"))
        await wait_all_tasks_blocked()
        server.stop()
        began_s = trio.current_time()
        assert not parse(await within.rest()).is_whole
        assert trio.current_time() - began_s == pytest.approx(10)
        assert await before.rest() == b""
        await all_closed(server)
        assert server.metrics.endings["drain"] == 2


@jumping
async def test_a_drain_with_nothing_to_wait_for_ends_at_once() -> None:
    async with serving() as server:
        began_s = trio.current_time()
        server.stop()
        await wait_all_tasks_blocked()
        assert trio.current_time() == began_s


@jumping
async def test_abort_ends_everything_at_once(nursery: trio.Nursery) -> None:
    listener = listen()
    settings = Settings(log="off")
    reply = Reply()
    server = Server(settings, {"GET": reply}, Metrics(), Log("off"))
    async with trio.open_nursery() as inner:
        await inner.start(server.run, (listener,))
        peer = await connect(listener)
        await peer.send(ask("/half"))
        await reply.started.wait()
        server.stop()
        await trio.lowlevel.checkpoint()
        server.abort()
    assert not parse(await peer.rest()).is_whole
    assert peer.was_reset
    await peer.stream.aclose()
    assert not server.connections


@jumping
async def test_holds_uploads_and_readers_of_an_origin(nursery: trio.Nursery) -> None:
    origin = Origin(Settings(log="off"), Log("off"))
    async with trio.open_nursery() as inner:
        await inner.start(origin.run)

        def start(data: bytes) -> Peer:
            peer = dial(origin.server, nursery)
            nursery.start_soon(peer.send, data)
            return peer

        put = b"PUT /%b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
        writer, other = start(put % b"live"), start(put % b"other")
        await wait_all_tasks_blocked()
        reader, cut = start(ask("/live")), start(ask("/other"))
        held = start(b"GET /none HTTP/1.1\r\nHost: h\r\nPrefer: wait=5\r\n\r\n")
        waiting = start(b"PUT /third HTTP/1.1\r\n")
        await wait_all_tasks_blocked()
        origin.server.stop()
        answer = await held.answer()
        assert answer.status == 503
        await waiting.send(b"Host: h\r\nContent-Length: 1\r\n\r\nx")
        assert (await waiting.answer()).status == 503
        await writer.send(b"1\r\ny\r\n0\r\n\r\n")
        assert (await writer.answer()).status == 201
        answer = await reader.answer()
        assert (answer.is_whole, answer.body) == (True, b"1\r\nx\r\n1\r\ny\r\n")
        assert not parse(await cut.rest()).is_whole
        assert await other.rest() == b""
        assert origin.metrics.aborts == {"drain": 1}
