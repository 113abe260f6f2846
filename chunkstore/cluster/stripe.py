"""Where a byte of an object lies in its parts, by arithmetic alone. Pure.

An object is a row of *stripes*, each of five *units* that follow each other in the object; unit i
of every stripe is in part i. So a body of unknown length streams through, and parts grow together::

    object      | 0.0 | 0.1 | 0.2 | 0.3 | 0.4 | 1.0 | 1.1 | ...       stripe.unit, 256 KiB each
    part 0      # 0.0 # 1.0 # 2.0 # description                       # a header of 28 bytes
    part 4      # 0.4 # 1.4 # 2.4 # description
    part 5, 6   # parity of 0.0 to 0.4 # ...

The last stripe, of r bytes, is cut in five units of ceil(r / 5), padded with zeros at its end. An
object of 0 bytes has no stripe. Parity has a unit a stripe as the others do, so all parts of an
object have the same length, whatever that of the object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["HEADER_BYTES", "STRIPE_BYTES", "UNIT_BYTES", "K", "Layout", "Piece", "cut"]

K = 5
"""Data parts of an object."""
UNIT_BYTES = 256 * 1024
"""Of every stripe but the last. Larger units make small ranges dear, smaller ones cost a checksum
and a header more often; 256 KiB is what a socket's buffers hold."""
STRIPE_BYTES = K * UNIT_BYTES
HEADER_BYTES = 28
"""In front of every unit in a part; `unit` says what is in it. The two together are a record."""


class Piece(NamedTuple):
    """Bytes of an object that lie together in a part.

    Attributes:
        stripe, part: whose unit has them; both are indices, the part's below K.
        offset, size: where in the unit, in bytes.
    """

    stripe: int
    part: int
    offset: int
    size: int


def cut(stripe: bytes) -> list[bytes]:
    """The five units of a stripe's bytes.

    Args:
        stripe: 1 to STRIPE_BYTES; fewer than that only at the end of an object.
    Cost: a copy.
    """
    assert 0 < len(stripe) <= STRIPE_BYTES
    unit = -(-len(stripe) // K)
    units = [stripe[start : start + unit] for start in range(0, K * unit, unit)]
    return [one.ljust(unit, b"\0") for one in units]


class Layout:
    """How an object of some size lies in its parts.

    Args:
        size_bytes: of the object; None while it is open: only full stripes are known of then.
    """

    __slots__ = ("_last_unit_bytes", "_size_bytes", "_whole_count")

    def __init__(self, size_bytes: int | None) -> None:
        self._size_bytes = size_bytes
        self._whole_count, rest = divmod(size_bytes or 0, STRIPE_BYTES)
        self._last_unit_bytes = -(-rest // K)

    @property
    def stripe_count(self) -> int:
        """Stripes, and so units of every part."""
        assert self._size_bytes is not None, "an open object has as many as it gets"
        return self._whole_count + (self._last_unit_bytes > 0)

    @property
    def records_bytes(self) -> int:
        """What all records of a part take: its description begins there."""
        return self.record_offset(self.stripe_count)

    def unit_bytes(self, stripe: int) -> int:
        """Size of the units of a stripe."""
        if self._size_bytes is None or stripe < self._whole_count:
            return UNIT_BYTES
        assert stripe < self.stripe_count
        return self._last_unit_bytes

    def record_offset(self, stripe: int) -> int:
        """Where a stripe's record begins, the same in every part; or where the last one ends."""
        if self._size_bytes is None or stripe <= self._whole_count:
            return stripe * (HEADER_BYTES + UNIT_BYTES)
        assert stripe == self.stripe_count
        return self.record_offset(stripe - 1) + HEADER_BYTES + self._last_unit_bytes

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The bytes [start, stop) of the object, in order.

        Args:
            start, stop: absolute, 0 <= start <= stop <= the object's size.
        """
        assert 0 <= start <= stop
        assert self._size_bytes is None or stop <= self._size_bytes
        while start < stop:
            stripe, offset = divmod(start, STRIPE_BYTES)
            unit_bytes = self.unit_bytes(stripe)
            part, offset = divmod(offset, unit_bytes)
            size = min(unit_bytes - offset, stop - start)
            yield Piece(stripe, part, offset, size)
            start += size

    def stripes(self, part: int, start: int, stop: int) -> range:
        """The stripes whose unit in this data part has any of the bytes [start, stop).

        Args:
            part: below K.
            start, stop: as for `pieces`.
        """
        if start == stop:
            return range(0)
        first, last = start // STRIPE_BYTES, (stop - 1) // STRIPE_BYTES
        if (start - first * STRIPE_BYTES) // self.unit_bytes(first) > part:
            first += 1
        if (stop - 1 - last * STRIPE_BYTES) // self.unit_bytes(last) < part:
            last -= 1
        return range(first, max(first, last + 1))

    def extent(self, stripes: range) -> tuple[int, int]:
        """Where in a part the records of consecutive stripes lie: [start, stop), in bytes."""
        return self.record_offset(stripes.start), self.record_offset(stripes.stop)
