"""One part's way to its node: records wait, go out in order, and are durable once it answers."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from statistics import median

import trio

from chunkstore.client import expect
from chunkstore.cluster.links import Links
from chunkstore.cluster.names import Part, part_path
from chunkstore.errors import FetchError, StatusError

__all__ = ["QUEUE_COUNT", "Lane", "late"]

QUEUE_COUNT = 2
"""So many records wait for a node, the one that it is taking included; then the upload waits."""
LATE_S = 2.0
LATE_FACTOR = 3.0


def late(waits_s: Sequence[float]) -> list[int]:
    """Which of an upload's lanes are so late that it is better off without them. Pure.

    Args:
        waits_s: of each lane: how long it has had its oldest record, 0 if it has none.
    Returns:
        indices: of those with 2 s, and three times what is usual among all.
    """
    limit_s = max(LATE_S, LATE_FACTOR * median(waits_s)) if waits_s else 0.0
    return [index for index, wait_s in enumerate(waits_s) if wait_s >= limit_s]


class Lane:
    """A part, as it is written.

    Args:
        part: which.
        node: number of the node that gets it.
        changed: called whenever one of the attributes below has changed.

    Attributes:
        part, node: as above.
        sent_count: records that the connection has taken.
        is_durable: the node has all of it, for good.
        error: why it never will; None so far.
    """

    def __init__(self, part: Part, node: int, changed: Callable[[], None]) -> None:
        self.part = part
        self.node = node
        self.sent_count = 0
        self.is_durable = False
        self.error: FetchError | None = None
        self._changed = changed
        self._queue: deque[tuple[float, bytes]] = deque()
        self._ended_at_s: float | None = None
        self._came = trio.Event()
        self._moved = trio.Event()
        self._scope = trio.CancelScope()

    @property
    def is_over(self) -> bool:
        """It is durable, or never will be."""
        return self.is_durable or self.error is not None

    @property
    def has_room(self) -> bool:
        """It takes another record, or wants none any more."""
        return len(self._queue) < QUEUE_COUNT or self.is_over

    async def until_room(self) -> None:
        """Wait until it has room."""
        while not self.has_room:
            self._moved = trio.Event()
            await self._moved.wait()

    def wait_s(self, now_s: float) -> float:
        """How long it has had its oldest record; behind the last one, its end."""
        if self.is_over:
            return 0.0
        since_s = self._queue[0][0] if self._queue else self._ended_at_s
        return 0.0 if since_s is None else now_s - since_s

    def put(self, data: bytes, *, is_last: bool = False) -> None:
        """The next record; or, as the last one, what the part ends with."""
        if not self.is_over:
            now_s = trio.current_time()
            self._queue.append((now_s, data))
            if is_last:
                self._ended_at_s = now_s
            self._came.set()

    def give_up(self, error: FetchError) -> None:
        """It is better done without: the node keeps nothing of what isn't whole."""
        if not self.is_over:
            self.error = error
            self._scope.cancel()
            self._moved.set()

    async def run(self, links: Links) -> None:
        """Write it; what goes wrong is in `error`.

        Cancellation: the node keeps nothing of it, unless it has all.
        """
        path, generation = part_path(self.part), self.part.generation
        is_here = self._ended_at_s is not None and len(self._queue) == 1
        body = self._queue[0][1] if is_here else self._body()
        try:
            with self._scope:
                async with links.request(
                    self.node, "PUT", path, generation=generation, body=body
                ) as answer:
                    self.sent_count += is_here
                    await expect(answer, 200, 201)
                    await answer.body()
                self.is_durable = True
        except FetchError as error:
            self.error = self.error or error
        finally:
            self._queue.clear()
            self._tell()

    @property
    def is_refused_for_room(self) -> bool:
        """Its node is full."""
        return isinstance(self.error, StatusError) and self.error.status == 507

    async def _body(self) -> AsyncIterator[bytes]:
        while self._queue or self._ended_at_s is None:
            while not self._queue:
                self._came = trio.Event()
                await self._came.wait()
            yield self._queue[0][1]
            self._queue.popleft()
            self.sent_count += 1
            self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._changed()
