"""Who is asked for what: five at most while all goes well, and never fewer than can be had."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.race import Race
from chunkstore.cluster.stripe import STRIPE_BYTES, UNIT_BYTES, K, Layout

SIZES = st.integers(1, 6 * STRIPE_BYTES)
PARTS = st.sets(st.integers(0, K + 1))


@st.composite
def races(draw: st.DrawFn) -> tuple[Layout, int, int, int]:
    """A layout, a range in it, and how many parts there are."""
    size = draw(SIZES)
    start = draw(st.integers(0, size - 1))
    return Layout(size), start, draw(st.integers(start + 1, size)), K + draw(st.integers(0, 2))


@given(races())
def test_asked_first_are_the_parts_that_have_the_bytes(what: tuple[Layout, int, int, int]) -> None:
    layout, start, stop, count = what
    race = Race(layout, start, stop, count)
    asks = race.asks()
    for part, stripes in asks:
        assert stripes == layout.stripes(part, start, stop)
        for stripe in stripes:
            assert not race.is_won
            race.came(part, stripe)
    assert len({part for part, _ in asks}) == len(asks)
    assert race.is_won
    assert not race.asks()


@given(races(), PARTS, PARTS, PARTS, st.data())
def test_it_is_won_whenever_five_of_each_stripe_can_be_had(
    what: tuple[Layout, int, int, int],
    lost: set[int],
    shunned: set[int],
    bad: set[int],
    data: st.DataObject,
) -> None:
    layout, start, stop, count = what
    lost, shunned, bad = ({part for part in some if part < count} for some in (lost, shunned, bad))
    race = Race(layout, start, stop, count, lost, shunned)
    under_way, late, asked = [], [], set()
    while not race.is_won and not race.hopeless():
        for part, stripes in race.asks():
            under_way.append((part, stripes))
            for stripe in stripes:
                assert part not in lost
                assert (part, stripe) not in asked, "asked twice"
                asked.add((part, stripe))
        assert under_way, "nobody is asked, and it is neither won nor hopeless"
        part, stripes = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
        if part in bad:
            race.failed(part, stripes)
        elif (part, stripes) not in late and data.draw(st.booleans()):
            late.append((part, stripes))
            race.is_late(part, stripes)
            under_way.append((part, stripes))
        else:
            for stripe in stripes:
                race.came(part, stripe)
    holders = {
        part for part in range(K) for stripe in layout.stripes(part, start, stop) if stripe >= 0
    }
    if count - len(lost | bad) >= K or not holders & (lost | bad):
        assert race.is_won
    if (hopeless := race.hopeless()) is not None:
        assert set(hopeless[1]) <= lost | bad
        assert not race.is_won


def test_a_late_part_is_raced_by_one_of_parity_alone() -> None:
    race = Race(Layout(2 * STRIPE_BYTES), 0, 2 * STRIPE_BYTES, K + 2)
    assert race.asks() == [(part, range(2)) for part in range(K)]
    race.is_late(3, range(2))
    assert race.asks() == [(5, range(2))]
    race.failed(5, range(2))
    assert race.asks() == [(6, range(2))]
    assert not race.asks()


def test_for_a_small_range_the_others_are_asked_once_its_part_is_late() -> None:
    race = Race(Layout(2 * STRIPE_BYTES), UNIT_BYTES, UNIT_BYTES + 9, K + 2)
    assert race.asks() == [(1, range(1))]
    race.is_late(1, range(1))
    assert race.asks() == [(part, range(1)) for part in (0, 2, 3, 4, 5)]
    race.came(1, 0)
    assert race.is_won


def test_who_is_shunned_is_asked_if_nobody_else_is_left() -> None:
    race = Race(Layout(STRIPE_BYTES), 0, STRIPE_BYTES, K + 1, lost={2}, shunned={0})
    assert [part for part, _ in race.asks()] == [1, 3, 4, 5, 0]
