"""Stripe arithmetic against an object that is really cut, byte by byte, into lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.stripe import (
    HEADER_BYTES,
    STRIPE_BYTES,
    UNIT_BYTES,
    K,
    Layout,
    Piece,
    cut,
)

EDGES = [
    at + around
    for at in (0, K, UNIT_BYTES, STRIPE_BYTES, STRIPE_BYTES + K * 7, 2 * STRIPE_BYTES)
    for around in range(-K, K + 1)
    if at + around >= 0
]
SIZES = st.sampled_from(EDGES) | st.integers(0, 3 * STRIPE_BYTES)


def units_of(size: int) -> list[list[range]]:
    """The model: for each stripe, which bytes of the object each of its five units has."""
    stripes = []
    for start in range(0, size, STRIPE_BYTES):
        stop = min(start + STRIPE_BYTES, size)
        unit = UNIT_BYTES if stop - start == STRIPE_BYTES else (stop - start + K - 1) // K
        stripes.append(
            [
                range(min(start + part * unit, stop), min(start + (part + 1) * unit, stop))
                for part in range(K)
            ]
        )
    return stripes


def place_of(size: int, byte: int) -> tuple[int, int, int]:
    """The model: stripe, part and offset in the unit of one byte."""
    for stripe, units in enumerate(units_of(size)):
        for part, held in enumerate(units):
            if byte in held:
                return stripe, part, byte - held.start
    raise AssertionError


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int, int]:
    """A size and a range in it."""
    size = draw(SIZES)
    near = st.integers(0, size) | st.sampled_from([edge for edge in EDGES if edge <= size])
    start, stop = sorted((draw(near), draw(near)))
    return size, start, stop


@given(ranges())
def test_pieces_are_the_range_in_order(case: tuple[int, int, int]) -> None:
    size, start, stop = case
    at = start
    for piece in Layout(size).pieces(start, stop):
        assert piece.size > 0
        first, last = place_of(size, at), place_of(size, at + piece.size - 1)
        assert first == (piece.stripe, piece.part, piece.offset)
        assert last == (piece.stripe, piece.part, piece.offset + piece.size - 1)
        at += piece.size
    assert at == stop


@given(ranges(), st.integers(0, K - 1))
def test_stripes_of_a_part_are_those_that_hold_some_of_the_range(
    case: tuple[int, int, int], part: int
) -> None:
    size, start, stop = case
    held = [
        stripe
        for stripe, units in enumerate(units_of(size))
        if max(units[part].start, start) < min(units[part].stop, stop)
    ]
    assert list(Layout(size).stripes(part, start, stop)) == held


@given(SIZES)
def test_records_follow_each_other(size: int) -> None:
    layout = Layout(size)
    at = 0
    for stripe, units in enumerate(units_of(size)):
        assert layout.unit_bytes(stripe) == len(units[0])
        assert layout.record_offset(stripe) == at
        at += HEADER_BYTES + len(units[0])
        assert layout.extent(range(stripe, stripe + 1)) == (layout.record_offset(stripe), at)
    assert layout.stripe_count == len(units_of(size))
    assert layout.records_bytes == at
    assert layout.extent(range(layout.stripe_count)) == (0, at)


@given(ranges())
def test_an_open_object_lies_as_it_will_when_complete(case: tuple[int, int, int]) -> None:
    size, start, stop = case
    whole = size // STRIPE_BYTES * STRIPE_BYTES
    start, stop = min(start, whole), min(stop, whole)
    still, then = Layout(None), Layout(size)
    assert list(still.pieces(start, stop)) == list(then.pieces(start, stop))
    assert still.record_offset(whole // STRIPE_BYTES) == then.record_offset(whole // STRIPE_BYTES)
    for part in range(K):
        assert still.stripes(part, start, stop) == then.stripes(part, start, stop)


@given(st.sampled_from([edge for edge in EDGES if 0 < edge <= STRIPE_BYTES]))
def test_a_stripe_is_cut_where_the_layout_says(size: int) -> None:
    data = bytes(byte * 7 % 251 for byte in range(size % 5000)).ljust(size, b"x")
    units = cut(data)
    assert [len(unit) for unit in units] == [Layout(size).unit_bytes(0)] * K
    joined = b"".join(
        units[piece.part][piece.offset : piece.offset + piece.size]
        for piece in Layout(size).pieces(0, size)
    )
    assert joined == data
    assert not b"".join(units)[size:].strip(b"\0")


@pytest.mark.parametrize("size", [1, 4, 5, 6])
def test_tiny_objects(size: int) -> None:
    """Five parts of one length, even of a single byte."""
    unit = 1 if size <= K else 2
    assert Layout(size).records_bytes == HEADER_BYTES + unit
    assert [len(one) for one in cut(b"x" * size)] == [unit] * K


def test_nothing_has_no_units() -> None:
    layout = Layout(0)
    assert layout.stripe_count == layout.records_bytes == 0
    assert list(layout.pieces(0, 0)) == []


def test_a_whole_stripe_by_hand() -> None:
    assert list(Layout(STRIPE_BYTES + 12).pieces(UNIT_BYTES - 1, STRIPE_BYTES + 4)) == [
        Piece(0, 0, UNIT_BYTES - 1, 1),
        *(Piece(0, part, 0, UNIT_BYTES) for part in range(1, K)),
        Piece(1, 0, 0, 3),
        Piece(1, 1, 0, 1),
    ]
