"""What is recovered, against the plainest words for it; and listings in pages of any size."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.meta import NOWHERE, Manifest, Meta, NodeRecord, Open
from chunkstore.cluster.names import Part
from chunkstore.cluster.recover.build import MARGIN, Builder, Pending
from chunkstore.cluster.recover.decide import Verdict, decide
from chunkstore.cluster.recover.known import Known, number_nodes
from chunkstore.cluster.recover.merge import Copy, Found, Merge
from chunkstore.cluster.sqlite import SqliteMeta
from tests.examples import examples

HERE = [1, 2, 3]
ABSENT = [4, 5]
K, M, SIZE = 2, 1, 100
"""Of the objects here: two of three parts are enough."""


@dataclass(frozen=True)
class Past:
    """A generation, and what is left of it.

    Attributes:
        state: what the copy of the metadata has: "unknown", "current", "ended".
        nodes: by the manifest that the copy has.
        copies: index, node and size of what nodes have.
    """

    key: str
    state: str
    nodes: tuple[int, ...]
    copies: frozenset[tuple[int, int, int | None]]


places = st.lists(st.sampled_from(HERE + ABSENT), min_size=K + M, max_size=K + M, unique=True)
copies = st.frozensets(
    st.tuples(
        st.integers(0, K + M), st.sampled_from(HERE), st.sampled_from([SIZE, SIZE, SIZE, 7, None])
    ),
    max_size=6,
)
pasts = st.lists(
    st.builds(
        Past,
        st.sampled_from(["/a", "/b"]),
        st.sampled_from(["unknown", "current", "ended"]),
        places.map(tuple),
        # A node has one object of a name: one size of a part.
        copies.map(lambda some: frozenset({(i, n): (i, n, size) for i, n, size in some}.values())),
    ),
    max_size=8,
)


def record(number: int) -> NodeRecord:
    """A node that registered."""
    return NodeRecord(number, f"{number:032x}", f"n{number}:80", 1, "i" * 16, 5.0)


def manifest(generation: int, past: Past, nodes: tuple[int, ...]) -> Manifest:
    """As it was."""
    return Manifest(past.key, generation, 9, SIZE, K, nodes, b"facts")


def remember(meta: Meta, generation: int, past: Past) -> None:
    """Have the copy know of a generation, as its own life would have made it."""
    if past.state != "unknown":
        meta.begin_open(Open(generation, past.key, past.nodes))
        meta.commit(manifest(generation, past, past.nodes), 9.0)
    if past.state == "ended":
        meta.delete(past.key, 9.0)


def merged(data: st.DataObject, all_copies: list[Copy]) -> list[Found]:
    """What a walk along the nodes gives, in pages of any size."""
    lists = {node: sorted(one for one in all_copies if one.node == node) for node in HERE}
    merge, founds = Merge(HERE), []
    while wanted := merge.wanted:
        for node in wanted:
            size = data.draw(st.integers(1, 4))
            page, lists[node] = lists[node][:size], lists[node][size:]
            merge.feed(node, page, is_last=not lists[node])
        for found in merge.take():
            assert found.generation < merge.horizon
            founds.append(found)
    assert merge.highest == max((one.part.generation for one in all_copies), default=0)
    return founds


@examples(100)
@given(pasts, st.data())
def test_the_newest_that_can_be_read_is_there_again(past: list[Past], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with closing(SqliteMeta(Path(folder, "old"))) as old:
            old.batch([lambda meta: [meta.register(*record(n)[1:]) for n in (1, 2, 3, 4, 5)]])
            old.batch([lambda meta: meta.reserve(20)])
            for number, one in enumerate(past, 1):
                old.batch([lambda meta, n=number, o=one: remember(meta, n, o)])  # type: ignore[misc]
            known = Known(old)
            with closing(SqliteMeta(Path(folder, "new"), "f" * 32)) as new:
                check(past, known, new, data)


def check(past: list[Past], known: Known, new: SqliteMeta, data: st.DataObject) -> None:
    """Recover, and compare."""
    by_number = dict(enumerate(past, 1))
    current = {one.generation for one in Known(known._meta).take(99)}
    all_copies = [
        Copy(Part(number, index), node, size)
        for number, one in by_number.items()
        for index, node, size in one.copies
    ]
    founds = merged(data, all_copies)
    assert [one.generation for one in founds] == sorted({one.generation for one in founds})
    assert sorted(one for found in founds for one in found.copies) == sorted(
        one for one in all_copies if one.size_bytes is not None
    )
    builder = Builder(new, known, number_nodes(known.records, [record(n) for n in HERE]), HERE)
    cut = data.draw(st.integers(0, 10))
    for low, high in ((0, cut), (cut, 99)):
        batch = builder.pending([one for one in founds if low <= one.generation < high], high)
        builder.write([tell(by_number, one) for one in batch])
    report = builder.finish(9)

    right = {
        number: {i for i, _, size in one.copies if size == SIZE}
        for number, one in by_number.items()
        if number in current or number not in known.ended
    }
    hoped = {
        number: {i for i, node in enumerate(by_number[number].nodes) if node in ABSENT}
        | right[number]
        for number in current
    }
    readable: defaultdict[str, list[int]] = defaultdict(list)
    for number, indices in right.items():
        if len(indices) >= K or len(hoped.get(number, ())) >= K:
            readable[by_number[number].key].append(number)
    made = {one.key: one for one in new.page(0, 99)}
    assert {key: one.generation for key, one in made.items()} == {
        key: max(numbers) for key, numbers in readable.items()
    }
    assert report.object_count == len(made)
    assert {one.generation for one in new.due(1.0, 99)} == {
        number for numbers in readable.values() for number in numbers if number != max(numbers)
    }
    lost = {
        number
        for number, one in by_number.items()
        if number in right and number not in readable[one.key]
        if any(size is not None for *_, size in one.copies)
        if right[number] or number not in current
        if number > max(readable[one.key], default=0) or not right[number]
    }
    assert {one.generation for one in report.incomplete} == lost
    for one in made.values():
        check_places(one, by_number[one.generation], is_known=one.generation in current)
    assert new.batch([lambda meta: meta.reserve(0)])[0] == 21 + MARGIN
    assert [one.id for one in new.nodes()] == [record(n).id for n in (1, 2, 3, 4, 5)]


def tell(by_number: dict[int, Past], one: Pending) -> Pending:
    """What parts say of their object, if there is one that is right."""
    if one.expected is not None or all(copy.size_bytes != SIZE for copy in one.found.copies):
        return one
    generation = one.found.generation
    return Pending(one.found, manifest(generation, by_number[generation], (NOWHERE,) * (K + M)))


def check_places(made: Manifest, past: Past, *, is_known: bool) -> None:
    """Each place is one where the part is, or was and may be; no node is named without need."""
    named = [node for node in made.nodes if node]
    for index, node in enumerate(made.nodes):
        is_there = (index, node, SIZE) in past.copies
        was_there = is_known and node in ABSENT and past.nodes[index] == node
        assert node == NOWHERE or is_there or was_there
    assert len(named) >= K
    assert len(named) == len(set(named)) or len(named) == K
    kept = {
        i
        for i, (is_at, was_at) in enumerate(zip(made.nodes, past.nodes, strict=False))
        if is_at == was_at
    }
    if is_known and len(set(named)) == len(named):
        assert kept >= {i for i, n in enumerate(past.nodes) if (i, n, SIZE) in past.copies}


@given(st.lists(st.integers(1, 9), unique=True), st.sets(st.integers(1, 20)))
def test_nodes_keep_their_numbers(known: list[int], came: set[int]) -> None:
    old = [record(i)._replace(number=number) for number, i in enumerate(known, 1)]
    fresh = [record(i)._replace(number=50 + i, registered_s=8.0, address="new") for i in came]
    nodes = number_nodes(old, fresh)
    assert [one.number for one in nodes] == list(range(1, len(nodes) + 1))
    assert nodes[: len(old)] == [
        one._replace(address="new") if int(one.id, 16) in came else one for one in old
    ]
    assert [int(one.id, 16) for one in nodes[len(old) :]] == sorted(came - set(known))


@pytest.mark.parametrize(
    ("here", "nodes", "verdict", "after"),
    [
        ({(0, 1), (1, 2)}, (1, 2, 4), Verdict.WHOLE, (1, 2, 4)),
        ({(0, 1), (1, 2), (2, 3)}, (1, 2, 4), Verdict.WHOLE, (1, 2, 3)),  # it was made anew
        ({(0, 2), (0, 1), (1, 2)}, (1, 2, 4), Verdict.WHOLE, (1, 2, 4)),  # one was just moved
        ({(0, 1)}, (1, 2, 4), Verdict.AWAITED, (1, 0, 4)),
        ({(0, 1)}, (4, 2, 3), Verdict.INCOMPLETE, (1, 0, 0)),  # one part, though two nodes have it
        ({(0, 1)}, (1, 2, 3), Verdict.INCOMPLETE, (1, 0, 0)),
        (set(), (1, 4, 5), Verdict.AWAITED, (0, 4, 5)),
        (set(), (1, 2, 4), Verdict.GONE, (0, 0, 4)),
        ({(0, 1), (1, 1)}, (0, 0, 0), Verdict.WHOLE, (1, 1, 0)),  # better one node than none
        ({(0, 1), (1, 1), (2, 2)}, (0, 0, 0), Verdict.WHOLE, (1, 0, 2)),
        ({(0, 1), (0, 2), (1, 1)}, (0, 0, 0), Verdict.WHOLE, (2, 1, 0)),
        ({(0, 1), (1, 2), (3, 3)}, (1, 2, 0), Verdict.WHOLE, (1, 2, 0, 3)),  # parity was added
    ],
)
def test_what_is_left(
    here: set[tuple[int, int]], nodes: tuple[int, ...], verdict: Verdict, after: tuple[int, ...]
) -> None:
    copies = tuple(Copy(Part(7, index), node, SIZE) for index, node in sorted(here))
    expected = Manifest("/a", 7, 9, SIZE, K, nodes, b"")
    assert decide(Found(7, copies), expected, ABSENT) == (verdict, expected._replace(nodes=after))
