"""The gateway's listener for nodes: they register, say that they are there, and are looked at.

::

    POST /register    a Hello; {"cluster": …, "node": NUMBER}, or 409 for good, 503 not yet
    POST /heartbeat   a Hello; {}, or 404: register, 409: another process has its place
    GET  /status      what there is, for `cluster status`; as `status` has it
    GET  /manifest?key=NAME    where an object's parts are, for `cluster check`

All of it takes the cluster's signature. Who is refused is told why, and so is the gateway's log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import trio

from chunkstore.client import parse_url
from chunkstore.cluster.hello import HELLO_BYTES, Hello, parse_hello
from chunkstore.cluster.membership import Member, Membership, Refused
from chunkstore.cluster.meta import Meta, NodeRecord
from chunkstore.cluster.scribe import Scribe
from chunkstore.cluster.sign import Signer
from chunkstore.config import ListenAddress, Settings
from chunkstore.errors import DiskError
from chunkstore.metrics import Ending, Metrics
from chunkstore.server import Exchange, Handler, Listener, Log, Server, Transport
from chunkstore.wire import Closed, Data, Refusal, field_block

__all__ = ["Reception", "View"]

View: TypeAlias = "Callable[[str], Awaitable[Mapping[str, object] | None]]"
"""Tells what a query asks for; None: there is nothing of it."""

MAX_CONNECTIONS = 1024
"""A node has one."""
_COMMON = field_block([("Cache-Control", "no-store")])
_JSON = field_block([("Content-Type", "application/json")]) + _COMMON


class Reception:
    """Answers nodes, by what the membership says.

    Args:
        settings: deadlines and limits of the connections.
        membership: of the cluster.
        scribe: keeps who registered.
        signer: judges who may ask.
        log: told who came, who is gone and who was refused; gets no line a request.
        views: what is shown to who asks, by path.
        wall_s: Unix time.

    Attributes:
        server: its connections; `server.serve(transport)` serves one more.
    """

    def __init__(
        self,
        settings: Settings,
        membership: Membership,
        scribe: Scribe,
        signer: Signer,
        log: Log,
        views: Mapping[str, View] | None = None,
        *,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._membership = membership
        self._scribe = scribe
        self._signer = signer
        self._log = log
        self._wall_s = wall_s
        self._registering = trio.Lock()  # two of one id must not both be let in
        self._paths: dict[tuple[str, str], Handler] = {
            ("POST", "/register"): self._register,
            ("POST", "/heartbeat"): self._heartbeat,
            **{("GET", path): partial(self._show, view) for path, view in (views or {}).items()},
        }
        own = replace(settings, max_connections=min(settings.max_connections, MAX_CONNECTIONS))
        handlers: dict[str, Handler] = {"GET": self._answer, "POST": self._answer}
        self.server = Server(own, handlers, Metrics(), Log("off"), common_fields=_COMMON)

    async def run(
        self,
        listeners: tuple[Listener, ...],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await self.server.run(listeners, task_status=task_status)
            nursery.cancel_scope.cancel()

    async def _watch(self) -> None:
        """Say who is gone, and who is back."""
        were_up: set[int] = set()
        while True:
            are_up = {one.record.number for one in self._membership.up(trio.current_time())}
            for number in sorted(were_up ^ are_up):
                record = self._membership.members[number].record
                state = "is up" if number in are_up else "is gone"
                self._log.note(f"node {number} at {record.address} {state} ({record.id})")
            were_up = are_up
            await trio.sleep(1)

    # --- requests ------------------------------------------------------------------------------

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        denial = self._signer.judge_request(request, now_s=self._wall_s())
        answer = self._paths.get((request.method, request.path))
        if denial is not None:
            await self._refuse(exchange, Refused(*denial))
        elif answer is None:
            known = ", ".join(map(" ".join, self._paths))
            await exchange.refuse(404, f"there are {known}")
        else:
            await answer(exchange)

    async def _refuse(self, exchange: Exchange, refused: Refused) -> None:
        peer = exchange.connection.transport.peer
        self._log.note(f"refused {peer}: {refused.detail}")
        await exchange.refuse(refused.status, refused.detail)

    async def _hello(self, exchange: Exchange) -> Hello | None:
        """What a node says; or it was refused."""
        length = exchange.request.fields.content_length
        if length is None or length > HELLO_BYTES:
            await exchange.refuse(413, f"expected a body of at most {HELLO_BYTES} bytes")
            return None
        body = await _body(exchange)
        try:
            return parse_hello(body)
        except ValueError as error:
            await exchange.refuse(400, str(error))
            return None

    async def _register(self, exchange: Exchange) -> None:
        hello = await self._hello(exchange)
        if hello is None:
            return
        outcome: Member | Refused
        try:
            outcome = await self._enter(hello, _address(hello, exchange.connection.transport))
        except ValueError as error:
            outcome = Refused(409, f"node {hello.id} can't be reached: {error}")
        except DiskError as error:
            outcome = Refused(503, f"the gateway can't keep it: {error}")
        if isinstance(outcome, Refused):
            await self._refuse(exchange, outcome)
        else:
            members = {"cluster": self._membership.cluster_id, "node": outcome.record.number}
            await exchange.respond(200, _JSON, json.dumps(members).encode("ascii"))

    async def _enter(self, hello: Hello, address: str) -> Member | Refused:
        def register(meta: Meta) -> NodeRecord:
            capacity_bytes = hello.fill.capacity_bytes
            return meta.register(hello.id, address, capacity_bytes, hello.incarnation, now_s)

        async with self._registering:
            refused = self._membership.judge(hello, address, trio.current_time())
            if refused is not None:
                return refused
            now_s = self._wall_s()
            record = await self._scribe.ask(register)
            return self._membership.enter(record, hello.fill, trio.current_time())

    async def _heartbeat(self, exchange: Exchange) -> None:
        hello = await self._hello(exchange)
        if hello is None:
            return
        refused = self._membership.heartbeat(hello, trio.current_time())
        if refused is not None:
            await self._refuse(exchange, refused)
        else:
            await exchange.respond(200, _JSON, b"{}")

    async def _show(self, view: View, exchange: Exchange) -> None:
        members = await view(exchange.request.query)
        if members is None:
            await exchange.refuse(404, "there is nothing of what was asked for")
        else:
            await exchange.respond(200, _JSON, json.dumps(members).encode("ascii"))


def _address(hello: Hello, transport: Transport) -> str:
    """HOST:PORT where a node can be reached.

    Raises:
        ValueError: nothing can be reached there, or what the gateway's own machine has.
    """
    peer = transport.peer.rpartition(":")[0]
    host = hello.host or peer
    address = f"[{host}]:{hello.port}" if ":" in host else f"{host}:{hello.port}"
    parse_url(f"http://{address}/")
    own = transport.raw.getsockname()[0] if transport.raw else ""
    is_here = peer == own or ListenAddress(peer, hello.port).is_loopback
    if ListenAddress(host, hello.port).is_loopback and not is_here:
        raise ValueError(
            f"it comes from {peer}, and says that it listens on {address}, which leads nowhere but"
            " to its own machine: its --listen takes an address that the gateway reaches"
        )
    return address


async def _body(exchange: Exchange) -> bytes:
    """The request's body, whose length was judged.

    Raises:
        trio.BrokenResourceError: it came too late, or not whole.
    """
    connection, body = exchange.connection, b""
    connection.arm(connection.server.settings.header_timeout_s, Ending.TIMEOUT)
    while connection.protocol.has_body:
        events = await exchange.receive()
        body += b"".join(one.data for one in events if isinstance(one, Data))
        if isinstance(events[-1], Closed | Refusal):
            raise trio.BrokenResourceError("the body isn't whole")
    connection.disarm()
    return body
