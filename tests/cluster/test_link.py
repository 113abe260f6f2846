"""A node's side: it registers, says that it is there, waits for a gateway, ends when refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from chunkstore.client import parse_url
from chunkstore.cluster.hello import Fill, Hello, parse_hello
from chunkstore.cluster.link import LAST_RETRY_S, Link
from chunkstore.cluster.membership import HEARTBEAT_S
from chunkstore.cluster.sign import Signer
from chunkstore.config import Settings
from chunkstore.errors import DiskError, JoinError
from chunkstore.metrics import Metrics
from chunkstore.server import Exchange, Log, Server, StreamTransport
from chunkstore.wire import Data

CLUSTER = "c" * 32
TAKEN = (200, f'{{"cluster": "{CLUSTER}", "node": 7}}')
FINE = (200, "{}")


class Gateway:
    """Answers as it is told; away until `is_there`.

    Attributes:
        asked: when, what, and what the node said.
        answers: the next ones; then what a gateway says.
    """

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.is_there = True
        self.asked: list[tuple[float, str, Hello]] = []
        self.answers = list(answers)
        self.notes: list[str] = []
        self.joined: list[str] = []
        self.keep: Callable[[], None] = lambda: None
        settings = Settings(log="off")
        self.server = Server(settings, {"POST": self._answer}, Metrics(), Log("off"))
        self.link = Link(
            parse_url("http://gateway"),
            Signer(b"0123456789abcdef"),
            lambda: Hello("a" * 32, CLUSTER, "1" * 16, "h", 1, Fill(4, 3, 2, 1)),
            self._join,
            self.notes.append,
            connect=self._connect,
            wall_s=lambda: 1_800_000_000.0,
        )

    async def _join(self, cluster_id: str) -> None:
        self.keep()
        self.joined.append(cluster_id)

    async def _connect(self, _: object) -> trio.abc.Stream:
        if not self.is_there:
            raise ConnectionRefusedError(111, "refused")
        near, far = memory_stream_pair()
        self.nursery.start_soon(self.server.serve, StreamTransport(far, "memory"))
        return near

    async def _answer(self, exchange: Exchange) -> None:
        body = b""
        while exchange.connection.protocol.has_body:
            events = await exchange.receive()
            body += b"".join(one.data for one in events if isinstance(one, Data))
        path = exchange.request.path
        self.asked.append((trio.current_time(), path, parse_hello(body)))
        usual = TAKEN if path == "/register" else FINE
        status, text = self.answers.pop(0) if self.answers else usual
        if status == 200:
            await exchange.respond(200, b"", text.encode())
        else:
            await exchange.refuse(status, text)

    async def run(self, seconds: float) -> JoinError | None:
        """Let the link run for so long; why it ended."""
        refusal = None
        async with trio.open_nursery() as self.nursery:
            with trio.move_on_after(seconds):
                try:
                    await self.link.run()
                except JoinError as error:
                    refusal = error
            await self.link.farewell()
            self.nursery.cancel_scope.cancel()
        return refusal

    @property
    def paths(self) -> list[str]:
        """What was asked for."""
        return [path for _, path, _ in self.asked]


async def test_it_registers_says_that_it_is_there_and_that_it_ends(
    autojump_clock: MockClock,
) -> None:
    gateway = Gateway()
    assert await gateway.run(4 * HEARTBEAT_S - 1) is None
    assert gateway.paths == ["/register"] + ["/heartbeat"] * 4
    times = [when for when, _, _ in gateway.asked]
    assert times[:4] == pytest.approx([n * HEARTBEAT_S for n in range(4)], abs=0.1)
    assert [one.is_ending for *_, one in gateway.asked] == [False] * 4 + [True]
    assert gateway.notes == [f"node 7 of the cluster {CLUSTER}"]
    assert gateway.joined == [CLUSTER]


async def test_a_gateway_that_is_away_is_waited_for(autojump_clock: MockClock) -> None:
    gateway = Gateway()
    gateway.is_there = False
    assert await gateway.run(600) is None
    gateway.is_there = True
    came_s = trio.current_time()
    assert await gateway.run(LAST_RETRY_S) is None
    assert gateway.asked[0][0] - came_s <= LAST_RETRY_S
    assert len(gateway.notes) == 3, "a line when it is away, not one a try"
    assert "not in touch with the gateway at gateway" in gateway.notes[0]
    assert gateway.notes[2] == "in touch with the gateway at gateway"


async def test_a_gateway_that_forgot_it_is_told_again(autojump_clock: MockClock) -> None:
    gateway = Gateway(TAKEN, FINE, (404, "who"))
    await gateway.run(2 * HEARTBEAT_S + 1)
    assert gateway.paths[:4] == ["/register", "/heartbeat", "/heartbeat", "/register"]
    assert gateway.asked[3][0] == gateway.asked[2][0]


@pytest.mark.parametrize("status", [401, 403, 409, 421])
async def test_a_node_that_is_refused_at_first_ends(status: int, autojump_clock: MockClock) -> None:
    gateway = Gateway((status, "the reason"))
    refusal = await gateway.run(60)
    assert refusal is not None
    assert "the reason" in str(refusal)
    assert gateway.paths == ["/register"]


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_one_that_was_taken_goes_on_whatever_is_wrong_with_the_gateway(
    status: int, autojump_clock: MockClock
) -> None:
    gateway = Gateway(TAKEN, *[(status, "a clock is wrong")] * 5)
    assert await gateway.run(60) is None
    assert gateway.paths[-1] == "/heartbeat"
    assert [("touch" in line) for line in gateway.notes] == [False, True, True]


async def test_one_whose_place_was_taken_ends(autojump_clock: MockClock) -> None:
    gateway = Gateway(TAKEN, FINE, (409, "another process"))
    refusal = await gateway.run(60)
    assert refusal is not None
    assert gateway.paths[:3] == ["/register", "/heartbeat", "/heartbeat"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cluster": "x", "node": "y"}', "<html>"])
async def test_what_is_no_gateway_is_said(text: str, autojump_clock: MockClock) -> None:
    gateway = Gateway(*[(200, text)] * 100)
    assert await gateway.run(20) is None
    assert "is no gateway's listener for nodes" in gateway.notes[0]
    assert not gateway.joined


async def test_a_cluster_that_can_not_be_kept_is_not_joined(autojump_clock: MockClock) -> None:
    gateway = Gateway()

    def fail() -> None:
        raise DiskError("full")

    gateway.keep = fail
    await gateway.run(20)
    assert set(gateway.paths) == {"/register"}


async def test_a_gateway_that_says_nothing_holds_no_end_up(autojump_clock: MockClock) -> None:
    gateway = Gateway()
    assert await gateway.run(1) is None

    async def silence(_: object) -> trio.abc.Stream:
        await trio.sleep(math.inf)
        raise AssertionError

    gateway.link._client._connect = silence
    began_s = trio.current_time()
    await gateway.link.farewell()
    assert trio.current_time() - began_s < 3
