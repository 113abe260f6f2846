"""Bytes of an object from its nodes: in parallel, verified, and in spite of those that fail.

A fetch asks each part once for all that it wants of it: records of consecutive stripes lie
together. `race` says whom, `patience` how long to wait for them. What comes is held against its
checksum and its place, and what is missing is computed from the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import trio

from chunkstore.client import Answer, expect
from chunkstore.cluster.codec import Codec
from chunkstore.cluster.links import Links
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.patience import LAG_S, SPARED_S, Patience
from chunkstore.cluster.race import Ask, Race
from chunkstore.cluster.stripe import K, Layout
from chunkstore.cluster.unit import Flaw, RecordReader
from chunkstore.errors import DamagedError, FetchError, StatusError

__all__ = ["Fetch", "Fetcher", "OnFlaw", "Place"]

OnFlaw = Callable[[int, int, int], None]
"""Told of a part that isn't as it should be: generation, index of the part, number of the node."""
_FLAWED = (404, 410, 416, 500)
"""What a node answers that has no such part, or not all of it, or can't read it from its disk."""


class Place(NamedTuple):
    """Where an object is.

    Attributes:
        layout: of its parts.
        nodes: number of the node of each part; 0: none has it.
    """

    key: str
    generation: int
    layout: Layout
    nodes: tuple[int, ...]


class Fetcher:
    """Fetches from all nodes, for all readers of a gateway.

    Args:
        links: to the nodes.
        on_flaw: told of damage; must not wait.
    """

    def __init__(self, links: Links, on_flaw: OnFlaw = lambda *_: None) -> None:
        self.links = links
        self.on_flaw = on_flaw
        self.patience = Patience()
        self.codec = lru_cache(Codec)

    async def fetch(self, place: Place, start: int, stop: int) -> bytes:
        """The bytes [start, stop) of an object.

        Args, Raises, Cancellation: as `Fetch`, and `Fetch.run`.
        Cost: a copy.
        """
        fetch = Fetch(self, place, start, stop)
        await fetch.run()
        return b"".join(fetch.views(start, stop))


class Fetch:
    """Bytes of an object, as they come.

    Args:
        fetcher: fetches them.
        place: where the object is.
        start, stop: absolute, start < stop; nodes have all of it.

    Attributes:
        grown: set when more of them is here, and replaced.
    """

    __slots__ = (
        "_changed",
        "_fetcher",
        "_late_at_s",
        "_place",
        "_race",
        "_spared_s",
        "_units",
        "grown",
    )

    def __init__(self, fetcher: Fetcher, place: Place, start: int, stop: int) -> None:
        now_s = trio.current_time()
        self._fetcher = fetcher
        self._place = place
        nodes = list(enumerate(place.nodes))
        self._race = Race(
            place.layout,
            start,
            stop,
            len(nodes),
            lost=[part for part, node in nodes if not node],
            shunned=[part for part, node in nodes if fetcher.patience.is_shunned(node, now_s)],
        )
        self._units: dict[tuple[int, int], bytes] = {}
        self._late_at_s: dict[Ask, float] = {}
        self._spared_s = 0.0
        self._changed = trio.Event()
        self.grown = trio.Event()

    def views(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes [start, stop), as far as they are here. Cost: no copy."""
        for stripe, part, offset, size in self._place.layout.pieces(start, stop):
            unit = self._units.get((stripe, part))
            if unit is None:
                return
            yield memoryview(unit)[offset : offset + size]

    def units(self, stripe: int) -> dict[int, bytes] | None:
        """The data units of a stripe, all of which is wanted; None: they aren't all here yet."""
        if self._race.lacking(stripe):
            return None
        zeros = bytes(self._place.layout.unit_bytes(stripe))  # of units behind the object's end
        return {part: self._units.get((stripe, part), zeros) for part in range(K)}

    async def run(self) -> None:
        """Have all of them come, right.

        Raises:
            DamagedError: too few parts of a stripe are whole.
        Cancellation: the connections that carry an answer are closed; what is here stays.
        """
        async with trio.open_nursery() as nursery:
            while not self._race.is_won and not self._race.hopeless():
                for ask in self._race.asks():
                    self._late_at_s[ask] = trio.current_time() + self._fetcher.patience.late_s
                    nursery.start_soon(self._have, *ask)
                self._changed = trio.Event()
                with trio.move_on_at(min(self._late_at_s.values(), default=math.inf)):
                    await self._changed.wait()
                self._mark_late()
            nursery.cancel_scope.cancel()
        hopeless = self._race.hopeless()
        if hopeless and not self._race.is_won:
            stripe, lost = hopeless
            nodes = ", ".join(f"{part} (node {self._place.nodes[part] or 'none'})" for part in lost)
            detail = f"stripe {stripe} has fewer than {K} parts; those that can't be had: {nodes}"
            raise DamagedError(self._place.key, detail)

    def _mark_late(self) -> None:
        now_s = trio.current_time()
        lag_s = now_s - min(self._late_at_s.values(), default=now_s)
        if lag_s >= LAG_S and self._spared_s < SPARED_S:
            # What has come meanwhile may not have been read yet: nodes get as long as was lost.
            self._spared_s += lag_s
            for ask, late_at_s in self._late_at_s.items():
                self._late_at_s[ask] = max(late_at_s, now_s) + lag_s
        for ask in [ask for ask, late_at_s in self._late_at_s.items() if late_at_s <= now_s]:
            del self._late_at_s[ask]
            self._race.is_late(*ask)
            self._fetcher.patience.shun(self._place.nodes[ask[0]], now_s)

    async def _have(self, part: int, stripes: range) -> None:
        """Ask a node for units of its part; the race knows at the end which of them won't come."""
        node = self._place.nodes[part]
        try:
            if not await self._receive(part, stripes, node):
                self._fetcher.on_flaw(self._place.generation, part, node)
        except StatusError as error:
            if error.status in _FLAWED:
                self._fetcher.on_flaw(self._place.generation, part, node)
        except FetchError:
            self._fetcher.patience.shun(node, trio.current_time())
        self._late_at_s.pop((part, stripes), None)
        self._race.failed(part, stripes)
        self._changed.set()

    async def _receive(self, part: int, stripes: range, node: int) -> bool:
        """Whether all of them came, and right."""
        place, asked_s = self._place, trio.current_time()
        start, stop = place.layout.extent(stripes)
        target = part_path(Part(place.generation, part))
        fields = [("Range", f"bytes={start}-{stop - 1}")]
        async with self._fetcher.links.request(
            node, "GET", target, generation=place.generation, fields=fields
        ) as answer:
            await expect(answer, 206)
            if not answer.fields.get("content-range", "").startswith(f"bytes {start}-"):
                raise FetchError(f"{answer.asked}: it has other bytes than those asked for")
            return await self._take(answer, part, stripes, asked_s)

    async def _take(self, answer: Answer, part: int, stripes: range, since_s: float) -> bool:
        place, patience = self._place, self._fetcher.patience
        records = RecordReader(place.layout, place.generation, part, stripes)
        is_right = True
        while due_bytes := records.due_bytes:
            data = await answer.some(records.limit_bytes, least_bytes=due_bytes)
            if not data:
                break
            if (whole := records.feed(data)) is None:
                continue
            stripe, unit = whole
            now_s = trio.current_time()
            patience.took(place.nodes[part], now_s - since_s)
            since_s = now_s
            if (part, stripes) in self._late_at_s:  # the next unit has as long as this one had
                self._late_at_s[part, stripes] = now_s + patience.late_s
            if isinstance(unit, Flaw):
                is_right = False
                self._race.failed(part, range(stripe, stripe + 1))
                self._changed.set()
            else:
                self._units[stripe, part] = unit
                self._race.came(part, stripe)
                self._settle(stripe)
        return is_right and not records.due_bytes

    def _settle(self, stripe: int) -> None:
        """A unit came: compute those that didn't, once that can be done. Cost: 60 us for each."""
        lacking = self._race.lacking(stripe)
        if lacking and self._race.is_stripe_won(stripe):
            row = {part: unit for (at, part), unit in self._units.items() if at == stripe}
            made = self._fetcher.codec(len(self._place.nodes) - K).decode(row, lacking)
            for part, unit in made.items():
                self._units[stripe, part] = unit
                self._race.came(part, stripe)
        self.grown.set()
        self.grown = trio.Event()
