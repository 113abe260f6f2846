"""The metadata against a naive model, through restarts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chunkstore.cluster.meta import NOWHERE, Manifest, Meta, Open, Swap
from chunkstore.cluster.names import Part
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.errors import StaleError
from tests.cluster.naive import Naive, one
from tests.examples import examples

keys = st.sampled_from(["/a", "/é"])
generations = st.integers(1, 12)
numbers = st.integers(1, 9)
nodes = st.lists(numbers, min_size=5, max_size=7, unique=True).map(tuple)
times = st.integers(0, 20).map(float)
parts = st.builds(Part, generations, st.integers(0, 7))
picks = st.integers(0, 3)
swaps = st.builds(Swap, parts, st.integers(0, 9), numbers)


def told(outcome: object) -> object:
    """As the model says it."""
    return "stale" if isinstance(outcome, StaleError) else outcome


class Machine(RuleBasedStateMachine):
    """Changes gather, and are made together; then all is as the model has it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "meta.sqlite")
        self.meta = SqliteMeta(self.path)
        self.naive = Naive()
        self.changes: list[Callable[[Meta], object]] = []
        self.expected: list[object] = []

    def teardown(self) -> None:
        """Leave nothing."""
        self.meta.close()
        self.folder.cleanup()

    def later(self, change: Callable[[Meta], object], expected: object) -> None:
        """To be made with the next batch."""
        self.changes.append(change)
        self.expected.append(expected)

    @rule(node_id=st.sampled_from("xyz"), address=st.sampled_from(["h:1", "h:2"]))
    def register(self, node_id: str, address: str) -> None:
        """A node comes, perhaps again."""
        number = self.naive.register(node_id)
        self.later(
            lambda meta: meta.register(node_id, address, 10, "i" + address, 1.0)[:3],
            (number, node_id, address),
        )

    @rule(count=st.integers(1, 3))
    def reserve(self, count: int) -> None:
        """Numbers."""
        self.later(lambda meta: meta.reserve(count), self.naive.reserve(count))

    @rule(key=keys, where=nodes)
    def begin_open(self, key: str, where: tuple[int, ...]) -> None:
        """An upload."""
        opened = Open(self.naive.reserve(1), key, where)
        self.naive.opens[opened.generation] = opened

        def begin(meta: Meta) -> None:
            assert meta.reserve(1) == opened.generation
            meta.begin_open(opened)

        self.later(begin, None)

    def open_one(self, pick: int) -> int:
        """The generation of an upload under way, mostly; of none, if that is so."""
        under_way = sorted(self.naive.opens)
        return under_way[pick] if pick < len(under_way) else pick + 1

    def right(self, swap: Swap, pick: int) -> Swap:
        """The swap of a part where it is, mostly."""
        stands = sorted(self.naive.manifests.values(), key=lambda one: one.generation)
        if pick >= len(stands):
            return swap
        index = swap.part.index
        source = self.naive.has(stands[pick], index)
        return swap._replace(part=Part(stands[pick].generation, index), source=source)

    @rule(pick=picks, where=nodes)
    def move_open(self, pick: int, where: tuple[int, ...]) -> None:
        """A node is replaced."""
        generation = self.open_one(pick)
        expected = self.naive.move_open(generation, where)
        self.later(lambda meta: meta.move_open(generation, where), expected)

    @rule(generation=generations, key=keys, where=nodes, deadline_s=times)
    def commit(self, generation: int, key: str, where: tuple[int, ...], deadline_s: float) -> None:
        """The generation's own key, mostly."""
        key = self.naive.opens[generation].key if generation in self.naive.opens else key
        manifest = Manifest(key, generation, 7, 2, 5, where, b"f\0")
        expected = self.naive.commit(manifest, deadline_s)
        self.later(lambda meta: meta.commit(manifest, deadline_s), expected)

    @rule(pick=picks)
    def abort(self, pick: int) -> None:
        """It ends."""
        generation = self.open_one(pick)
        expected = self.naive.opens.pop(generation, None)
        self.later(lambda meta: meta.abort(generation), expected)

    @rule(key=keys, deadline_s=times)
    def delete(self, key: str, deadline_s: float) -> None:
        """Nothing there any more."""
        expected = self.naive.delete(key, deadline_s)
        self.later(lambda meta: meta.delete(key, deadline_s), expected)

    @rule(now_s=times, limit=st.integers(1, 3))
    def forget_due(self, now_s: float, limit: int) -> None:
        """Their time has come."""
        stands = sorted(self.naive.superseded.values(), key=lambda one: one[::-2])
        due = [one for one in stands if one.deadline_s <= now_s][:limit]
        for gone in due:
            del self.naive.superseded[gone.generation]

        def forget(meta: Meta) -> object:
            found = meta.due(now_s, limit)
            for gone in found:
                meta.forget(gone.generation)
            return found

        self.later(forget, due)

    @rule(swap=swaps, pick=picks)
    def begin_swap(self, swap: Swap, pick: int) -> None:
        """With the right source, or any."""
        swap = self.right(swap, pick)
        expected = self.naive.begin_swap(swap)
        self.later(lambda meta: meta.begin_swap(swap), expected)

    @rule(swap=swaps, pick=picks, is_end=st.booleans())
    def end_swap(self, swap: Swap, pick: int, is_end: bool) -> None:
        """One under way, or any."""
        under_way = sorted(self.naive.swaps.values(), key=lambda one: one.part)
        if pick < len(under_way):
            swap = under_way[pick]
        if is_end:
            if self.naive.swaps.get(swap.part) == swap:
                del self.naive.swaps[swap.part]
            self.later(lambda meta: meta.end_swap(swap), None)
        else:
            expected = self.naive.swap_part(swap)
            self.later(lambda meta: meta.swap_part(swap), expected)

    @rule(node=numbers)
    def orphans(self, node: int) -> None:
        """What nothing names, of all that could be there."""
        asked = [
            Part(number, index) for number in range(1, self.naive.next + 2) for index in range(8)
        ]
        expected = self.naive.orphans(node, asked)
        self.later(lambda meta: meta.orphans(node, asked), expected)

    @rule()
    def make(self) -> None:
        """Make them, and look at all there is."""
        outcomes = self.meta.batch(self.changes)
        assert list(map(told, outcomes)) == self.expected
        self.changes, self.expected = [], []
        self.look()

    @rule(fails=st.booleans())
    def restart(self, fails: bool) -> None:
        """What was acknowledged is there again; what wasn't made isn't, as after an exception."""
        self.make()
        if fails:
            with pytest.raises(ZeroDivisionError):
                self.meta.batch([lambda meta: meta.reserve(1), lambda _: 1 // 0])
        cluster_id = self.meta.cluster_id
        self.meta.close()
        self.meta = SqliteMeta(self.path)
        assert self.meta.cluster_id == cluster_id
        self.look()

    def look(self) -> None:
        """All of it."""
        meta, naive = self.meta, self.naive
        assert [node.id for node in meta.nodes()] == naive.ids
        assert meta.opens() == sorted(naive.opens.values())
        stands = sorted(naive.manifests.values(), key=lambda one: one.generation)
        assert meta.page(0, 100) == stands
        assert [*meta.page(0, 1), *meta.page(stands[0].generation, 9)] == stands if stands else True
        assert sorted(meta.names()) == sorted((m.key, m.generation, m.facts) for m in stands)
        for key in ("/a", "/é"):
            assert meta.manifest(key) == meta.stored(key) == naive.manifests.get(key)
        assert meta.due(100.0, 100) == sorted(naive.superseded.values(), key=lambda o: o[::-2])
        assert meta.swaps() == sorted(naive.swaps.values(), key=lambda one: one.part)

    @invariant()
    def no_key_is_shown_twice(self) -> None:
        """Nor has an object two parts on a node."""
        for manifest in self.naive.manifests.values():
            there = [node for node in manifest.nodes if node]
            assert len(there) == len(set(there))


TestMachine = Machine.TestCase
TestMachine.settings = examples(60, stateful_step_count=50)


# --- swaps, where the machine comes seldom -------------------------------------------------------


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[SqliteMeta]:
    """With an object, generation 1, whose parts are on nodes 1 to 5."""
    with closing(SqliteMeta(tmp_path / "meta.sqlite")) as made:
        manifest = Manifest("/a", 1, 7, 2, 5, (1, 2, 3, 4, 5), b"f")

        def put(inner: Meta) -> None:
            inner.reserve(1)
            inner.begin_open(Open(1, "/a", manifest.nodes))
            inner.commit(manifest, 0.0)

        one(made, put)
        yield made


@pytest.mark.parametrize(
    ("swap", "reason"),
    [
        (Swap(Part(1, 0), 2, 9), "not where it was"),
        (Swap(Part(2, 0), 1, 9), "not where it was"),
        (Swap(Part(1, 6), 1, 9), "not where it was"),
        (Swap(Part(1, 0), 1, 5), "node 5 has a part"),
        (Swap(Part(1, 1), 2, 8), "in another swap"),
        (Swap(Part(1, 3), 4, 9), "in another swap"),
    ],
)
def test_a_swap_that_may_not_be(meta: SqliteMeta, swap: Swap, reason: str) -> None:
    one(meta, lambda m: m.begin_swap(Swap(Part(1, 3), 4, 8)))
    with pytest.raises(StaleError, match=reason):
        one(meta, lambda m: m.begin_swap(swap))


def test_of_two_who_swap_a_part_one_wins(meta: SqliteMeta) -> None:
    swap = Swap(Part(1, 3), 4, 8)
    one(meta, lambda m: m.begin_swap(swap))
    assert not one(meta, lambda m: m.swap_part(swap._replace(target=9)))
    assert one(meta, lambda m: m.orphans(8, [Part(1, 3)])) == []
    assert one(meta, lambda m: m.swap_part(swap))
    assert not one(meta, lambda m: m.swap_part(swap))
    assert one(meta, lambda m: m.orphans(4, [Part(1, 3)])) == [Part(1, 3)]
    assert meta.page(0, 1)[0].nodes == (1, 2, 3, 8, 5)


def test_parity_is_added_as_a_swap_from_nowhere(meta: SqliteMeta) -> None:
    swap = Swap(Part(1, 6), NOWHERE, 7)
    one(meta, lambda m: m.begin_swap(swap))
    assert one(meta, lambda m: m.swap_part(swap))
    assert meta.page(0, 1)[0].nodes == (1, 2, 3, 4, 5, NOWHERE, 7)
