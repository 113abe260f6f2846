"""What a node has, compared with what it should have. Pure.

A node that comes back may have lost parts, and has some that were made elsewhere meanwhile. Its
list and the manifests both come in the order of their generations, so one walk along the two tells,
whatever there is of either. Parts may come and go meanwhile, so nothing is done about what it says
before that was looked at again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from chunkstore.cluster.placement import Placed

__all__ = ["Listed", "Verdict", "reconcile"]


class Verdict(Enum):
    """What a part of a node is to the cluster; the value is for people."""

    GOOD = "it is what should be there, as far as its size says; a scrub reads it"
    DAMAGED = "it should be there, and has another size"
    MISSING = "it should be there, and isn't"
    BUSY = "something under way, or just replaced, may need it"
    STALE = "another node has this part by now"
    ORPHAN = "its object is gone, or never was"


class Listed(NamedTuple):
    """A part as its node lists it.

    Attributes:
        generation, part: of the object, and the index of the part in it.
        size_bytes: all of it; None: it is still being written.
    """

    generation: int
    part: int
    size_bytes: int | None


def reconcile(
    number: int, listed: Iterable[Listed], manifests: Iterable[Placed], busy: Collection[int]
) -> Iterator[tuple[Verdict, Listed]]:
    """Each part that a node has or should have, with what to think of it, in their order.

    STALE and ORPHAN are to be taken away, once the metadata says in one transaction that nothing
    names them; DAMAGED and MISSING are to be made.

    Args:
        number: the node.
        listed: what it has, sorted.
        manifests: all there are, by generation; read after `listed`.
        busy: generations that an upload, a running read or a swap may need parts of.
    Cost: O(parts of a manifest) in memory and for each manifest.
    """
    rest = _by_generation(listed)
    generation, here = next(rest, _END)
    for placed in manifests:
        while generation < placed.generation:
            yield from _unknown(generation, here, busy)
            generation, here = next(rest, _END)
        is_listed = generation == placed.generation
        yield from _compared(number, placed, here if is_listed else {}, busy)
        if is_listed:
            generation, here = next(rest, _END)
    while here:
        yield from _unknown(generation, here, busy)
        generation, here = next(rest, _END)


_END: tuple[float, dict[int, Listed]] = (float("inf"), {})


def _by_generation(listed: Iterable[Listed]) -> Iterator[tuple[float, dict[int, Listed]]]:
    """What is listed of each generation, by part."""
    here: dict[int, Listed] = {}
    generation = -1
    for one in listed:
        if one.generation != generation and here:
            yield generation, here
            here = {}
        assert one.generation >= generation, "the list is sorted"
        generation = one.generation
        here[one.part] = one
    if here:
        yield generation, here


def _unknown(
    generation: float, here: dict[int, Listed], busy: Collection[int]
) -> Iterator[tuple[Verdict, Listed]]:
    """No manifest has this generation."""
    verdict = Verdict.BUSY if generation in busy else Verdict.ORPHAN
    yield from ((verdict, one) for one in here.values())


def _compared(
    number: int, placed: Placed, here: dict[int, Listed], busy: Collection[int]
) -> Iterator[tuple[Verdict, Listed]]:
    """One object's parts."""
    elsewhere = Verdict.BUSY if placed.generation in busy else Verdict.STALE
    ours = {part for part, holder in enumerate(placed.nodes) if holder == number}
    for part in sorted(ours | here.keys()):
        expected = Listed(placed.generation, part, placed.part_bytes)
        one = here.get(part)
        if one is None:
            yield Verdict.MISSING, expected
        elif part not in ours:
            yield elsewhere, one
        else:
            yield Verdict.GOOD if one == expected else Verdict.DAMAGED, one
