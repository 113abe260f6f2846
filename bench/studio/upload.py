"""A PUT that starts anew when its connection breaks: from byte 0, at once, with all it had sent.

That is what an origin which hands readers over from a broken upload to its retry asks of encoders,
and what the better packagers do. The bytes are kept until the origin has answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import h11
import trio

from bench.build import BenchError

__all__ = ["Link", "LostError", "Tally", "Upload"]

STALL_S: Final = 10.0
"""How long the origin may take nothing of what is sent, or give no answer to what was all sent."""
ATTEMPTS: Final = 60
"""Then an upload is given up; with the pauses below, a minute after the origin went away."""
PAUSE_MIN_S: Final = 0.01
PAUSE_MAX_S: Final = 1.0
"""Between attempts that come no further: 10 ms at first, then twice as long each time."""
UPLOAD_BYTES: Final = 64 * 2**20
"""What an upload may keep for its retries: a segment."""
RETRIED: Final = frozenset({408, 500, 502, 503, 504})
"""Answers that another attempt may change. 409 is none: somebody else writes there now."""

_BATCH_BYTES: Final = 256 * 1024
_RECEIVE_BYTES: Final = 16 * 1024

Write: TypeAlias = Callable[[Iterable[bytes]], Awaitable[None]]
Body: TypeAlias = Callable[[Write], Awaitable[None]]


class LostError(BenchError):
    """The connection broke, or the origin fell silent, before there was an answer."""


@dataclass
class Tally:
    """What became of uploads.

    Attributes:
        statuses: final answers, those that were retried too.
        retries: attempts after the first.
        resent_bytes: what was sent again because of them.
        displaced: uploads that ended with 409.
        given_up: paths of uploads that came to nothing.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    retries: int = 0
    resent_bytes: int = 0
    displaced: int = 0
    given_up: list[str] = field(default_factory=list)


class Link(trio.abc.AsyncResource):
    """A connection to the origin, a request at a time; made when needed, kept while it lasts."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._stream: trio.SocketStream | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def exchange(self, method: str, path: str, body: Body | None = None) -> int:
        """Send a request and wait for its answer, which may come before all of it is sent.

        Args:
            body: called with a function that sends each piece as one HTTP chunk; None: no body.
        Returns:
            the status.
        Raises:
            LostError: there is no answer.
        Cancellation: the connection is closed.
        """
        if self._http.our_state is self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            await self.aclose()
        try:
            if self._stream is None:
                self._http = h11.Connection(h11.CLIENT)
                self._stream = await trio.open_tcp_stream(self._host, self._port)
            status = await self._exchange(self._stream, self._head(method, path, body), body)
        except OSError as error:
            raise LostError(f"no connection to {self._host}:{self._port}: {error}") from error
        finally:
            if not self._http.our_state is self._http.their_state is h11.DONE:
                await self.aclose()
        if status is None:
            raise LostError(f"no answer to {method} {path}")
        return status

    async def aclose(self) -> None:
        """Close the connection at once, if there is one."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await trio.aclose_forcefully(stream)

    def _head(self, method: str, path: str, body: Body | None) -> h11.Request:
        fields = [("Host", f"{self._host}:{self._port}")]
        if body is not None:
            fields.append(("Transfer-Encoding", "chunked"))
        return h11.Request(method=method, target=path, headers=fields)

    async def _exchange(
        self, stream: trio.SocketStream, head: h11.Request, body: Body | None
    ) -> int | None:
        status: int | None = None  # and none if the deadline passes
        async with trio.open_nursery() as nursery:
            both = nursery.cancel_scope

            async def send(*events: h11.Event) -> None:
                data = b"".join(self._http.send(event) or b"" for event in events)
                both.deadline = trio.current_time() + STALL_S
                await stream.send_all(data)
                both.deadline = float("inf")

            async def write(pieces: Iterable[bytes]) -> None:
                await send(*(h11.Data(piece) for piece in pieces))

            async def send_request() -> None:
                try:
                    await send(head)
                    if body is not None:
                        await body(write)
                    await send(h11.EndOfMessage())
                    both.deadline = trio.current_time() + STALL_S
                except trio.BrokenResourceError:
                    pass  # there may be an answer that says why; whoever reads it finds out

            nursery.start_soon(send_request)
            status = await self._read_answer(stream)
            both.cancel()
        return status

    async def _read_answer(self, stream: trio.SocketStream) -> int | None:
        status: int | None = None
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.EndOfMessage):
                    return status
                elif isinstance(event, h11.ConnectionClosed):
                    return None
            except (h11.RemoteProtocolError, trio.BrokenResourceError):
                return None


class Upload:
    """One object, piece by piece, until the origin has answered for all of it.

    Args:
        path: where it goes.
        tally: what became of it is counted there.
        pieces: what is there already; each is sent as one HTTP chunk.
    """

    def __init__(self, path: str, tally: Tally, pieces: Iterable[bytes] = ()) -> None:
        self.path = path
        self._tally = tally
        self._pieces: list[bytes] = []
        self._size = 0
        self._furthest = 0  # pieces that some attempt has sent
        self._is_finished = False
        self._changed = trio.Event()
        for piece in pieces:
            self.append(piece)

    def append(self, piece: bytes) -> None:
        """Add bytes, to be sent at once by who runs it; never waits.

        Raises:
            BenchError: it has grown larger than what is kept for retries.
        """
        assert not self._is_finished
        self._size += len(piece)
        if self._size > UPLOAD_BYTES:
            raise BenchError(f"{self.path} grew larger than {UPLOAD_BYTES} bytes")
        if piece:  # an empty chunk would be the last one
            self._pieces.append(piece)
            self._wake()

    def finish(self) -> None:
        """Nothing more is added."""
        self._is_finished = True
        self._wake()

    async def run(self, link: Link) -> int:
        """Send it over a link, again and again until there is an answer.

        Returns:
            the last status; 0 if there was none and it was given up.
        Cancellation: the link must be closed.
        """
        status, pause_s = 0, 0.0
        for attempt in range(ATTEMPTS):
            if attempt:
                self._tally.retries += 1
                await trio.sleep(pause_s)
            furthest = self._furthest
            try:
                status = await link.exchange("PUT", self.path, self._send)
            except LostError:
                pass  # tried again below
            else:
                self._tally.statuses[status] += 1
                if status not in RETRIED:
                    self._tally.displaced += status == 409
                    return status
            # At once if it got further than any before: its readers wait.
            came_further = self._furthest > furthest
            pause_s = 0.0 if came_further else min(PAUSE_MAX_S, max(PAUSE_MIN_S, 2 * pause_s))
        self._tally.given_up.append(self.path)
        return status

    async def _send(self, write: Write) -> None:
        """One attempt: all pieces from the first one on, and those that come meanwhile."""
        at = 0
        while at < len(self._pieces) or not self._is_finished:
            batch = self._batch(at)
            if not batch:
                await self._changed.wait()
                continue
            await write(batch)
            again = batch[: max(0, self._furthest - at)]
            self._tally.resent_bytes += sum(map(len, again))
            at += len(batch)
            self._furthest = max(self._furthest, at)

    def _batch(self, at: int) -> list[bytes]:
        """Pieces that are sent together, so that a retry catches up in few sends."""
        batch: list[bytes] = []
        size = 0
        while at + len(batch) < len(self._pieces) and size < _BATCH_BYTES:
            batch.append(self._pieces[at + len(batch)])
            size += len(batch[-1])
        return batch

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
