"""Whatever is ready first, the changes of a name are made in their order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.turns import Turns


@given(st.lists(st.sampled_from("ab"), max_size=12), st.data())
def test_changes_of_a_name_keep_their_order(keys: list[str], data: st.DataObject) -> None:
    turns, made = Turns(), list[int]()
    taken = [turns.take(key) for key in keys]
    order = data.draw(st.permutations(range(len(keys))))
    for count, index in enumerate(order, start=1):
        turns.ready(taken[index], lambda index=index: made.append(index))  # type: ignore[misc]
        ready = set(order[:count])
        for key in "ab":
            own = [one for one, its_key in enumerate(keys) if its_key == key]
            waits = [one for one in own if one not in ready]
            due = [one for one in own if not waits or one < waits[0]]
            assert [one for one in made if keys[one] == key] == due
    assert sorted(made) == list(range(len(keys)))
    assert not turns._lines
