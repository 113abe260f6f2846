"""Which parts are asked for what, so that the bytes of some stripes come soon. Pure.

Asked first are the data parts that have the bytes, and nobody else. Where one of those fails or is
late, others of that stripe are asked as well, until five are under way or there: whichever five
come first, the bytes follow from them. What is late may still come in time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum

from chunkstore.cluster.stripe import STRIPE_BYTES, K, Layout

__all__ = ["Ask", "Race"]

Ask = tuple[int, range]
"""Index of a part, and the stripes whose units are wanted of it."""


class _Unit(Enum):
    """What is known of one."""

    UNASKED = "nobody asked for it"
    SHUNNED = "nobody asked for it, and it would come late"
    ASKED = "it is on its way"
    LATE = "it should have come"
    HERE = "it came, and is right"
    LOST = "it can't be had"


_UNUSED = (_Unit.UNASKED, _Unit.SHUNNED)
_DOUBTFUL = (_Unit.SHUNNED, _Unit.LATE, _Unit.LOST)


class Race:
    """The units of the stripes that have the bytes [start, stop) of an object.

    Args:
        layout: of the object.
        start, stop: as for `Layout.pieces`, start < stop.
        part_count: of the object, parity too.
        lost: parts that can't be had.
        shunned: parts that are asked last.
    """

    __slots__ = ("_needed", "_order", "_rows")

    def __init__(
        self,
        layout: Layout,
        start: int,
        stop: int,
        part_count: int,
        lost: Collection[int] = (),
        shunned: Collection[int] = (),
    ) -> None:
        spans = [layout.stripes(part, start, stop) for part in range(K)]
        row = [_Unit.SHUNNED if part in shunned else _Unit.UNASKED for part in range(part_count)]
        for part in lost:
            row[part] = _Unit.LOST
        stripes = range(start // STRIPE_BYTES, (stop - 1) // STRIPE_BYTES + 1)
        self._rows = {stripe: list(row) for stripe in stripes}
        self._needed = {
            stripe: [part for part in range(K) if stripe in spans[part]] for stripe in stripes
        }
        self._order = sorted(range(part_count), key=lambda part: (part in shunned, part))

    # --- what came -----------------------------------------------------------------------------

    def came(self, part: int, stripe: int) -> None:
        """A unit is here, and right."""
        self._rows[stripe][part] = _Unit.HERE

    def failed(self, part: int, stripes: range) -> None:
        """Units won't come, but for those that did."""
        self._change(part, stripes, (_Unit.ASKED, _Unit.LATE), _Unit.LOST)

    def is_late(self, part: int, stripes: range) -> None:
        """Units should have come by now, if they didn't."""
        self._change(part, stripes, (_Unit.ASKED,), _Unit.LATE)

    def _change(self, part: int, stripes: range, before: Collection[_Unit], after: _Unit) -> None:
        for stripe in stripes:
            if self._rows[stripe][part] in before:
                self._rows[stripe][part] = after

    # --- what to do ----------------------------------------------------------------------------

    @property
    def is_won(self) -> bool:
        """All the bytes are here, or follow from what is."""
        return all(self.is_stripe_won(stripe) for stripe in self._rows)

    def is_stripe_won(self, stripe: int) -> bool:
        """Those of one stripe are."""
        row = self._rows[stripe]
        return not self.lacking(stripe) or row.count(_Unit.HERE) >= K

    def lacking(self, stripe: int) -> list[int]:
        """The parts of a stripe that have asked bytes and aren't here."""
        row = self._rows[stripe]
        return [part for part in self._needed[stripe] if row[part] is not _Unit.HERE]

    def hopeless(self) -> tuple[int, list[int]] | None:
        """A stripe that will never be whole, and the parts that it lacks."""
        for stripe, row in self._rows.items():
            lost = [part for part, unit in enumerate(row) if unit is _Unit.LOST]
            if len(row) - len(lost) < K and any(part in lost for part in self._needed[stripe]):
                return stripe, lost
        return None

    def asks(self) -> list[Ask]:
        """Whom to ask now, and what for; they count as asked."""
        asked: dict[int, list[int]] = {}
        for stripe, row in self._rows.items():
            for part in self._due(stripe):
                row[part] = _Unit.ASKED
                asked.setdefault(part, []).append(stripe)
        return [(part, run) for part, stripes in asked.items() for run in _runs(stripes)]

    def _due(self, stripe: int) -> list[int]:
        row, needed = self._rows[stripe], self._needed[stripe]
        if self.is_stripe_won(stripe):
            return []
        due = [part for part in needed if row[part] is _Unit.UNASKED]
        if any(row[part] in _DOUBTFUL for part in needed):
            under_way = row.count(_Unit.HERE) + row.count(_Unit.ASKED) + len(due)
            others = [p for p in self._order if row[p] in _UNUSED and p not in due]
            due += others[: max(0, K - under_way)]
        return due


def _runs(stripes: list[int]) -> Iterator[range]:
    """The same, ascending ones, as ranges."""
    start = stripes[0]
    for this, following in zip(stripes, [*stripes[1:], -1], strict=True):
        if following != this + 1:
            yield range(start, this + 1)
            start = following
