"""Sockets that accept: addresses that can be had or not, limits, and failures that pass."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import cast

import pytest
import trio

from chunkstore.server import Listener
from tests.server.rig import GET, Peer, all_closed, connect, listen, open_count, serving


async def test_several_listeners_serve_the_same(tmp_path: Path) -> None:
    listeners = [listen(), listen("localhost:0"), listen(f"unix:{tmp_path}/socket")]
    assert [one.url.partition(":")[0] for one in listeners] == ["http", "http", "unix"]
    assert len({one.url for one in listeners}) == 3
    async with serving(*listeners) as server:
        for listener in listeners:
            peer = await connect(listener)
            assert (await peer.ask(GET)).body == b"hello"
            await peer.stream.aclose()
        assert server.metrics.connections == 3
    for listener in listeners:
        assert listener.raw.fileno() == -1
    assert not os.listdir(tmp_path)


async def test_an_address_that_is_taken_is_named() -> None:
    taken = listen()
    with pytest.raises(OSError, match=taken.url.rpartition(":")[2]) as caught:
        listen(taken.url.removeprefix("http://"))
    assert caught.value.errno == errno.EADDRINUSE
    taken.close()


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    listener = listen(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()


def test_a_socket_that_is_served_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = listen(f"unix:{path}")
    with pytest.raises(OSError, match=str(path)):
        listen(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.close()
    assert not path.exists()


def test_a_file_is_not_taken_for_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "movie.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(OSError, match=str(path)):
        listen(f"unix:{path}")
    assert path.read_bytes() == b"precious"


def test_the_name_of_the_next_server_outlives_this_ones_drain(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    old = listen(f"unix:{path}")
    old.close()
    new = listen(f"unix:{path}")
    old.close()
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    new.close()


class Failing:
    """A listening socket whose accept fails a few times."""

    def __init__(self, raw: socket.socket, failures: list[int]) -> None:
        self._raw = raw
        self._failures = failures

    def fileno(self) -> int:
        """Of the real one."""
        return self._raw.fileno()

    def close(self) -> None:
        """Close it."""
        self._raw.close()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Fail, or accept."""
        if self._failures:
            code = self._failures.pop()
            raise OSError(code, os.strerror(code))
        return self._raw.accept()


async def test_running_out_of_descriptors_is_survived(
    autojump_clock: trio.testing.MockClock,
) -> None:
    listener = listen()
    failures = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED]
    failing = cast("socket.socket", Failing(listener.raw, failures))
    async with serving(Listener(failing, listener.url, "")):
        peer = await connect(listener)
        assert (await peer.ask(GET)).body == b"hello"
        await peer.stream.aclose()
    assert not failures


async def test_a_real_shortage_of_descriptors_is_survived() -> None:
    listener = listen()
    async with serving(listener) as server:
        served = await connect(listener)
        assert (await served.ask(GET)).body == b"hello"
        hoard: list[int] = []
        waiting = socket.socket()
        try:
            while True:
                hoard.append(os.dup(waiting.fileno()))
        except OSError as error:
            shortage = error.errno
        waiting.setblocking(False)
        waiting.connect_ex(listener.raw.getsockname())
        for _ in range(20):
            assert (await served.ask(GET)).body == b"hello"
        assert shortage == errno.EMFILE
        assert len(server.connections) == 1
        for descriptor in hoard:
            os.close(descriptor)
        peer = Peer(trio.SocketStream(trio.socket.from_stdlib_socket(waiting)))
        with trio.fail_after(5):
            assert (await peer.ask(GET)).body == b"hello"
        await peer.stream.aclose()
        await served.stream.aclose()


async def test_beyond_the_limit_connections_are_told() -> None:
    listener = listen()
    before = open_count()
    async with serving(listener, max_connections=3) as server:
        # All are there before the server accepts the first: a burst is counted one by one.
        streams = [socket.create_connection(listener.raw.getsockname()) for _ in range(20)]
        for stream in streams:
            stream.sendall(GET)
        peers = [Peer(trio.SocketStream(trio.socket.from_stdlib_socket(one))) for one in streams]
        answers = [await peer.answer() for peer in peers]
        assert [one.status for one in answers] == [200] * 3 + [503] * 17
        for stream, peer in zip(streams[3:], peers[3:], strict=True):
            stream.send(GET)  # what comes late doesn't turn the end into a reset
            assert await peer.rest() == b""
        assert not any(peer.was_reset for peer in peers)
        assert all(b"try again" in one.body for one in answers[3:])
        assert server.metrics.connections == 20
        assert server.metrics.connections_refused == 17
        for peer in peers:
            await peer.stream.aclose()
        await all_closed(server)
        peer = await connect(listener)
        assert (await peer.ask(GET)).status == 200
        await peer.stream.aclose()
    assert open_count() <= before


async def test_options_of_a_connection() -> None:
    listener = listen(send_buffer_bytes=123_456)
    async with serving(listener) as server:
        peer = await connect(listener)
        await peer.ask(GET)
        (connection,) = server.connections
        raw = connection.transport.raw
        assert raw is not None
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (123_456, 2 * 123_456)
        assert not raw.getblocking()
        host, port = peer.stream.socket.getsockname()  # type: ignore[attr-defined]
        assert connection.transport.peer == f"{host}:{port}"
        await peer.stream.aclose()


@pytest.mark.parametrize("name", ["q", "\0", "\0abstract"])
async def test_a_unix_client_may_have_any_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    listener = listen(f"unix:{tmp_path}/socket")
    async with serving(listener) as server:
        raw = trio.socket.socket(socket.AF_UNIX)
        await raw.bind(name)
        await raw.connect(f"{tmp_path}/socket")
        peer = Peer(trio.SocketStream(raw))
        assert (await peer.ask(GET)).body == b"hello"
        assert [one.transport.peer for one in server.connections] == ["unix"]
        await peer.stream.aclose()
