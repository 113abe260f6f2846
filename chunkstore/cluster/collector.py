"""Parts that nothing names any more are taken from their nodes, and then forgotten.

What a node has that is down stays there: it is an orphan, and goes when that is back. So does what
one has that says nothing, for a while: all the others would wait behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import trio

from chunkstore.client import expect
from chunkstore.cluster.fleet import Fleet
from chunkstore.cluster.links import Links
from chunkstore.cluster.names import Part, part_path
from chunkstore.errors import FetchError, StalledError

__all__ = ["Collector"]

TASKS = 8
"""So many generations go at a time: readers and writers shouldn't notice."""
START_S = 30.0
"""For so long after a start nodes are waited for, since none is there in the first seconds. Later
they aren't: all that is replaced while one is dead would wait behind it."""

SPARED_S = 120.0
"""A node that left a request unanswered is asked nothing for so long: what it has is an orphan,
which the next survey of it finds."""
_OF_LIVING = (("If-Match", "*"),)
"""What a node's guard takes for no sign that the object is gone."""


class _Job(NamedTuple):
    generation: int
    places: Collection[tuple[int, int]]
    then: Callable[[], None]
    is_of_living: bool


class Collector:
    """Deletes parts in the background.

    Args:
        links: to the nodes.
        fleet: says which of them are up.
    """

    def __init__(self, links: Links, fleet: Fleet) -> None:
        self._links = links
        self._fleet = fleet
        self._jobs: deque[_Job] = deque()
        self._patient_until_s = 0.0
        self._spared_until_s: dict[int, float] = {}
        self._came = trio.Event()

    def put(
        self,
        generation: int,
        places: Collection[tuple[int, int]],
        then: Callable[[], None] = lambda: None,
        *,
        is_of_living: bool = False,
    ) -> None:
        """Have parts taken away.

        Args:
            places: index of each part, with the number of a node that has it; 0: none has.
            then: called once that was tried everywhere.
            is_of_living: the object lives on elsewhere, and the nodes may get parts of it again;
                else they refuse what is written late.
        """
        self._jobs.append(_Job(generation, places, then, is_of_living))
        self._came.set()

    async def run(self) -> None:
        """Work until cancelled; what is left then is for the next start."""
        self._patient_until_s = trio.current_time() + START_S
        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            while not self._jobs:
                self._came = trio.Event()
                await self._came.wait()
            job = self._jobs.popleft()
            fields = _OF_LIVING if job.is_of_living else ()
            async with trio.open_nursery() as nursery:
                for index, node in job.places:
                    if node:
                        nursery.start_soon(self._delete, Part(job.generation, index), node, fields)
            job.then()

    async def _delete(self, part: Part, node: int, fields: Sequence[tuple[str, str]]) -> None:
        while not self._fleet.is_up(node):
            if trio.current_time() >= self._patient_until_s:
                return
            await trio.sleep(1)
        if trio.current_time() < self._spared_until_s.get(node, 0.0):
            return
        path = part_path(part)
        try:
            async with self._links.request(
                node, "DELETE", path, generation=part.generation, fields=fields
            ) as answer:
                await expect(answer, 200, 204, 404, 412)
                await answer.body()
        except FetchError as error:  # it is an orphan there
            if isinstance(error, StalledError):
                self._spared_until_s[node] = trio.current_time() + SPARED_S
