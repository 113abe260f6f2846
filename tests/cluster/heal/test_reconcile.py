"""What a node has and should have, against dictionaries."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.heal.reconcile import Listed, Verdict, reconcile
from tests.cluster.fill import Held

GENERATIONS = st.integers(0, 12)
SIZES = st.sampled_from([10, 20])


@st.composite
def manifests(draw: st.DrawFn) -> list[Held]:
    """Of any generations, on nodes 1 to 9; 0 is nowhere."""
    numbers = st.permutations([0, *range(1, 10)])
    return [
        Held(generation, draw(SIZES), tuple(draw(numbers)[: draw(st.integers(5, 7))]))
        for generation in sorted(draw(st.sets(GENERATIONS)))
    ]


LISTS = st.dictionaries(st.tuples(GENERATIONS, st.integers(0, 8)), SIZES)


def model(
    number: int, listed: dict[tuple[int, int], int], known: list[Held], busy: set[int]
) -> Iterator[tuple[Verdict, Listed]]:
    """Every part that could be anything, one by one."""
    objects = {held.generation: held for held in known}
    for generation in range(13):
        held = objects.get(generation)
        for part in range(9):
            is_ours = held is not None and held.nodes[part : part + 1] == (number,)
            size = listed.get((generation, part))
            if held is not None and is_ours:
                expected = Listed(generation, part, held.part_bytes)
                if size is None:
                    yield Verdict.MISSING, expected
                else:
                    verdict = Verdict.GOOD if size == held.part_bytes else Verdict.DAMAGED
                    yield verdict, Listed(generation, part, size)
            elif size is not None:
                gone = Verdict.STALE if held else Verdict.ORPHAN
                verdict = Verdict.BUSY if generation in busy else gone
                yield verdict, Listed(generation, part, size)


@given(st.integers(1, 9), LISTS, manifests(), st.sets(GENERATIONS))
def test_as_dictionaries_say(
    number: int, listed: dict[tuple[int, int], int], known: list[Held], busy: set[int]
) -> None:
    lines = [Listed(*at, size) for at, size in sorted(listed.items())]
    found = list(reconcile(number, iter(lines), iter(known), busy))
    assert found == list(model(number, listed, known, busy))
