"""A whole part goes from one node to another, verified on the way: record by record, then what
stands behind the last of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from chunkstore.client import Answer, expect
from chunkstore.cluster.ledger import with_digest
from chunkstore.cluster.links import Links
from chunkstore.cluster.meta import Manifest
from chunkstore.cluster.names import Part, part_path
from chunkstore.cluster.stripe import Layout
from chunkstore.cluster.swap import deliver
from chunkstore.cluster.unit import Description, Flaw, RecordReader
from chunkstore.errors import FetchError, StatusError

__all__ = ["SourceError", "copy"]

_GONE = (404, 410)
"""What a node answers that has no such part."""


class SourceError(Exception):
    """A part can't be had from the node that should have it.

    Attributes:
        is_damaged: the node hasn't got it, or not as it was written; else it can't be asked.
    """

    def __init__(self, detail: str, *, is_damaged: bool) -> None:
        super().__init__(detail)
        self.is_damaged = is_damaged


async def copy(
    links: Links,
    manifest: Manifest,
    index: int,
    target: int,
    pace: Callable[[int], Awaitable[None]],
) -> None:
    """Have a part of an object on `target`, too; it is durable there when this returns.

    Args:
        index: of the part, which a node has.
        pace: waited for before so many bytes are sent.
    Raises:
        SourceError: it can't be had right; nothing of it stays on the target.
        StatusError, FetchError: of the target, as `deliver`.
    Cancellation: nothing of it stays on the target, unless it was over.
    Cost: two copies; holds a record, or the description.
    """
    part = Part(manifest.generation, index)
    async with AsyncExitStack() as stack:
        try:
            answer = await stack.enter_async_context(
                links.request(
                    manifest.node(index), "GET", part_path(part), generation=part.generation
                )
            )
            await expect(answer, 200)
        except StatusError as error:
            raise SourceError(str(error), is_damaged=error.status in _GONE) from error
        except FetchError as error:
            raise SourceError(str(error), is_damaged=False) from error
        if answer.length != manifest.part_bytes:
            raise _damaged(answer, f"it has {answer.length} bytes of {manifest.part_bytes}")
        body = _verified(answer, manifest, index, pace)
        await deliver(links, part, target, body, manifest.part_bytes)


async def _verified(
    answer: Answer, manifest: Manifest, index: int, pace: Callable[[int], Awaitable[None]]
) -> AsyncIterator[bytes]:
    """The part, in pieces of which each was found right."""
    layout = Layout(manifest.size_bytes)
    stripes = range(layout.stripe_count)
    records = RecordReader(layout, manifest.generation, index, stripes)
    pieces: list[bytes] = []
    while due_bytes := records.due_bytes:
        pieces.append(await _some(answer, records.limit_bytes, due_bytes))
        if (whole := records.feed(pieces[-1])) is None:
            continue
        stripe, unit = whole
        if isinstance(unit, Flaw):
            raise _damaged(answer, f"stripe {stripe}: {unit.value}")
        record = b"".join(pieces)
        pieces.clear()
        await pace(len(record))
        yield record
    left = manifest.part_bytes - layout.records_bytes
    while left > 0:
        pieces.append(await _some(answer, left, left))
        left -= len(pieces[-1])
    ending = b"".join(pieces)
    if not _describes(ending, manifest, index):
        raise _damaged(answer, "what it says of its object isn't so")
    await pace(len(ending))
    yield ending


async def _some(answer: Answer, most_bytes: int, least_bytes: int) -> bytes:
    """The next bytes, at least one; in as few receives as can be."""
    try:
        data = await answer.some(most_bytes, least_bytes=least_bytes)
    except FetchError as error:
        raise SourceError(str(error), is_damaged=False) from error
    assert data, "its length was looked at, and a shorter one is a cut"
    return data


def _describes(ending: bytes, manifest: Manifest, index: int) -> bool:
    """Whether this, and nothing else, is the description of a part of this object."""
    found = Description.parse(ending)
    return (
        found is not None
        and Description.size_of(ending) == len(ending)
        and (found.key, found.generation, found.k) == manifest[:2] + (manifest.k,)
        and (found.part, found.size_bytes) == (index, manifest.size_bytes)
        and with_digest(found.sha256, found.facts) == manifest.facts
    )


def _damaged(answer: Answer, detail: str) -> SourceError:
    return SourceError(f"{answer.asked}: {detail}", is_damaged=True)
