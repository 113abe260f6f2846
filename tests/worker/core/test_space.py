"""Room on the disk, beside sums made anew each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.worker.core.space import Space

NUMBERS, SIZES = st.integers(1, 3), st.integers(0, 50)
STEPS = st.lists(
    st.tuples(st.sampled_from(["claim", "wrote", "rests", "stored", "removed"]), NUMBERS, SIZES),
    max_size=30,
)


@given(STEPS, st.none() | st.integers(0, 200), st.integers(0, 50), NUMBERS, SIZES)
def test_what_is_claimed_fits_and_counts(
    steps: list[tuple[str, int, int]],
    quota: int | None,
    reserve: int,
    number: int,
    needed: int,
) -> None:
    space = Space(quota, reserve)
    claims, stored = dict[int, tuple[int, int]](), dict[int, int]()
    for step, one, size in steps:
        had, written = claims.get(one, (0, 0))
        if step == "claim":
            space.claim(one, size)
            claims[one] = max(size, written), written
        elif step == "wrote":
            space.wrote(one, size)
            claims[one] = max(had, size), size
        elif step == "rests":
            space.rests(one)
            claims.update({one: (written, written)} if one in claims else {})
        elif step == "stored":
            space.stored(one, size)
            claims.pop(one, None)
            stored[one] = size
        else:
            space.removed(one)
            claims.pop(one, None)
            stored.pop(one, None)
    assert space.claimed_bytes == sum(had for had, _ in claims.values())
    assert space.used_bytes == space.claimed_bytes + sum(stored.values())
    had, written = claims.get(number, (0, 0))
    others = {one: pair for one, pair in claims.items() if one != number}
    due = sum(most - some for most, some in others.values()) + max(0, needed - written)
    after = sum(stored.values()) + sum(most for most, _ in others.values()) + max(had, needed)
    is_within = quota is None or after <= quota
    assert space.has_room(number, needed, due + reserve) == is_within
    assert not space.has_room(number, needed, due + reserve - 1)


def test_a_disk_that_was_full_takes_nothing_until_something_has_gone() -> None:
    space = Space(None, 0)
    space.stored(1, 10)
    space.is_full = True
    assert not space.has_room(2, 1, 1000)
    space.removed(1)
    assert space.has_room(2, 1, 1000)
