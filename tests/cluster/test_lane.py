"""A part is whole on its node, or isn't there; and who is late is told from who is slow."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.lane import LATE_S, QUEUE_COUNT, Lane, late
from chunkstore.cluster.names import Part
from chunkstore.errors import CutError, StalledError, StatusError
from chunkstore.server import Exchange, Handler
from tests.cluster.nodes import Nodes

WAITS = st.lists(st.floats(0.0, 100.0), min_size=5, max_size=7)


@given(WAITS)
def test_never_more_than_half_are_late(waits_s: list[float]) -> None:
    found = late(waits_s)
    assert 2 * len(found) <= len(waits_s)
    assert all(waits_s[index] >= LATE_S for index in found)


def test_all_that_are_slow_together_are_not_late() -> None:
    assert late([50.0] * 7) == []
    assert late([0.1] * 6 + [1.9]) == []
    assert late([0.1] * 6 + [2.0]) == [6]
    assert late([1.0] * 6 + [2.9]) == []
    assert late([0.0] * 4 + [9.0] * 3) == [4, 5, 6]
    assert late([]) == []


PART = Part(42, 3)


async def test_a_part_is_durable_when_its_node_says_so() -> None:
    async with trio.open_nursery() as nursery:
        nodes = await Nodes.open(nursery, 1)
        seen: list[int] = []
        lane = Lane(PART, 1, lambda: seen.append(lane.sent_count))
        async with trio.open_nursery() as writing:
            writing.start_soon(lane.run, nodes.links())
            lane.put(b"first")
            lane.put(b"second")
            full = lane.has_room
            await trio.testing.wait_all_tasks_blocked()
            assert (full, lane.has_room) == (False, True)
            assert lane.sent_count == QUEUE_COUNT
            lane.put(b"last", is_last=True)
        assert lane.is_durable
        assert lane.error is None
        assert seen == [1, 2, 3, 3]
        assert await nodes.content(1, PART) == b"firstsecondlast"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["full", "cut", "stopped", "given up"])
async def test_a_lane_says_why_it_ended(kind: str) -> None:
    async def refuse(exchange: Exchange, _: Handler) -> None:
        await exchange.refuse(507, "it is full")

    async def cut(exchange: Exchange, _: Handler) -> None:
        raise trio.BrokenResourceError("as told")

    async with trio.open_nursery() as nursery:
        nodes = await Nodes.open(nursery, 1)
        if kind == "full":
            nodes.mishaps[1] = refuse
        elif kind == "cut":
            nodes.mishaps[1] = cut
        elif kind == "stopped":
            nodes.stopped.add(1)
        lane = Lane(PART, 1, lambda: None)
        lane.put(b"all", is_last=True)
        async with trio.open_nursery() as writing:
            writing.start_soon(lane.run, nodes.links(stall_s=5.0))
            await trio.testing.wait_all_tasks_blocked()
            if kind == "given up":
                lane.give_up(StalledError("it is late"))
                lane.put(b"more")
        kinds = {"full": StatusError, "cut": CutError, "stopped": StalledError}
        if kind == "given up":
            assert lane.is_durable  # it was, before it was given up
        else:
            assert type(lane.error) is kinds[kind]
            assert lane.is_refused_for_room == (kind == "full")
            assert not lane.is_durable
        assert lane.is_over
        nursery.cancel_scope.cancel()
