"""What is expected of a service is what the cluster's own rules say."""

from __future__ import annotations

import hashlib
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.check.cases import (
    SIZES,
    content,
    digest_field,
    expect_equal,
    expect_same,
    join,
    ranges,
)
from chunkstore.cluster.stripe import HEADER_BYTES, STRIPE_BYTES, UNIT_BYTES, K
from chunkstore.cluster.unit import Description, Record
from chunkstore.errors import CheckError
from chunkstore.wire import Slice, Unsatisfiable, parse_range, resolve_complete
from tests.cluster.nodes import parts_of

KEY, GENERATION = "/a b", 7


def parts(data: bytes) -> list[bytes]:
    """The data parts of an object, with their descriptions."""
    bare = parts_of(data, GENERATION, 0, b"")
    return [bytes(part) + described(data, index) for index, part in enumerate(bare)]


def described(data: bytes, index: int, **changes: int) -> bytes:
    """What stands at the end of a part."""
    sha256 = hashlib.sha256(data).digest()
    description = Description(KEY, GENERATION, K, 0, index, len(data), sha256, b"")
    return description._replace(**changes).encode()  # type: ignore[arg-type]  # of its own fields


@given(st.sampled_from(SIZES) | st.integers(0, 3 * STRIPE_BYTES))
def test_five_parts_joined_are_the_object(size: int) -> None:
    data = content("x", size)
    assert join(parts(data), KEY, GENERATION, size) == data


@given(
    size=st.sampled_from([1, 7, UNIT_BYTES, STRIPE_BYTES + 1]),
    index=st.integers(0, K - 1),
    draw=st.data(),
)
def test_a_part_that_is_not_right_is_found(size: int, index: int, draw: st.DataObject) -> None:
    whole = parts(content("x", size))
    at = draw.draw(st.integers(0, len(whole[index]) - 1))
    flipped = bytearray(whole[index])
    flipped[at] ^= draw.draw(st.integers(1, 255))
    cut = whole[index][:at]
    for damaged in (bytes(flipped), cut):
        with pytest.raises(CheckError):
            join([*whole[:index], damaged, *whole[index + 1 :]], KEY, GENERATION, size)


def test_what_belongs_elsewhere_is_found() -> None:
    data = content("x", 100)
    whole = parts(data)
    for wrong in (
        join_with(whole, [1, 0, 2, 3, 4]),
        [whole[0][: -len(described(data, 0))] + described(data, 0, generation=8), *whole[1:]],
        [whole[0][: -len(described(data, 0))] + described(data, 0, size_bytes=99), *whole[1:]],
        [Record(8, 0, 0, whole[0][HEADER_BYTES:][:20]).header() + whole[0][28:], *whole[1:]],
    ):
        with pytest.raises(CheckError):
            join(wrong, KEY, GENERATION, 100)
    padded = [data[start : start + 21] for start in range(0, 84, 21)] + [data[84:].ljust(21, b"x")]
    parted = [
        Record(GENERATION, index, 0, unit).header() + unit + described(data, index)
        for index, unit in enumerate(padded)
    ]
    with pytest.raises(CheckError):
        join(parted, KEY, GENERATION, 100)


def join_with(whole: list[bytes], order: list[int]) -> list[bytes]:
    """Parts in another order."""
    return [whole[index] for index in order]


@given(st.integers(3 * STRIPE_BYTES, 9 * STRIPE_BYTES))
def test_the_ranges_are_what_rfc_9110_says(size: int) -> None:
    borders = {0, UNIT_BYTES, STRIPE_BYTES, size}
    for case in ranges(size):
        found = resolve_complete(parse_range(f"bytes={case.field}"), size)
        assert isinstance(found, Slice | Unsatisfiable), case
        extent = (found.start, found.stop) if isinstance(found, Slice) else None
        assert extent == case.extent, case
        if extent is not None:
            borders -= {at for at in borders if extent[0] <= at <= extent[1]}
    assert not borders


def test_what_differs_is_said() -> None:
    expect_equal("x", 1, 1)
    expect_same("x", b"abc", b"abc")
    with pytest.raises(CheckError, match="x: expected 1, got 2"):
        expect_equal("x", 1, 2)
    for got, at in ((b"abd", 2), (b"ab", 2), (b"abcd", 3), (b"", 0)):
        with pytest.raises(CheckError, match=f"differ from byte {at}$"):
            expect_same("x", b"abc", got)


def test_the_digest_is_that_of_rfc_9530() -> None:
    field = digest_field(b"abc")
    assert field.startswith("sha-256=:")
    assert field.endswith(":")
    assert b64decode(field[9:-1]) == hashlib.sha256(b"abc").digest()


def test_contents_are_told_apart() -> None:
    assert content("a", 1000) != content("b", 1000)
    assert content("a", 1000)[:500] != content("a", 1000)[500:]
    assert content("a", 10) == content("a", 1000)[:10]
