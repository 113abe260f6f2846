"""What is known of damaged parts, beside a naive set of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.damage import Damage

GENERATIONS, PARTS, NODES = st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)
STEPS = st.lists(
    st.tuples(st.just("note"), GENERATIONS, PARTS, NODES)
    | st.tuples(st.just("mended"), GENERATIONS, PARTS, st.just(0))
    | st.tuples(st.just("drop"), GENERATIONS, st.just(0), st.just(0)),
    max_size=30,
)


@given(STEPS, st.integers(1, 9))
def test_it_knows_what_was_noted_and_not_mended(
    steps: list[tuple[str, int, int, int]], most: int
) -> None:
    damage, known, found = Damage(most), dict[tuple[int, int], int](), 0
    news: set[int] = set()
    for step, generation, part, node in steps:
        if step == "note":
            damage.note(generation, part, node)
            is_news = known.get((generation, part)) != node
            if is_news and ((generation, part) in known or len(known) < most):
                known[generation, part] = node
                found += 1
                news.add(generation)
        elif step == "mended":
            damage.mended(generation, part)
            known.pop((generation, part), None)
        else:
            damage.drop(generation)
            news.discard(generation)
            known = {one: node for one, node in known.items() if one[0] != generation}
        assert damage.part_count == len(known)
        assert damage.found_count == found
        assert damage.has_news == bool(news)
        if found % 2:
            assert sorted(damage.news()) == sorted(news)
            news.clear()


def test_what_was_noted_of_another_node_does_not_count() -> None:
    damage = Damage()
    damage.note(7, 2, 3)
    assert damage.of(7, (1, 2, 3, 4, 5)) == (2,)
    assert damage.of(7, (1, 2, 6, 4, 5)) == ()
    assert damage.of(8, (1, 2, 3, 4, 5)) == ()
    damage.mended(7, 2)
    assert (damage.of(7, (1, 2, 3, 4, 5)), damage.mended_count) == ((), 1)
