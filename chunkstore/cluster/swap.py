"""A part of an object is put on another node, under an intent that the metadata has.

::

    begin_swap, durable --> the bytes --> swap_part, durable --> the old one is taken away
                               └── failed, or the object changed meanwhile --> the new one is

So whatever happens, each part that lies on a node is named by something, or is an orphan that
nothing will ever need.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from chunkstore.client import expect
from chunkstore.cluster.links import Links
from chunkstore.cluster.meta import NOWHERE, Manifest, Swap
from chunkstore.cluster.names import Part, part_path
from chunkstore.errors import StaleError

if TYPE_CHECKING:
    from chunkstore.cluster.store import ClusterStore

__all__ = ["deliver", "swap", "undo"]


async def deliver(
    links: Links, part: Part, node: int, body: AsyncIterable[bytes], length: int
) -> None:
    """Write a part to a node; it is durable there when this returns.

    Args:
        length: of all of it, in bytes.
    Raises:
        StatusError: the node refuses it: 410 what was taken away there, 507 without room.
        FetchError: it can't be reached, or was lost in the middle.
        Exception: whatever `body` raised; nothing of it stays on the node.
    """
    async with links.request(
        node, "PUT", part_path(part), generation=part.generation, body=body, length=length
    ) as answer:
        await expect(answer, 200, 201)
        await answer.body()


async def swap(
    store: ClusterStore,
    manifest: Manifest,
    index: int,
    target: int,
    write: Callable[[], Awaitable[None]],
    on_left: Callable[[], None] = lambda: None,
) -> bool:
    """Have a part of an object on `target`, and no longer where it is.

    Args:
        manifest: of the object, as it is now.
        index: of the part, which may be parity that the object has not yet.
        write: puts the part on `target`.
        on_left: called once the old place has the part no more, or that was tried; only if the
            swap was made, and perhaps long after this.
    Returns:
        false: the object, or the part's place, has changed, or the target had a part of it before
            that is still to be taken away; what was written is taken away.
    Raises:
        DiskError: the metadata can't note it.
        Exception: whatever `write` raised; what was written is taken away.
    Cancellation: as if `write` had failed, unless it was over.
    """
    generation = manifest.generation
    intent = Swap(Part(generation, index), manifest.node(index), target)
    if (generation, target) in store.leaving:
        return False
    try:
        with trio.CancelScope(shield=True):  # once asked for it may be made, whoever waits
            await store.scribe.ask(lambda meta: meta.begin_swap(intent))
    except StaleError:
        return False
    is_made = False
    try:
        await write()
        with trio.CancelScope(shield=True):
            is_made = await store.swap(manifest.key, intent)
    finally:
        if not is_made:
            undo(store, intent)
    if is_made and intent.source != NOWHERE:
        store.leaving.add((generation, intent.source))
        # Readers under way know the old place alone.
        store.when_idle(generation, partial(_take_away, store, intent, on_left))
    return is_made


def _take_away(store: ClusterStore, intent: Swap, on_left: Callable[[], None]) -> None:
    """Nobody needs the old place any more."""
    part = intent.part

    def left() -> None:
        store.leaving.discard((part.generation, intent.source))
        on_left()

    places = {(part.index, intent.source)}
    store.collector.put(part.generation, places, left, is_of_living=True)


def undo(store: ClusterStore, intent: Swap) -> None:
    """A swap came to nothing: what was written is taken away, then the intent."""
    part = intent.part
    end = partial(_end, store, intent)
    store.collector.put(part.generation, {(part.index, intent.target)}, end)


def _end(store: ClusterStore, intent: Swap) -> None:
    """What was written has left its node, or is an orphan there."""
    store.tidy(lambda meta: meta.end_swap(intent))
