"""What a gateway reads with, and an object on nodes to be read."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chunkstore.cluster.fetch import Fetcher
from chunkstore.cluster.source import ClusterSource
from chunkstore.cluster.stripe import K
from chunkstore.cluster.windows import Windows
from tests.cluster.nodes import Nodes, parts_of

__all__ = ["GENERATION", "Stage", "data_of", "run_stage"]

GENERATION = 7


class Stage:
    """Nodes, an object on them, and what a gateway reads it with.

    Attributes:
        flaws: as they were told: index of the part, number of the node.
        peak_bytes: the most that windows took.
    """

    def __init__(self, nodes: Nodes, data: bytes, m: int) -> None:
        self.nodes = nodes
        self.data = data
        self.flaws: list[tuple[int, int]] = []
        self.located: tuple[int, ...] | None = tuple(range(1, K + m + 1))
        self.links = nodes.links()
        self.fetcher = Fetcher(self.links, lambda _, part, node: self.flaws.append((part, node)))
        self.windows = Windows(self.fetcher)
        self.source = self.make()
        self.peak_bytes = 0

    def make(self, generation: int = GENERATION, *, is_open: bool = False) -> ClusterSource:
        """A source of the object, or of another generation."""
        size = None if is_open else len(self.data)
        return ClusterSource(self.windows, "/a", generation, lambda: self.located, size)

    async def read(self, start: int = 0, stop: int | None = None, limit: int = 1 << 40) -> bytes:
        """Read as a GET does, or as a reader of an open object, a little at a time."""
        found, stop = b"", len(self.data) if stop is None else stop
        self.source.hold()
        try:
            while start + len(found) < stop:
                at = start + len(found)
                await trio.lowlevel.checkpoint()  # as all do who ask a source
                found += await self.source.range(at, min(limit, stop - at))
                self.peak_bytes = max(self.peak_bytes, self.windows.used_bytes)
        finally:
            self.source.let_go()
        return found

    async def check_nothing_left(self) -> None:
        """No connection carries anything, and no window is held."""
        await wait_all_tasks_blocked()
        assert not self.windows.used_bytes
        assert not any(self.links.busy(number) for number in self.nodes.sites)


def run_stage(
    test: Callable[[Stage], Awaitable[None]],
    data: bytes,
    m: int = 2,
    harm: Callable[[int, bytes], bytes] = lambda _, part: part,
) -> None:
    """Run a test with an object whose parts were stored as `harm` has them."""

    async def main() -> None:
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            nodes = await Nodes.open(nursery, K + m)
            parts = parts_of(data, GENERATION, m)
            await nodes.put([harm(*part) for part in enumerate(parts)], GENERATION)
            stage = Stage(nodes, data, m)
            await stack.enter_async_context(stage.links)
            await nursery.start(stage.windows.run)
            await test(stage)
            await stage.check_nothing_left()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def data_of(size: int) -> bytes:
    """Bytes that are nowhere the same."""
    return random.Random(size).randbytes(size)
