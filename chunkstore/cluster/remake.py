"""Parts of an object, made anew from those that can be read.

Stripes come in windows, as for a reader, the next window while this one's are sent; of each only
the records are made that are wanted. The slowest of the parts says how fast it goes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from chunkstore.cluster.fetch import Place
from chunkstore.cluster.lane import Lane
from chunkstore.cluster.stripe import STRIPE_BYTES, K
from chunkstore.cluster.unit import Record
from chunkstore.cluster.windows import Window, Windows

if TYPE_CHECKING:
    from chunkstore.cluster.store import ClusterStore

__all__ = ["remake"]

WINDOW_BYTES = 4 * STRIPE_BYTES
"""Half of a reader's: two of them for each of four repairs are 40 MiB of the windows' budget."""


async def remake(
    store: ClusterStore,
    place: Place,
    size_bytes: int,
    lanes: Sequence[Lane],
    pace: Callable[[int], Awaitable[None]] | None = None,
) -> None:
    """Put all records of these parts in their lanes, which run meanwhile; their ends are not.

    Args:
        place: where the object can be read: parts that are not right are nowhere.
        size_bytes: of the object.
        lanes: of the parts, none of which has been given anything.
        pace: asked before so many bytes are sent.
    Returns: also when no lane wants any more.
    Raises:
        DamagedError: too few parts can be had by now.
    Cancellation: the lanes have some of the records.
    Cost: a window and the next one in memory, beside what waits in the lanes.
    """
    most = max(len(place.nodes), *(lane.part.index + 1 for lane in lanes))
    codec = store.fetcher.codec(most - K)
    async with aclosing(_stripes(store.windows, place, size_bytes)) as stripes:
        stripe = 0
        async for units in stripes:
            wanted = [lane for lane in lanes if not lane.is_over]
            if not wanted:
                return
            made = codec.decode(units, [lane.part.index for lane in wanted])
            for lane in wanted:
                part, unit = lane.part.index, made[lane.part.index]
                record = Record(place.generation, part, stripe, unit).header() + unit
                await lane.until_room()
                if pace is not None:
                    await pace(len(record))
                store.fleet.note(lane.node, len(record))
                lane.put(record)
            stripe += 1


async def _stripes(
    windows: Windows, place: Place, size_bytes: int
) -> AsyncGenerator[dict[int, bytes], None]:
    """The data units of each stripe, in order."""
    ahead: deque[Window] = deque()
    next_at = 0
    try:
        while ahead or next_at < size_bytes:
            while len(ahead) < 2 and next_at < size_bytes:
                share_bytes = max(min(windows.share_bytes, WINDOW_BYTES), STRIPE_BYTES)
                stop = min(next_at + share_bytes, size_bytes)
                ahead.append(windows.open(place, next_at, stop))
                next_at = stop
            for start in range(ahead[0].start, ahead[0].stop, STRIPE_BYTES):
                yield await ahead[0].units(place.key, start // STRIPE_BYTES)
            ahead.popleft().close()
    finally:
        for window in ahead:
            window.close()
