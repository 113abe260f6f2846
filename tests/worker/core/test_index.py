"""Which chunk has a block, beside looking at all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.worker.core.index import BlockIndex

RANGES = st.lists(
    st.tuples(st.integers(0, 100), st.integers(1, 70)).map(lambda pair: (pair[0], sum(pair)))
    | st.tuples(st.integers(0, 2**62), st.integers(1, 2**62)).map(lambda p: (p[0], sum(p))),
    max_size=30,
)


@given(RANGES, RANGES, st.data(), st.lists(st.integers(0, 180) | st.integers(0, 2**63)))
def test_it_is_the_smallest_and_of_these_the_newest(
    filled: list[tuple[int, int]],
    added: list[tuple[int, int]],
    data: st.DataObject,
    blocks: list[int],
) -> None:
    index = BlockIndex[str]()
    known = {number: one for number, one in enumerate([*filled, *added], 1)}
    index.fill((*known[number], number, str(number)) for number in range(1, len(filled) + 1))
    for number in range(len(filled) + 1, len(known) + 1):
        index.add(*known[number], number, str(number))
    gone = data.draw(st.sets(st.sampled_from(sorted(known)))) if known else set()
    for number in gone:
        index.remove(*known.pop(number), number)
    assert len(index) == len(known)
    edges = [edge for one in known.values() for edge in (one[0], one[1] - 1, one[1])]
    for block in [*blocks, *edges]:
        fits = [
            (stop - start, -number)
            for number, (start, stop) in known.items()
            if start <= block < stop
        ]
        assert index.find(block) == (str(-min(fits)[1]) if fits else None)
