"""Ranges against a naive model: a list of the bytes that exist."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.wire import (
    RangeSpec,
    Slice,
    Streamed,
    Unsatisfiable,
    Wait,
    Whole,
    content_range,
    parse_range,
    resolve_complete,
    resolve_open,
)
from chunkstore.wire.ranges import VERY_LARGE

_SIZES = st.integers(0, 12)
_POSITIONS = st.one_of(st.integers(0, 15), st.sampled_from([VERY_LARGE - 1, VERY_LARGE, 10**18]))


@st.composite
def _specs(draw: st.DrawFn) -> RangeSpec:
    first, last = draw(st.none() | _POSITIONS), draw(st.none() | _POSITIONS)
    spec = parse_range(f"bytes={'' if first is None else first}-{'' if last is None else last}")
    return spec or RangeSpec(0, None)


def _model(spec: RangeSpec, size: int) -> list[int]:
    """Return the offsets that a range selects of a complete object, one by one."""
    if spec.first is None:
        assert spec.last is not None
        return list(range(size))[-spec.last :] if spec.last else []
    return [
        offset
        for offset in range(size)
        if offset >= spec.first and (spec.last is None or offset <= spec.last)
    ]


@given(_specs(), _SIZES)
def test_complete_object_gives_what_the_model_selects(spec: RangeSpec, size: int) -> None:
    part = resolve_complete(spec, size)
    chosen = _model(spec, size)
    if isinstance(part, Slice):
        assert list(range(part.start, part.stop)) == chosen
        assert content_range(part, size) == f"bytes {chosen[0]}-{chosen[-1]}/{size}"
    elif isinstance(part, Unsatisfiable):
        assert chosen == []
    else:
        assert size == 0
        assert spec.first is None


@given(_specs(), _SIZES, _SIZES)
def test_open_object_never_contradicts_what_it_becomes(
    spec: RangeSpec, size: int, more: int
) -> None:
    part = resolve_open(spec, size)
    final = _model(spec, size + more)
    if isinstance(part, Slice):
        # What is promised exists already, and is the beginning of what the whole would give.
        given_out = list(range(part.start, part.stop))
        assert given_out
        assert part.stop <= size
        assert given_out == final[: len(given_out)]
        assert spec.last is None or given_out == final
    elif isinstance(part, Wait):
        assert part.offset >= size
        assert part.offset in (spec.first, spec.last)
        later = resolve_open(spec, part.offset + 1)
        assert isinstance(later, Slice | Streamed)
    elif isinstance(part, Streamed):
        assert part.start == spec.first
        assert part.start < size
        assert spec.last is not None
        assert spec.last >= VERY_LARGE
    else:
        assert spec.first in (0, None)


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        (None, 10, Whole()),
        ("bytes=0-", 0, Whole()),
        ("bytes=0-", 10, Whole()),
        ("bytes=-5", 10, Whole()),
        ("bytes=2-4", 5, Slice(2, 5)),
        ("bytes=2-5", 5, Wait(5)),
        ("bytes=2-", 5, Slice(2, 5)),
        ("bytes=5-", 5, Wait(5)),
        ("bytes=9-", 5, Wait(9)),
        (f"bytes=2-{VERY_LARGE - 1}", 5, Wait(VERY_LARGE - 1)),
        (f"bytes=2-{VERY_LARGE}", 5, Streamed(2, VERY_LARGE)),
        (f"bytes=0-{VERY_LARGE}", 0, Wait(0)),
        (f"bytes=5-{VERY_LARGE}", 5, Wait(5)),
    ],
)
def test_open_object(value: str | None, size: int, expected: object) -> None:
    assert resolve_open(parse_range(value), size) == expected


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        (None, 10, Whole()),
        ("bytes=0-", 10, Slice(0, 10)),
        ("bytes=0-0", 10, Slice(0, 1)),
        ("BYTES=9-99", 10, Slice(9, 10)),
        ("bytes=10-", 10, Unsatisfiable()),
        ("bytes=0-", 0, Unsatisfiable()),
        ("bytes=-3", 10, Slice(7, 10)),
        ("bytes=-30", 10, Slice(0, 10)),
        ("bytes=-0", 10, Unsatisfiable()),
        ("bytes=-3", 0, Whole()),
    ],
)
def test_complete_object(value: str | None, size: int, expected: object) -> None:
    assert resolve_complete(parse_range(value), size) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=0-1,3-4", "items=0-1"),
        *("bytes = 0-1", "bytes=0 - 1", "bytes=+0-1", "bytes=0-1\n", "bytes=\u0661-\u0662"),
        *("bytes=0-" + "9" * 20, "bytes=" + "0" * 20 + "-"),
    ],
)
def test_what_is_no_single_byte_range_is_ignored(value: str) -> None:
    assert parse_range(value) is None


def test_content_range_forms() -> None:
    assert content_range(Slice(2, 5), 9) == "bytes 2-4/9"
    assert content_range(Slice(2, 5), None) == "bytes 2-4/*"
    assert content_range(Streamed(2, VERY_LARGE), None) == "bytes 2-9007199254740991/*"
    assert content_range(Unsatisfiable(), 9) == "bytes */9"
