"""What is packed is what was put in, found where it belongs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.store.disk.stored import Extent, Extents, Objects, Stored, place, weigh

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
EXTENT = st.builds(Extent, st.integers(0, 20), U64, U64, U32, U32)
STORED = st.builds(Stored, U64, U64, U64, st.binary(max_size=50), U32, U32)


def packed(extents: list[Extent]) -> bytearray:
    """Put in one behind the other."""
    found = bytearray()
    for one in extents:
        place(found, one)
    return found


@given(st.lists(EXTENT, max_size=12))
def test_extents_are_in_order_and_the_last_of_an_offset_holds(extents: list[Extent]) -> None:
    found, model = bytearray(), dict[int, Extent]()
    for one in extents:
        assert place(found, one) == model.get(one.offset)
        model[one.offset] = one
    expected = [model[offset] for offset in sorted(model)]
    view = Extents(found)
    assert list(view) == expected
    assert [view[index] for index in range(-len(view), 0)] == expected
    assert view[1:3] == expected[1:3]
    assert len(view) == len(expected)
    assert view.volumes() == {one.volume for one in expected}
    for offset in range(22):
        assert view.find(offset) == sum(one.offset < offset for one in expected)
    assert view == Extents(bytes(found))
    assert view != expected


@given(STORED, st.lists(EXTENT, max_size=3))
def test_an_object_is_what_it_was(stored: Stored, extents: list[Extent]) -> None:
    stored = stored._replace(packed=bytes(packed(extents)))
    row = stored.encode()
    assert Stored.decode(row) == stored
    objects = Objects()
    objects.put("/a", row)
    assert dict(objects) == {"/a": stored}
    assert objects.row("/a") == row
    assert "/a" in objects
    assert objects.pop("/a") == stored
    assert not objects


@given(STORED, st.lists(EXTENT, max_size=3))
def test_its_weight_is_that_of_its_records(stored: Stored, extents: list[Extent]) -> None:
    stored = stored._replace(packed=bytes(packed(extents)))
    expected = {stored.commit_volume: stored.commit_bytes}
    for one in stored.extents:
        expected[one.volume] = expected.get(one.volume, 0) + one.record_bytes
    found = dict.fromkeys(expected, 0)
    assert weigh(stored.encode(), found) == stored.generation
    assert found == expected
