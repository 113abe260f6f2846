"""Every deadline of a connection, on a clock that jumps; the server's own ticks every 0.25 s."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from chunkstore.server import Server, SocketTransport, StreamTransport
from tests.server.rig import GET, Peer, all_closed, dial, jumping, serving

TICK_S = 0.25
LARGE = b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n"


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began_s = trio.current_time()

    def shows(self, expected_s: float) -> bool:
        """Whether it shows this, as exactly as the server's clock ticks."""
        return abs(trio.current_time() - self._began_s - expected_s) <= TICK_S + 1e-6


@jumping
async def test_head_is_timed_from_its_first_byte(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        await trio.sleep(60)  # it is only idle
        watch = Stopwatch()
        for byte in b"GET / HT":
            await peer.send(bytes([byte]))
            await trio.sleep(1.2)  # no byte puts it off
        answer = await peer.answer()
        assert watch.shows(10)
        assert answer.status == 408
        assert b"header timeout" in answer.body
        assert await peer.rest() == b""
        assert server.metrics.endings["timeout"] == server.metrics.responses[408] == 1


@jumping
async def test_head_that_comes_slowly_but_in_time(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        for _ in range(3):  # each head has its own time
            await trio.sleep(70)
            for piece in (GET[:1], GET[1:5], GET[5:]):
                await trio.sleep(3)
                await peer.send(piece)
            assert (await peer.answer()).status == 200


@jumping
async def test_head_that_was_pipelined_in_part_is_timed_too(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        await peer.send(GET + GET[:7])
        watch = Stopwatch()
        assert (await peer.answer()).status == 200
        assert (await peer.answer()).status == 408
        assert watch.shows(10)


@jumping
async def test_slow_head_of_a_client_that_does_not_listen(nursery: trio.Nursery) -> None:
    async with serving() as server:
        ours, theirs = lockstep_stream_pair()
        nursery.start_soon(server.serve, StreamTransport(theirs, "lockstep"))
        await ours.send_all(b"GET")
        watch = Stopwatch()
        await all_closed(server)
        assert watch.shows(11)  # and one for the last word
        assert server.metrics.responses[408] == 1


@jumping
async def test_idle_is_counted_from_the_last_answer(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        for _ in range(2):
            await trio.sleep(74)
            assert (await peer.ask(GET)).status == 200
        watch = Stopwatch()
        assert await peer.rest() == b""
        assert watch.shows(75)
        await all_closed(server)


@jumping
async def test_a_silent_connection_is_closed(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        watch = Stopwatch()
        assert await peer.rest() == b""
        assert watch.shows(75)
        assert server.metrics.responses.total() == 0


@jumping
async def test_a_client_that_takes_nothing_is_cut(nursery: trio.Nursery) -> None:
    async with serving() as server:
        ours, theirs = lockstep_stream_pair()
        nursery.start_soon(server.serve, StreamTransport(theirs, "lockstep"))
        peer = Peer(ours)
        await peer.send(LARGE)
        for _ in range(20):  # slowly is well
            await trio.sleep(9)
            await ours.receive_some(65536)
        watch = Stopwatch()
        await all_closed(server)
        assert watch.shows(10)
        assert server.metrics.endings["stalled"] == 1


def connect_raw(server: Server, nursery: trio.Nursery, family: int) -> trio.SocketStream:
    """A connection over a socket, with what the kernel holds of sends by default.

    What it holds of receipts is bounded: some systems would take the whole answer (32 MiB).
    """
    if family == socket.AF_UNIX:
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.socket()
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
            ours.connect(listener.getsockname())
            theirs, _ = listener.accept()
    nursery.start_soon(server.serve, SocketTransport(theirs, "raw"))
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours))


@jumping
@pytest.mark.parametrize(
    ("family", "bytes_a_second"), [(socket.AF_UNIX, 20_000), (socket.AF_INET, 100_000)]
)
async def test_a_client_that_reads_slowly_from_a_socket_is_not_cut(
    nursery: trio.Nursery, family: int, bytes_a_second: int
) -> None:
    # TCP tells the sender only once the receiver's buffer is free by a large part: hence faster.
    async with serving() as server:
        ours = connect_raw(server, nursery, family)
        async with ours:
            await ours.send_all(LARGE)
            for _ in range(40):  # below what makes the socket writable in time
                await trio.sleep(1)
                assert await ours.receive_some(bytes_a_second)
            assert len(server.connections) == 1
            with trio.fail_after(40):  # now it takes nothing; the kernel still moves a little
                await all_closed(server)
            assert server.metrics.endings["stalled"] == 1


@jumping
async def test_a_client_that_takes_nothing_from_a_socket_is_cut(nursery: trio.Nursery) -> None:
    async with serving() as server:
        ours = connect_raw(server, nursery, socket.AF_UNIX)
        async with ours:
            await ours.send_all(LARGE)
            assert await ours.receive_some(1)
            with trio.fail_after(12):  # the clock also jumps while the kernel carries bytes
                await all_closed(server)
            assert server.metrics.endings["stalled"] == 1


@jumping
@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_a_refused_body_that_does_not_come(nursery: trio.Nursery, framing: bytes) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        head = b"PUT /refuse HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n"
        assert (await peer.ask(head)).status == 413
        watch = Stopwatch()
        assert await peer.rest() == b""
        assert watch.shows(20)
        await all_closed(server)


@jumping
async def test_a_refused_body_that_comes_slowly(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        head = b"PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
        answer = await peer.ask(head)
        assert answer.status == 413
        for _ in range(10):
            await trio.sleep(1.9)
            await peer.send(bytes(100))
        await trio.sleep(70)  # idle again
        assert (await peer.ask(GET)).status == 200


@jumping
async def test_the_server_takes_as_long_as_it_likes(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        await peer.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(1000)
        assert len(server.connections) == 1
        server._handlers["GET"].release.set()  # type: ignore[attr-defined]
        assert (await peer.answer()).status == 200
        await wait_all_tasks_blocked()


@jumping
async def test_an_empty_line_in_two_pieces_does_not_stretch_the_head(nursery: trio.Nursery) -> None:
    async with serving() as server:
        peer = dial(server, nursery)
        await peer.send(b"\r")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(b"\n")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(GET[:5])
        watch = Stopwatch()
        assert (await peer.answer()).status == 408
        assert watch.shows(10)
