"""Attacks on a real origin over real sockets, under the eyes of another client.

After each, everything is where it was: descriptors, connections, memory, and the next request is
served. How long the other client's small GETs took meanwhile is recorded as a property of the test
(`--junit-xml` shows it), not asserted: the machine may be busy with something else.
"""

from __future__ import annotations

import resource
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.config import Settings
from chunkstore.origin import Origin
from chunkstore.server import Listener, Log
from tests.examples import examples
from tests.live.rig import parse
from tests.server.rig import Peer, all_closed, connect, listen, open_count, until

HANG_S = 5.0
"""A small GET that takes this long hangs."""
SMALL = b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n"
PUT = b"PUT /%b HTTP/1.1\r\nHost: h\r\n"
RESET = struct.pack("ii", 1, 0)

Record = Callable[[str, object], None]


class Lines(Log):
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("human")
        self.members: list[dict[str, str | int | float]] = []

    def request(self, **members: str | int | float) -> None:
        """Keep it."""
        self.members.append(members)


class Target:
    """The origin under attack, and the client who goes on beside it."""

    def __init__(self, origin: Origin, listener: Listener, lines: Lines) -> None:
        self.origin = origin
        self.listener = listener
        self.metrics = origin.metrics
        self.address = listener.raw.getsockname()
        self.seconds: list[float] = []
        self._lines = lines

    @property
    def bad_lines(self) -> list[dict[str, str | int | float]]:
        """The log's lines of all others."""
        return [one for one in self._lines.members if one.get("target") != "/small"]

    def dial(self) -> socket.socket:
        """A connection of an attacker, blocking."""
        raw = socket.create_connection(self.address)
        raw.settimeout(30)
        return raw

    async def get_small(self, peer: Peer) -> None:
        """One small GET, timed."""
        began_s = time.perf_counter()
        with trio.fail_after(HANG_S):
            answer = await peer.ask(SMALL)
        assert (answer.status, answer.body) == (200, b"small")
        self.seconds.append(time.perf_counter() - began_s)

    async def stand_by(self) -> None:
        """GET for ever, by turns on the same connection and on a new one."""
        peer = await connect(self.listener)
        try:
            while True:
                await self.get_small(peer)
                other = await connect(self.listener)
                async with other.stream:
                    await self.get_small(other)
                await trio.sleep(0.001)
        finally:
            await trio.aclose_forcefully(peer.stream)

    async def work(self, attack: Callable[[], None]) -> None:
        """An attack from a thread."""
        await trio.to_thread.run_sync(attack)


@asynccontextmanager
async def attacked(record: Record | None = None, **changes: object) -> AsyncIterator[Target]:
    """Run an origin; at the end it is as it was."""
    listener, lines = listen(), Lines()
    limits: dict[str, object] = {"log": "off", **changes}
    origin = Origin(Settings(**limits), lines)  # type: ignore[arg-type]
    target = Target(origin, listener, lines)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(origin.run, (listener,))
            peer = await connect(listener)
            put = PUT % b"small" + b"Content-Length: 5\r\n\r\nsmall"
            assert (await peer.ask(put)).status == 201
            await trio.aclose_forcefully(peer.stream)
            await all_closed(origin.server)
            lines.members.clear()
            before = open_count()
            used_bytes = origin.catalog.store.used_bytes
            async with trio.open_nursery() as beside:
                if record is not None:
                    beside.start_soon(target.stand_by)
                yield target
                beside.cancel_scope.cancel()
            peer = await connect(listener)
            await target.get_small(peer)
            await trio.aclose_forcefully(peer.stream)
            await all_closed(origin.server)
            assert open_count() <= before
            kept = [one.complete for one in origin.catalog.namespace._entries.values()]
            assert origin.catalog.store.used_bytes == sum(
                one.ring.charge_bytes() for one in kept if one
            )
            assert origin.catalog.store.used_bytes >= used_bytes
            nursery.cancel_scope.cancel()
    if record is not None:
        ordered = sorted(target.seconds)
        record("gets", len(ordered))
        record("p50_ms", round(ordered[len(ordered) // 2] * 1000, 2))
        record("p99_ms", round(ordered[int(len(ordered) * 0.99)] * 1000, 2))


def last_words(raw: socket.socket) -> bytes:
    """All that comes to the end."""
    with raw:
        found = b""
        while data := raw.recv(65536):
            found += data
        return found


async def test_slow_heads(record_property: Record) -> None:
    async with attacked(record_property, header_timeout_s=0.3) as target:

        def attack() -> None:
            slow = [target.dial() for _ in range(50)]
            for byte in b"GET / HTT":
                for raw in slow:
                    raw.sendall(bytes([byte]))
            for raw in slow:
                answer = parse(last_words(raw))
                assert (answer.status, answer.is_whole) == (408, True)

        await target.work(attack)
        assert target.metrics.responses[408] == 50
        assert [one["status"] for one in target.bad_lines] == [408] * 50


@pytest.mark.parametrize("framing", [b"Content-Length: 99", b"Transfer-Encoding: chunked"])
async def test_slow_bodies(record_property: Record, framing: bytes) -> None:
    async with attacked(record_property, upload_idle_s=0.3) as target:

        def attack() -> None:
            slow = [target.dial() for _ in range(30)]
            for index, raw in enumerate(slow):
                raw.sendall(PUT % f"slow{index}".encode() + framing + b"\r\n\r\n3\r\nab")
            for raw in slow:
                answer = parse(last_words(raw))
                assert (answer.status, answer.is_whole) == (408, True)

        await target.work(attack)
        assert target.metrics.aborts == {"idle": 30}
        assert [one["status"] for one in target.bad_lines] == [408] * 30


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096
    if soft < wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_descriptors")
async def test_a_thousand_silent_connections(record_property: Record) -> None:
    async with attacked(record_property, idle_timeout_s=2.0) as target:

        def attack() -> None:
            silent = [target.dial() for _ in range(1000)]
            for raw in silent:
                assert last_words(raw) == b""

        await target.work(attack)
        assert target.metrics.connections >= 1000


async def test_a_body_of_100_000_chunks_of_one_byte(record_property: Record) -> None:
    async with attacked(record_property) as target:
        body = b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"

        def attack() -> None:
            raw = target.dial()
            head = PUT % b"tiny" + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            raw.sendall(head + body)
            assert parse(last_words(raw)).status == 201

        await target.work(attack)
        stored = target.origin.catalog.namespace.visible("/tiny")
        assert stored is not None
        assert stored.ring.size_bytes == 100_000
        assert len(stored.ring.ends) < 5000


async def test_thousands_of_pipelined_requests(record_property: Record) -> None:
    async with attacked(record_property) as target:

        def attack() -> None:
            raw = target.dial()
            raw.settimeout(None)
            raw.sendall(b"GET /none HTTP/1.1\r\nHost: h\r\n\r\n" * 3000)
            raw.shutdown(socket.SHUT_WR)
            assert last_words(raw).count(b"HTTP/1.1 404") == 3000

        await target.work(attack)
        assert target.metrics.responses[404] == 3000


async def test_resets_in_mid_send(record_property: Record) -> None:
    async with attacked(record_property) as target:

        def attack() -> None:
            with target.dial() as raw:
                size = 20_000_000
                raw.sendall(PUT % b"large" + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
                raw.recv(100)
            for index in range(40):
                with target.dial() as raw:
                    if index % 2:
                        raw.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
                        raw.recv(1000)
                    else:
                        raw.sendall(PUT % b"cut" + b"Content-Length: 9000\r\n\r\n" + bytes(100))
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        await target.work(attack)
        with trio.fail_after(HANG_S):
            await until(lambda: target.metrics.endings["client_gone"] == 40)
        assert target.metrics.aborts.total() == 20
        assert len(target.bad_lines) == 41
        assert target.origin.catalog.namespace.visible("/cut") is None


WORDS = st.sampled_from(
    [b"GET ", b"PUT ", b"LIST ", b"/x", b"/../", b"%2F", b" HTTP/1.1", b"\r\n", b"\r\n\r\n"]
    + [b"\n", b"\0", b"Host: h\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n"]
    + [b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n"]
    + [b"Range: bytes=0-\r\n", b"Expect: 100-continue\r\n", b"fffffffffffffff\r\n", b"0\r\n\r\n"]
    + [b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"A" * 9000]
    + [SMALL, b": ", b"\r", b"x" * 70_000]
)
GARBAGE = st.binary(min_size=1, max_size=300) | st.lists(WORDS, min_size=1, max_size=12).map(
    b"".join
)


@given(st.lists(GARBAGE, min_size=1, max_size=8))
@examples(40, derandomize=True)
def test_random_bytes(attempts: list[bytes]) -> None:
    async def main() -> None:
        async with attacked(hold_cap_s=0) as target:
            for data in attempts:
                before = target.metrics.endings.total()
                peer = await connect(target.listener)
                assert isinstance(peer.stream, trio.SocketStream)
                async with peer.stream:
                    with trio.fail_after(HANG_S):
                        await peer.send(data)
                        await peer.stream.send_eof()
                        found = await peer.rest()
                assert not peer.was_reset
                is_nothing = not data.strip(b"\r\n")
                assert found.startswith(b"HTTP/1.1 ") or (is_nothing and not found)
                await all_closed(target.origin.server)
                moved = target.metrics.endings.total() - before
                assert moved >= 1 or is_nothing
            assert len(target._lines.members) == target.metrics.endings.total() - 1

    trio.run(main)
