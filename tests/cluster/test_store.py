"""The gateway's store keeps the contract of every store, over nodes in memory."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from hypothesis import HealthCheck, given
from trio.testing import MockClock

from tests.cluster.gateway import Gateway
from tests.examples import examples
from tests.store.contract import Command, Stage, lives


@pytest.mark.parametrize("count", [5, 6, 7])
def test_the_contract(count: int) -> None:
    async def play(todo: list[list[Command]]) -> None:
        async with Gateway.open(count) as gateway:
            await Stage(gateway.life, newest_only=True).run(todo)

    @examples(15, suppress_health_check=[HealthCheck.too_slow])
    @given(lives(with_faults=False))
    def test(todo: list[list[Command]]) -> None:
        trio.run(partial(play, todo), clock=MockClock(autojump_threshold=0))

    test()
