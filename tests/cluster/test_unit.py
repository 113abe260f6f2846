"""Records and descriptions: what was written is read, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.stripe import HEADER_BYTES, STRIPE_BYTES, Layout
from chunkstore.cluster.unit import (
    FOOT_BYTES,
    Description,
    Flaw,
    Record,
    RecordReader,
    verify,
)

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
U8 = st.integers(0, 255)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)

RECORDS = st.builds(Record, U64, U8, U32, st.binary(max_size=600))
DESCRIPTIONS = st.builds(
    Description,
    TEXT,
    U64,
    st.just(5),
    st.integers(0, 2),
    st.integers(0, 6),
    U64,
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=99),
)


def flipped(data: bytes, bit: int) -> bytes:
    """The same but for one bit."""
    return bytes(byte ^ (at == bit // 8) << bit % 8 for at, byte in enumerate(data))


def judged(data: bytes, generation: int, part: int, stripe: int) -> bytes | Flaw:
    """A record as it came, in one piece."""
    return verify(data[:HEADER_BYTES], data[HEADER_BYTES:], generation, part, stripe)


@given(RECORDS)
def test_a_record_is_itself_where_it_belongs_and_nowhere_else(record: Record) -> None:
    header = record.header()
    assert len(header) == HEADER_BYTES
    assert Record.parse(header, record.payload) == record
    generation, part, stripe, payload = record
    data = header + payload
    assert judged(data, generation, part, stripe) == payload
    assert judged(data, generation ^ 1, part, stripe) is Flaw.OTHER_GENERATION
    assert judged(data, generation, part ^ 1, stripe) is Flaw.OTHER_PART
    assert judged(data, generation, part, stripe ^ 1) is Flaw.OTHER_STRIPE


@given(RECORDS, st.data())
def test_no_bit_of_a_record_may_differ(record: Record, draw: st.DataObject) -> None:
    data = record.header() + record.payload
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    assert judged(flipped(data, bit), *record[:3]) is Flaw.BROKEN


@given(RECORDS, st.binary(min_size=1, max_size=20))
def test_a_record_has_one_length(record: Record, more: bytes) -> None:
    data = record.header() + record.payload
    assert judged(data + more, *record[:3]) is Flaw.BROKEN
    if record.payload:
        assert judged(data[:-1], *record[:3]) is Flaw.BROKEN


def part_of(layout: Layout, generation: int, part: int) -> bytes:
    """All records of a part whose units are of little interest."""
    units = [bytes([stripe]) * layout.unit_bytes(stripe) for stripe in range(layout.stripe_count)]
    records = [Record(generation, part, stripe, unit) for stripe, unit in enumerate(units)]
    return b"".join(record.header() + record.payload for record in records)


@given(st.sampled_from([0, 1, 12, STRIPE_BYTES, 2 * STRIPE_BYTES + 700]), st.data())
def test_units_come_out_of_any_pieces_of_any_range(size: int, draw: st.DataObject) -> None:
    layout = Layout(size)
    first, stop = sorted(draw.draw(st.integers(0, layout.stripe_count)) for _ in "ab")
    start, end = layout.extent(range(first, stop))
    data = bytearray(part_of(layout, 7, 3)[start:end])
    damaged = None
    if data and draw.draw(st.booleans()):
        damaged = draw.draw(st.integers(first, stop - 1))
        at = layout.record_offset(damaged) - start
        data[at + draw.draw(st.integers(0, HEADER_BYTES))] ^= 1
    reader = RecordReader(layout, 7, 3, range(first, stop))
    found: dict[int, bytes | Flaw] = {}
    fed = 0
    while reader.due_bytes:
        size = draw.draw(st.integers(1, reader.limit_bytes) | st.just(reader.limit_bytes))
        whole = reader.feed(bytes(data[fed : fed + size]))
        fed += size
        if whole is not None:
            assert layout.record_offset(whole[0] + 1) - start == fed, "as soon as it is whole"
            found[whole[0]] = whole[1]
    assert fed == len(data)
    assert list(found) == list(range(first, stop))
    for stripe, unit in found.items():
        expected = bytes([stripe]) * layout.unit_bytes(stripe)
        assert unit == (Flaw.BROKEN if stripe == damaged else expected)


@given(DESCRIPTIONS, st.binary(max_size=200))
def test_a_part_says_what_it_is_from_its_end(description: Description, before: bytes) -> None:
    data = description.encode()
    assert Description.size_of((before + data)[-FOOT_BYTES:]) == len(data)
    assert Description.parse(before + data) == description
    assert Description.parse(data[1:]) is None
    assert Description.parse(data[:-1]) is None
    assert len(description._replace(part=4).encode()) == len(data)


@given(DESCRIPTIONS, st.data())
def test_no_bit_of_a_description_may_differ(description: Description, draw: st.DataObject) -> None:
    data = description.encode()
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    assert Description.parse(bytes(300) + flipped(data, bit)) is None


@given(st.binary(max_size=300))
def test_what_is_no_description_is_none(data: bytes) -> None:
    assert Description.parse(data) is None
    assert Description.parse(data + b"CSd1") is None


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_records_end_is_no_description(size: int) -> None:
    """A part that was cut off says nothing of itself."""
    assert Description.parse(part_of(Layout(size), 1, 0)) is None
