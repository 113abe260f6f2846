"""Byte ranges: what a Range field asks for, and what it means for an object that may still grow.

A complete object follows RFC 9110 section 14. An open one of `size` bytes so far can also say
*wait* (the bytes asked for may still come) or *streamed* (RFC 8673: a partial answer whose end
isn't known).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = [
    "VERY_LARGE",
    "RangeSpec",
    "Slice",
    "Streamed",
    "Unsatisfiable",
    "Wait",
    "Whole",
    "content_range",
    "parse_range",
    "resolve_complete",
    "resolve_open",
]

VERY_LARGE: Final = 2**53 - 1
"""A last position from here on means "as far as it will grow" (RFC 8673 section 2)."""

_ONE_RANGE: Final = re.compile(r"bytes=([0-9]{1,19})?-([0-9]{1,19})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RangeSpec:
    """One byte range as asked for.

    Attributes:
        first: offset of the first byte; None for a suffix range.
        last: offset of the last byte, None for "to the end"; of a suffix range, its length in
            bytes.
    """

    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Whole:
    """No partial answer: 200 with everything."""


@dataclass(frozen=True, slots=True)
class Slice:
    """206 with the bytes from `start` to before `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """416: the object has no such bytes."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """206 from `start` on, of unknown end; Content-Range echoes `last`, the position asked for."""

    start: int
    last: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Hold until the byte at `offset` exists or the object ends, then resolve again."""

    offset: int


def parse_range(value: str | None) -> RangeSpec | None:
    """Read a Range field that asks for one byte range.

    Returns:
        None for what is ignored, so that the answer is 200: no field, another unit, several ranges,
        bad syntax, a last position before the first, numbers of more than 19 digits.
    Source: RFC 9110 sections 14.1.2 and 14.2.
    """
    if value is None or not (match := _ONE_RANGE.fullmatch(value)):
        return None
    first = None if match[1] is None else int(match[1])
    last = None if match[2] is None else int(match[2])
    if first is None and last is None:
        return None
    if first is not None and last is not None and last < first:
        return None
    return RangeSpec(first, last)


def resolve_complete(spec: RangeSpec | None, size: int) -> Whole | Slice | Unsatisfiable:
    """Say what a range means for a complete object.

    Args:
        spec: the range, or None for no (usable) Range field.
        size: the object's size in bytes.
    Source: RFC 9110 section 14.1.2.
    """
    if spec is None:
        return Whole()
    if spec.first is None:
        assert spec.last is not None
        if spec.last == 0:
            return Unsatisfiable()
        # A suffix of nothing is satisfiable, but no Content-Range can say so.
        return Slice(max(0, size - spec.last), size) if size else Whole()
    if spec.first >= size:
        return Unsatisfiable()
    return Slice(spec.first, size if spec.last is None else min(spec.last + 1, size))


def resolve_open(spec: RangeSpec | None, size: int) -> Whole | Slice | Streamed | Wait:
    """Say what a range means for an object that is still being written.

    Args:
        spec: the range, or None for no (usable) Range field.
        size: bytes visible so far.
    Returns:
        never `Unsatisfiable`: the byte may still come. After a `Wait`, ask again
        (`resolve_complete` once the object is complete).
    Source: RFC 9110 section 14, RFC 8673 section 2.
    """
    if spec is None or spec.first is None:
        return Whole()
    first, last = spec.first, spec.last
    if last is None:
        if first == 0:
            return Whole()
        return Slice(first, size) if first < size else Wait(first)
    if last >= VERY_LARGE:
        return Streamed(first, last) if first < size else Wait(first)
    return Slice(first, last + 1) if last < size else Wait(last)


def content_range(part: Slice | Streamed | Unsatisfiable, size: int | None) -> str:
    """Write the Content-Range of a 206 or a 416.

    Args:
        part: what was resolved.
        size: the complete size in bytes, None while it isn't known (`*`).
    Source: RFC 9110 section 14.4; RFC 8673 section 2.
    """
    whole = "*" if size is None else str(size)
    if isinstance(part, Unsatisfiable):
        return f"bytes */{whole}"
    last = part.last if isinstance(part, Streamed) else part.stop - 1
    return f"bytes {part.start}-{last}/{whole}"
