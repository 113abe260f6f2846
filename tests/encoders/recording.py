"""Recordings of what an encoder sends, made by a sink that answers as an origin would and keeps it.

`parse` reads them by means of its own: what a replay should have stored is never taken from the
origin's word.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import trio

__all__ = ["Read", "Recording", "Sent", "Sink", "parse"]

SEEN_BYTES = 64 * 1024


class Sent(NamedTuple):
    """A request as far as its bytes go.

    Attributes:
        fields: lower-case names.
        chunks: its body; if it isn't whole, the last one may lack bytes.
        is_whole: its last byte is there.
        start: where in the bytes of its connection it begins.
        body_start: where its head ends.
        end: where the next request begins.
    """

    method: str
    path: str
    fields: dict[str, str]
    chunks: list[bytes]
    is_whole: bool
    start: int
    body_start: int
    end: int

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks)

    @property
    def ends(self) -> list[int]:
        """The absolute offsets at which its chunks end."""
        return list(accumulate(map(len, self.chunks)))


def parse(raw: bytes | bytearray, start: int = 0) -> list[Sent]:
    """The requests in a connection's bytes, the last one perhaps in part (RFC 9112 section 7.1).

    Bodies are chunked or absent, as encoders send them; a head that isn't whole is left out.

    Args:
        start: where the first one begins.
    """
    found: list[Sent] = []
    while (head_end := raw.find(b"\r\n\r\n", start)) >= 0:
        first, *lines = raw[start:head_end].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines)
        fields = {name.lower(): value.strip() for name, value in pairs}
        assert "content-length" not in fields
        body_start = end = head_end + 4
        chunks, is_whole = list[bytes](), True
        if "transfer-encoding" in fields:
            chunks, is_whole, end = _parse_chunks(raw, body_start)
        found.append(Sent(method, path, fields, chunks, is_whole, start, body_start, end))
        if not is_whole:
            break
        start = end
    return found


def _parse_chunks(raw: bytes | bytearray, at: int) -> tuple[list[bytes], bool, int]:
    chunks: list[bytes] = []
    while (line_end := raw.find(b"\r\n", at)) >= 0:
        size = int(raw[at:line_end], 16)
        at = line_end + 2
        data = bytes(raw[at : at + size])
        chunks += [data] if data else []
        at += size + 2
        if len(raw) < at:
            break
        assert raw[at - 2 : at] == b"\r\n"
        if not size:
            return chunks, True, at
    return chunks, False, len(raw)


class Read(NamedTuple):
    """What one receive brought: a send of the encoder, or several that came together."""

    connection: int
    data: bytes


class Recording:
    """What one run of an encoder sent.

    Attributes:
        reads: in the order in which they came, over all connections.
        connections: all bytes of each, in the order in which they were made.
        exit_code: the encoder's.
    """

    def __init__(self) -> None:
        self.reads: list[Read] = []
        self.connections: list[bytearray] = []
        self.exit_code: int | None = None

    @property
    def sent(self) -> list[Sent]:
        """The requests, connection after connection."""
        return [one for raw in self.connections for one in parse(raw)]

    def named(self, name: str, method: str = "PUT") -> list[Sent]:
        """The requests of a method whose path ends in `name`."""
        return [one for one in self.sent if one.method == method and one.path.endswith(name)]


class Sink:
    """Takes connections, answers every request as soon as it is whole, and records it all.

    Args:
        listener: where.
        status: what it answers; None: nothing.
        look: called after each read with the bytes of its connection so far; what it returns says
            whether the connection goes on.
    """

    def __init__(
        self,
        listener: trio.SocketListener,
        status: int | None = 201,
        look: Callable[[bytearray], bool] = lambda raw: True,
    ) -> None:
        self.port: int = listener.socket.getsockname()[1]
        self.recording = Recording()
        self._listener = listener
        self._answer = b""
        if status is not None:
            self._answer = b"HTTP/1.1 %d Answer\r\nContent-Length: 0\r\n\r\n" % status
        self._look = look
        self._accepting = trio.CancelScope()
        self._is_finishing = False

    async def run(self) -> None:
        """Record until `finish` was called and every connection has ended."""
        async with self._listener, trio.open_nursery() as nursery:
            with self._accepting:
                while True:
                    # Numbered as they are accepted: tasks start in any order.
                    stream = await self._listener.accept()
                    self.recording.connections.append(bytearray())
                    nursery.start_soon(self._serve, stream, len(self.recording.connections) - 1)
        self.recording.connections = [raw for raw in self.recording.connections if raw]

    async def finish(self) -> None:
        """Have `run` return once all connections that were made before have been recorded whole."""
        # They are accepted in their order, so an empty one comes behind all others.
        self._is_finishing = True
        await (await trio.open_tcp_stream("127.0.0.1", self.port)).aclose()

    async def _serve(self, stream: trio.SocketStream, number: int) -> None:
        raw = self.recording.connections[number]
        async with stream:
            try:
                await self._record(stream, number, raw)
            except trio.BrokenResourceError:
                pass  # killed, or closed without reading its answers
        if self._is_finishing and not raw:
            self._accepting.cancel()

    async def _record(self, stream: trio.SocketStream, number: int, raw: bytearray) -> None:
        answered = continued = 0
        while data := await stream.receive_some(SEEN_BYTES):
            self.recording.reads.append(Read(number, bytes(data)))
            raw += data
            if not self._look(raw):
                return
            for one in parse(raw, answered):
                if "expect" in one.fields and continued <= one.start:
                    continued = one.body_start
                    await _answer(stream, b"HTTP/1.1 100 Continue\r\n\r\n")
                if one.is_whole:
                    answered = one.end
                    await _answer(stream, self._answer)


async def _answer(stream: trio.SocketStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # closed without reading it; what was sent before is still to be read
