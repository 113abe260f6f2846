"""A node's guard without a node: what it remembers is bounded."""

from __future__ import annotations

import pytest
import trio
from trio.testing import memory_stream_pair

from chunkstore.cluster import guard
from chunkstore.cluster.guard import COLLECTED_S, NodeGuard
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.sign import MAX_AGE_S, Signer
from chunkstore.config import Settings
from chunkstore.metrics import Metrics
from chunkstore.server import Exchange, Log, Server, StreamTransport
from tests.origin.drive import Client

NOW_S = 1_800_000_000.0
SIGNER = Signer(b"0123456789abcdef")


async def fine(exchange: Exchange) -> None:
    """Whatever it is."""
    await exchange.respond(200, b"")


async def ask(
    server: Server,
    method: str,
    generation: int,
    *lines: str,
    signed_as: int | None = None,
    at_s: float = NOW_S,
) -> int:
    """The status of a request about a part of a generation."""
    path = part_path(Part(generation, 0))
    number = generation if signed_as is None else signed_as
    name, value = SIGNER.field(method, path, now_s=at_s, generation=number)
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, StreamTransport(far, "memory"))
        client = Client(near)
        answer = await client.ask(method, path, f"{name}: {value}", *lines)
        await client.close()
    return answer.status


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """One that does nothing, behind a guard that remembers three."""
    monkeypatch.setattr(guard, "COLLECTED_COUNT", 3)
    protect = NodeGuard(SIGNER, lambda: NOW_S).protect
    handlers = {method: protect(method, fine) for method in ("GET", "PUT", "POST", "DELETE")}
    return Server(Settings(log="off"), handlers, Metrics(), Log("off"))


async def test_the_generations_taken_away_last_are_remembered(server: Server) -> None:
    for generation in (1, 2, 3, 1, 4):
        assert await ask(server, "DELETE", generation) == 200
    for generation, status in ((2, 200), (3, 410), (1, 410), (4, 410), (5, 200)):
        for method in ("PUT", "POST"):
            assert await ask(server, method, generation) == status
        assert await ask(server, "GET", generation) == 200


async def test_of_what_lives_on_a_part_may_come_again(server: Server) -> None:
    assert await ask(server, "DELETE", 7, 'If-Match: "abc"') == 200
    assert await ask(server, "PUT", 7) == 200


async def test_a_generation_is_signed_with_its_part(server: Server) -> None:
    assert await ask(server, "DELETE", 7, signed_as=8) == 403
    assert await ask(server, "PUT", 7) == 200


async def test_what_was_taken_away_may_come_again_when_late_writes_are_too_old() -> None:
    clock = [NOW_S]
    protect = NodeGuard(SIGNER, lambda: clock[-1]).protect
    handlers = {method: protect(method, fine) for method in ("PUT", "DELETE")}
    server = Server(Settings(log="off"), handlers, Metrics(), Log("off"))
    late = NOW_S + MAX_AGE_S  # by a clock that is as far ahead as one may be
    assert await ask(server, "DELETE", 7) == 200
    for after_s, status in ((MAX_AGE_S, 410), (COLLECTED_S, 410), (COLLECTED_S + 1, 403)):
        clock.append(NOW_S + after_s)
        assert await ask(server, "PUT", 7, at_s=late) == status
    assert await ask(server, "PUT", 7, at_s=clock[-1]) == 200
