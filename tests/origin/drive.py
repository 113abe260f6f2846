"""An origin under test, and clients that send it raw bytes and judge what comes back with h11."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h11
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from chunkstore.auth import parse_token
from chunkstore.config import Settings
from chunkstore.objects.namespace import _COLD
from chunkstore.origin import Origin
from chunkstore.policy import parse_row
from chunkstore.server import Log, StreamTransport
from chunkstore.store import Store

__all__ = [
    "GUARD_S",
    "WALL_S",
    "Answer",
    "Client",
    "Site",
    "Upload",
    "frame",
    "make_settings",
    "run_site",
]

GUARD_S = 600.0
"""No test waits longer for an answer, by the clock that the test runs on."""
WALL_S = 1_800_000_000.0
"""Unix time when a site opens."""


make_store: Callable[[], Store | None] = lambda: None  # noqa: E731 - the fixture `behind` sets it
"""What a site has behind it, if it isn't told: `None` for memory alone."""


def frame(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def make_settings(**changes: Any) -> Settings:  # noqa: ANN401 - as the fields of Settings
    """Settings for a test; `policies` and `tokens` are lists of rows as in a settings file."""
    rows = changes.pop("policies", ())
    policies = tuple(parse_row(row, "policies") for row in rows)
    tokens = tuple(parse_token(row, "token") for row in changes.pop("tokens", ()))
    return Settings(log="off", policies=policies, tokens=tokens, **changes)


@dataclass
class Answer:
    """A response as far as it was read.

    Attributes:
        status: 0 if the connection ended before a head came.
        fields: lower-case names; repeated ones joined with ", ".
        chunks: the body in its HTTP chunks, or in one piece where it wasn't chunked.
        is_whole: the message ended as HTTP says a whole one does; None while it goes on.
        was_reset: the connection broke instead of being closed.
        interim: status codes of 1xx answers before it.
        trailers: as `fields`, of what came behind the body.
    """

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    is_whole: bool | None = None
    was_reset: bool = False
    interim: list[int] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """All bytes of the body so far."""
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the server wrote
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        """The ETag field."""
        return self.fields["etag"]


class Client:
    """One connection to the origin."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._left = b""
        self._h11: h11.Connection | None = None
        self._answer = Answer()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        with trio.fail_after(GUARD_S):
            await self.stream.send_all(data)

    async def request(
        self, method: str, target: str, *lines: str, body: bytes | None = None
    ) -> None:
        """Send a request with these header lines; a body gets a Content-Length."""
        head = [f"{method} {target} HTTP/1.1"]
        if not any(line.lower().startswith("host:") for line in lines):
            head.append("Host: origin.test")
        head += lines
        if body is not None:
            head.append(f"Content-Length: {len(body)}")
        text = "".join(line + "\r\n" for line in head) + "\r\n"
        await self.send(text.encode("latin-1") + (body or b""))

    async def ask(self, method: str, target: str, *lines: str, body: bytes | None = None) -> Answer:
        """A request and its whole answer."""
        await self.request(method, target, *lines, body=body)
        return await self.read(method)

    async def head(self, method: str = "GET") -> Answer:
        """Read the head of the next answer; `more` and `rest` read on."""
        connection = self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "origin.test")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(self._left) if self._left else None
        self._left = b""
        self._answer = Answer()
        while not self._answer.status and self._answer.is_whole is None:
            await self._step()
        return self._answer

    async def more(self) -> bytes:
        """The next piece of the body; b"" when the answer is over (see `is_whole`)."""
        had = len(self._answer.body)
        while self._answer.is_whole is None and len(self._answer.body) == had:
            await self._step()
        return self._answer.body[had:]

    async def until(self, size: int) -> Answer:
        """Read until the body has so many bytes."""
        while self._answer.is_whole is None and len(self._answer.body) < size:
            await self._step()
        return self._answer

    async def rest(self) -> Answer:
        """Read the answer to its end."""
        while self._answer.is_whole is None:
            await self._step()
        return self._answer

    async def read(self, method: str = "GET") -> Answer:
        """Read the next answer, whole."""
        await self.head(method)
        return await self.rest()

    async def begin(self, target: str, *lines: str) -> Answer:
        """GET, and read the head of the answer."""
        await self.request("GET", target, *lines)
        return await self.head()

    async def is_closed(self) -> bool:
        """Read on to the end of the connection; whether nothing more came."""
        with trio.fail_after(GUARD_S):
            return not self._left and not await self.stream.receive_some(65536)

    async def close(self) -> None:
        """Leave at once."""
        await trio.aclose_forcefully(self.stream)

    async def _step(self) -> None:
        assert self._h11 is not None
        answer = self._answer
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError:
            answer.is_whole = False  # the end came in mid-message
            return
        if event is h11.NEED_DATA:
            await self._receive()
        elif isinstance(event, h11.InformationalResponse):
            answer.interim.append(event.status_code)
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
            for name, value in event.headers:
                key, text = name.decode(), value.decode("latin-1")
                known = answer.fields.get(key)
                answer.fields[key] = text if known is None else f"{known}, {text}"
        elif isinstance(event, h11.Data):
            if event.chunk_start or not answer.chunks:
                answer.chunks.append(b"")
            answer.chunks[-1] += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            answer.is_whole = True
            answer.trailers = {name.decode(): value.decode() for name, value in event.headers}
            self._left = self._h11.trailing_data[0]
        else:
            answer.is_whole = False  # closed before a head

    async def _receive(self) -> None:
        assert self._h11 is not None
        with trio.fail_after(GUARD_S):
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                self._answer.was_reset = True
                data = b""
        self._h11.receive_data(bytes(data))


class Upload:
    """A chunked PUT under way."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def chunk(self, *pieces: bytes) -> None:
        """Send chunks, and let the server take them in."""
        await self.client.send(b"".join(map(frame, pieces)))
        await wait_all_tasks_blocked()

    async def end(self) -> Answer:
        """Send the last-chunk and read the answer."""
        await self.client.send(b"0\r\n\r\n")
        return await self.client.read("PUT")

    async def answer(self) -> Answer:
        """Read the answer, whenever it comes."""
        return await self.client.read("PUT")

    async def kill(self) -> None:
        """Die in mid-upload."""
        await self.client.close()
        await wait_all_tasks_blocked()


class Site:
    """An origin that runs, over memory streams.

    Args:
        origin: what is tested.
        nursery: where its connections live.
    """

    def __init__(self, origin: Origin, nursery: trio.Nursery) -> None:
        self.origin = origin
        self.nursery = nursery

    @classmethod
    async def open(cls, nursery: trio.Nursery, **changes: Any) -> Site:  # noqa: ANN401 - as in `make_settings`
        """Start an origin in `nursery`; `changes` as in `make_settings`, and what `Origin` takes.

        Its credentials expire by the test's clock, which begins at `WALL_S`.
        """
        sign_keys, log = changes.pop("sign_keys", ()), changes.pop("log", Log("off"))
        disk = changes.pop("disk", None) or make_store()
        began_s = trio.current_time()
        guard = changes.pop("guard", None)
        origin = Origin(
            make_settings(**changes),
            log,
            sign_keys,
            disk=disk,
            guard=guard,
            wall_s=lambda: WALL_S + trio.current_time() - began_s,
        )
        await nursery.start(origin.run)
        return cls(origin, nursery)

    def connect(self, *, lockstep: bool = False) -> Client:
        """A new connection; with `lockstep`, one whose sender waits until all was read."""
        pair = lockstep_stream_pair() if lockstep else memory_stream_pair()
        transport = StreamTransport(pair[1], "memory")
        self.nursery.start_soon(self.origin.server.serve, transport)
        return Client(pair[0])

    async def ask(self, method: str, target: str, *lines: str, body: bytes | None = None) -> Answer:
        """One request on a connection of its own."""
        client = self.connect()
        answer = await client.ask(method, target, *lines, body=body)
        await client.close()
        return answer

    async def get(self, target: str, *lines: str) -> Answer:
        """GET."""
        return await self.ask("GET", target, *lines)

    async def put(self, target: str, body: bytes, *lines: str) -> Answer:
        """PUT with a Content-Length."""
        return await self.ask("PUT", target, *lines, body=body)

    async def upload(self, target: str, *lines: str, client: Client | None = None) -> Upload:
        """Begin a chunked PUT; its head has been taken in."""
        client = client or self.connect()
        await client.request("PUT", target, "Transfer-Encoding: chunked", *lines)
        await wait_all_tasks_blocked()
        return Upload(client)

    async def follow(self, target: str, *lines: str) -> Client:
        """GET on a connection of its own; the head of the answer was read."""
        client = self.connect()
        await client.begin(target, *lines)
        return client

    async def list(self, target: str = "/", *lines: str) -> list[str]:
        """The lines of a LIST."""
        answer = await self.ask("LIST", target, *lines)
        assert answer.status == 200
        return answer.body.decode().split()

    @property
    def used_bytes(self) -> int:
        """What the memory budget is charged."""
        return self.origin.catalog.store.used_bytes

    @property
    def waiter_count(self) -> int:
        """GETs that wait for something to appear."""
        return self.origin.catalog.holds.waiter_count

    async def check_nothing_left(self) -> None:
        """Nobody waits, nobody reads, and the budget is charged for what is stored alone."""
        await wait_all_tasks_blocked()
        catalog = self.origin.catalog
        assert not catalog.holds.waiter_count
        assert not catalog.holds._held
        assert not catalog._broadcasts
        entries = catalog.namespace._entries.values()
        stored = [entry.complete for entry in entries if entry is not _COLD]
        assert all(one is not None and not one.readers and not one.watchers for one in stored)
        assert catalog.store.used_bytes == sum(one.ring.charge_bytes() for one in stored if one)


def run_site(
    test: Callable[[Site], Any],
    **changes: Any,  # noqa: ANN401 - as in `make_settings`
) -> None:
    """Run `test` with an origin of its own, in its own loop and on its own clock.

    For tests under `@given`, which can't have a loop or a clock for all their examples.
    """

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            site = await Site.open(nursery, **changes)
            await test(site)
            await site.check_nothing_left()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
