"""A proxy that cuts uploads in the middle of a segment, and otherwise passes all bytes on.

Two kinds of cut. A *reset* breaks the connection towards both sides. A *half-open* one is what is
left when a NAT forgets: the encoder's side is reset, the origin's stays open and says nothing more,
so the origin can't know that the upload is over until its retry comes.
"""

from __future__ import annotations

import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

import trio

from bench.studio.framing import Requests

__all__ = ["Cut", "CuttingProxy", "Kind", "is_media"]

CONNECTIONS: Final = 256
"""Carried at a time; the next one waits."""
SILENT: Final = 64
"""Half-open connections that are kept; then the oldest is closed."""
_RECEIVE_BYTES: Final = 64 * 1024
_ROUND_TRIP_S: Final = 0.05
"""Who is cut off learns of it so much later, as in a network: else its retry may be read before
what was passed on, which then counts as the newer upload."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER, on, 0 s
_MEDIA: Final = re.compile(r".*\.(m4s|mp4|m4v|m4a|cmfv|cmfa|ts)")


class Kind(Enum):
    """Which sides learn of a cut."""

    RESET = "reset"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut that was made.

    Attributes:
        path: the segment whose upload it was.
        offset: bytes of the segment that had been passed on, framing apart.
        kind: which sides learned of it.
    """

    path: str
    offset: int
    kind: Kind


def is_media(path: str) -> bool:
    """Whether a path is a media segment's, and not an init segment's or a manifest's."""
    name = path.rpartition("/")[2]
    return _MEDIA.fullmatch(name) is not None and "init" not in name


@dataclass(slots=True)
class _Order:
    kind: Kind
    at: int
    done: trio.Event = field(default_factory=trio.Event)
    cut: Cut | None = None


@dataclass(slots=True, eq=False)
class _Connection:
    client: trio.SocketStream
    origin: trio.SocketStream
    requests: Requests
    is_sending: bool = False  # to the origin: how far that is, nobody knows
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class CuttingProxy:
    """Passes connections on to an origin, and cuts uploads when it is told to.

    Args:
        port: the origin's.
        host: the origin's.
        is_wanted: whether an upload may be cut, by its path.

    Attributes:
        cuts: those that were made, in their order.
    """

    def __init__(
        self, port: int, host: str = "127.0.0.1", is_wanted: Callable[[str], bool] = is_media
    ) -> None:
        self.cuts: list[Cut] = []
        self._port = port
        self._host = host
        self._is_wanted = is_wanted
        self._connections: set[_Connection] = set()
        self._silent: deque[trio.SocketStream] = deque()
        self._slots = trio.Semaphore(CONNECTIONS)
        self._turn = trio.Lock()
        self._order: _Order | None = None

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry connections until cancelled; starts with the port they are taken on.

        Cancellation: all connections are closed, the half-open ones too.
        """
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        try:
            async with listener, trio.open_nursery() as nursery:
                task_status.started(listener.socket.getsockname()[1])
                while True:
                    await self._slots.acquire()
                    nursery.start_soon(self._carry, await listener.accept())
        finally:
            for origin in self._silent:
                origin.socket.close()

    async def cut(self, kind: Kind = Kind.RESET, *, at: int = 1) -> Cut:
        """Cut an upload in mid-segment: one that is there now, or the next one that comes so far.

        Args:
            kind: which sides learn of it.
            at: how many bytes of the segment must have been passed on; one that hasn't come so
                far yet is cut exactly there, inside a chunk or not.
        Returns:
            what was cut, once it is; the last chunk hadn't been passed on.
        Cancellation: nothing is cut.
        """
        assert at >= 1
        async with self._turn:
            order = self._order = _Order(kind, at)
            try:
                for connection in tuple(self._connections):
                    if not connection.is_sending and self._obey(connection):
                        break
                await order.done.wait()
            finally:
                self._order = None
        assert order.cut is not None
        return order.cut

    async def cut_at_random(
        self,
        count: int,
        seconds: float,
        chance: Random,
        kinds: Sequence[Kind] = (Kind.RESET, Kind.HALF_OPEN),
    ) -> None:
        """So many cuts in so many seconds, each at a random moment of its share of them.

        Evenly spaced ones would always hit the same place of a segment. The kinds take turns.
        """
        began_s = trio.current_time()
        for index in range(count):
            await trio.sleep_until(began_s + (index + chance.random()) * seconds / count)
            await self.cut(kinds[index % len(kinds)])

    # --- passing on ----------------------------------------------------------------------------

    async def _carry(self, client: trio.SocketStream) -> None:
        try:
            async with client:
                await self._connect(client)
        finally:
            self._slots.release()

    async def _connect(self, client: trio.SocketStream) -> None:
        try:
            origin = await trio.open_tcp_stream(self._host, self._port)
        except OSError:
            _reset(client)
            return
        connection = _Connection(client, origin, Requests(self._is_wanted))
        self._connections.add(connection)
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass_up, connection)
                    nursery.start_soon(self._pass_down, connection)
        finally:
            self._connections.discard(connection)
            if origin not in self._silent:
                origin.socket.close()

    async def _pass_up(self, connection: _Connection) -> None:
        requests, origin = connection.requests, connection.origin
        try:
            while some := await connection.client.receive_some(_RECEIVE_BYTES):
                left = memoryview(some)
                while left:
                    size = requests.feed(left, self._order.at if self._order else None)
                    connection.is_sending = True
                    await origin.send_all(left[:size])
                    connection.is_sending = False
                    left = left[size:]
                    if self._is_due(connection):
                        await trio.sleep(_ROUND_TRIP_S)
                    if self._obey(connection):
                        return
            await origin.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break(connection)

    async def _pass_down(self, connection: _Connection) -> None:
        try:
            while some := await connection.origin.receive_some(_RECEIVE_BYTES):
                await connection.client.send_all(some)
            await connection.client.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break(connection)

    def _break(self, connection: _Connection) -> None:
        """One side broke: the other one learns of it, by a reset if it was in mid-message.

        A client may have left without its answer, as ffmpeg does: its upload was whole all the
        same, and a reset might still take that from the origin.
        """
        if connection.scope.cancel_called:
            return  # cut on purpose: who learns of it is decided
        _reset(connection.client)
        if connection.requests.is_amid:
            _reset(connection.origin)
        connection.scope.cancel()

    # --- cutting -------------------------------------------------------------------------------

    def _is_due(self, connection: _Connection) -> bool:
        """A cut is waited for, and this one has come so far."""
        order, requests = self._order, connection.requests
        return order is not None and requests.is_amid and requests.offset >= order.at

    def _obey(self, connection: _Connection) -> bool:
        """Cut this one, if a cut is waited for and it has come so far."""
        order, requests = self._order, connection.requests
        if order is None or not self._is_due(connection):
            return False
        self._order = None
        self._connections.discard(connection)  # at once: the next cut may come before its task ends
        _reset(connection.client)
        if order.kind is Kind.RESET:
            _reset(connection.origin)
        else:
            self._silent.append(connection.origin)
            if len(self._silent) > SILENT:
                self._silent.popleft().socket.close()
        connection.scope.cancel()
        order.cut = Cut(requests.path, requests.offset, order.kind)
        self.cuts.append(order.cut)
        order.done.set()
        return True


def _reset(stream: trio.SocketStream) -> None:
    """Close it so that the peer sees a reset; nothing happens if it is closed."""
    if stream.socket.fileno() >= 0:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        stream.socket.close()
