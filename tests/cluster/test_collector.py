"""Parts that nothing names go, and what is on a node that is gone holds up nobody."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from chunkstore.client import Timeouts
from chunkstore.cluster.collector import START_S, TASKS
from chunkstore.server import Exchange, Handler
from tests.cluster.gateway import Gateway, put


async def test_a_dead_node_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with Gateway.open(8) as gateway, gateway.life() as store:
        await trio.sleep(START_S)
        names = [f"/{number}" for number in range(3 * TASKS)]
        for key in names:
            await put(store, key, b"old")
        gateway.lose(1)
        for key in names:
            await put(store, key, b"new")
        await trio.sleep(1)
        assert gateway.strays(store, names) == set()


async def test_behind_a_start_nodes_are_waited_for(autojump_clock: MockClock) -> None:
    async with Gateway.open(7) as gateway, gateway.life() as store:
        await put(store, "/a", b"old")
        gateway.lose(1)
        await put(store, "/a", b"new")
        await trio.sleep(START_S / 2)
        gateway.find(1)
        await trio.sleep(2)
        assert gateway.strays(store, ["/a"]) == set()


async def test_a_node_that_says_nothing_holds_up_nobody(autojump_clock: MockClock) -> None:
    async def say_nothing(exchange: Exchange, handler: Handler) -> None:
        if exchange.request.method == "DELETE":
            await trio.sleep_forever()
        await handler(exchange)

    async with Gateway.open(8) as gateway, gateway.life() as store:
        await trio.sleep(START_S)
        names = [f"/{number}" for number in range(8 * TASKS)]
        for key in names:
            await put(store, key, b"old")
        gateway.nodes.mishaps[1] = say_nothing
        for key in names:
            await put(store, key, b"new")
        await trio.sleep(Timeouts().stall_s + 1)
        assert {node for node, _ in gateway.strays(store, names)} == {1}
