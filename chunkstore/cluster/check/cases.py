"""Which sizes, ranges and contents a service is tried with, and what must come of them. Pure."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

from chunkstore.cluster.names import Part
from chunkstore.cluster.stripe import STRIPE_BYTES, UNIT_BYTES, K, Layout
from chunkstore.cluster.unit import Description, Flaw, RecordReader
from chunkstore.errors import CheckError

__all__ = [
    "LONG_BYTES",
    "PARTED_SIZES",
    "SIZES",
    "RangeCase",
    "content",
    "digest_field",
    "expect_equal",
    "expect_same",
    "join",
    "ranges",
]

SIZES = (
    *(0, 1, K - 1, K, K + 1),
    *(UNIT_BYTES - 1, UNIT_BYTES, UNIT_BYTES + 1),
    *(STRIPE_BYTES - 1, STRIPE_BYTES, STRIPE_BYTES + 1),
    *(2 * STRIPE_BYTES, 3 * STRIPE_BYTES + 7),
)
"""Around everything that an object is cut by."""
PARTED_SIZES = (0, 1, K + 1, STRIPE_BYTES, 2 * STRIPE_BYTES + 12_345)
"""Of the objects whose parts are fetched from the nodes."""
LONG_BYTES = 12 * 2**20
"""Longer than what connections have under way: who reads it slowly is still at it."""


class RangeCase(NamedTuple):
    """A range that is asked for, and the bytes [start, stop) that must come; None: 416."""

    field: str
    extent: tuple[int, int] | None


def content(seed: str, size_bytes: int) -> bytes:
    """Bytes that are told by their seed, and of which no two places look alike."""
    return hashlib.shake_128(seed.encode("utf-8")).digest(size_bytes)


def digest_field(data: bytes) -> str:
    """The Repr-Digest of these bytes (RFC 9530)."""
    return f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode('ascii')}:"


def ranges(size_bytes: int) -> list[RangeCase]:
    """Ranges of an object of three stripes or more: single bytes, over borders, open, beyond."""
    size, unit, stripe = size_bytes, UNIT_BYTES, STRIPE_BYTES
    assert size >= 3 * stripe
    return [
        RangeCase("0-0", (0, 1)),
        RangeCase("-1", (size - 1, size)),
        RangeCase(f"{size - 1}-", (size - 1, size)),
        RangeCase(f"{unit - 1}-{unit}", (unit - 1, unit + 1)),
        RangeCase(f"{stripe - 1}-{stripe}", (stripe - 1, stripe + 1)),
        RangeCase(f"{unit // 2}-{2 * stripe + unit}", (unit // 2, 2 * stripe + unit + 1)),
        RangeCase(f"-{stripe + 3}", (size - stripe - 3, size)),
        RangeCase(f"{size // 2}-{size + 1000}", (size // 2, size)),
        RangeCase("0-", (0, size)),
        RangeCase(f"{size}-", None),
    ]


def expect_equal(what: str, expected: object, got: object) -> None:
    """Hold a value against another one.

    Raises:
        CheckError: it is another one.
    """
    if expected != got:
        raise CheckError(f"{what}: expected {expected}, got {got}")


def expect_same(what: str, expected: bytes, got: bytes) -> None:
    """Hold a body against what was written.

    Raises:
        CheckError: they differ, and where they begin to.
    """
    if expected == got:
        return
    pairs = enumerate(zip(expected, got, strict=False))
    at = next((at for at, (a, b) in pairs if a != b), min(len(expected), len(got)))
    raise CheckError(
        f"{what}: expected {_describe(expected)}, got {_describe(got)}; they differ from byte {at}"
    )


def join(parts: Sequence[bytes], key: str, generation: int, size_bytes: int) -> bytes:
    """An object's bytes from its five data parts, as they lie on their nodes.

    Raises:
        CheckError: a part isn't what it should be.
    Cost: two copies.
    """
    layout = Layout(size_bytes)
    stripes = range(layout.stripe_count)
    units = [_units(data, layout, Part(generation, index)) for index, data in enumerate(parts)]
    for index, data in enumerate(parts):
        told = Description.parse(data[layout.records_bytes :])
        known = None if told is None else (told.key, told.generation, told.part, told.size_bytes)
        expected = (key, generation, index, size_bytes)
        expect_equal(f"what part {index} says of its object", expected, known)
    whole = b"".join(units[index][stripe] for stripe in stripes for index in range(K))
    if any(whole[size_bytes:]):
        raise CheckError("the last stripe is padded with something else than zeros")
    return whole[:size_bytes]


def _units(data: bytes, layout: Layout, part: Part) -> list[bytes]:
    stripes = range(layout.stripe_count)
    reader = RecordReader(layout, part.generation, part.index, stripes)
    units: list[bytes] = []
    at = 0
    while limit_bytes := reader.limit_bytes:
        piece = data[at : at + limit_bytes]
        if not piece:
            raise CheckError(f"part {part.index} ends at byte {at}, and a record goes on there")
        at += len(piece)
        if whole := reader.feed(piece):
            stripe, unit = whole
            if isinstance(unit, Flaw):
                raise CheckError(f"part {part.index}, stripe {stripe}: {unit.value}")
            units.append(unit)
    return units


def _describe(data: bytes) -> str:
    return f"{len(data)} bytes with sha-256 {hashlib.sha256(data).hexdigest()[:16]}"
