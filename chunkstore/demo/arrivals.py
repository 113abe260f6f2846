"""When the encoder's bytes reached the origin, chunk by chunk.

The time is taken where the origin's upload stores what it received, before anything else happens to
it. Nothing of the origin knows: the uploads of this one catalog are made of a subclass.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

from chunkstore.live import Broadcast, Catalog, Run, Upload
from chunkstore.objects import Abort
from chunkstore.policy import Policy

__all__ = ["Arrivals"]

GENERATIONS_MAX = 256
APPENDS_MAX = 8192
"""So many generations are remembered, and so many arrivals of each; later ones are not timed."""

_Noted: TypeAlias = tuple[list[int], list[float]]


class Arrivals:
    """For each generation, by ETag, at what time the origin had how many bytes."""

    def __init__(self) -> None:
        self._by_etag: OrderedDict[str, _Noted] = OrderedDict()

    def observe(self, catalog: Catalog) -> None:
        """Note the uploads that begin from now on."""
        begin = catalog.begin

        def begin_observed(key: str, policy: Policy) -> Upload:
            generation = begin(key, policy).generation
            noted: _Noted = ([], [])
            self._by_etag[generation.etag] = noted
            if len(self._by_etag) > GENERATIONS_MAX:
                self._by_etag.popitem(last=False)
            return _ObservedUpload(catalog, catalog.broadcast(generation), noted)

        catalog.begin = begin_observed  # type: ignore[method-assign] # this instance's alone

    def arrived_s(self, etag: str, size_bytes: int) -> float | None:
        """When the origin had the first `size_bytes` of a generation, by `time.perf_counter`.

        Returns:
            None if that isn't known (any more).
        """
        ends, times = self._by_etag.get(etag, ((), ()))
        index = bisect_left(ends, size_bytes)
        return times[index] if index < len(times) else None


class _ObservedUpload(Upload):
    def __init__(self, catalog: Catalog, broadcast: Broadcast, noted: _Noted) -> None:
        super().__init__(catalog, broadcast)
        self._ends, self._times = noted

    def append(self, runs: Sequence[Run], *, max_bytes: int) -> Abort | None:
        if len(self._ends) < APPENDS_MAX:
            self._times.append(time.perf_counter())
            size = sum(len(run.data) for run in runs)
            self._ends.append(self.generation.ring.size_bytes + size)
        return super().append(runs, max_bytes=max_bytes)
