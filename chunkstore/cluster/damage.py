"""Parts that are known not to be right where they should be. Pure.

Readers, scrubs and surveys note what they meet; a repair takes it from here. It is a hint: what is
lost with the process is found again, and what doesn't fit in is left to the next scrub.
"""

from __future__ import annotations

__all__ = ["PARTS_MAX", "Damage"]

PARTS_MAX = 100_000
"""Known at a time; some 20 MB."""


class Damage:
    """Which parts are damaged or missing, and on which nodes.

    Args:
        most: parts that are known at a time; more are counted and not kept.

    Attributes:
        found_count, mended_count: so many, since the start.
    """

    __slots__ = ("_count", "_most", "_news", "_parts", "found_count", "mended_count")

    def __init__(self, most: int = PARTS_MAX) -> None:
        self._most = most
        self._news: dict[int, None] = {}
        self._parts: dict[int, dict[int, int]] = {}
        self._count = self.found_count = self.mended_count = 0

    @property
    def part_count(self) -> int:
        """Parts that are known and not mended."""
        return self._count

    @property
    def has_news(self) -> bool:
        """`news` has something to tell."""
        return bool(self._news)

    def news(self) -> list[int]:
        """Objects of which something was noted since this was last called; for one who asks."""
        news, self._news = self._news, {}
        return list(news)

    def note(self, generation: int, part: int, node: int) -> None:
        """A part isn't right on a node; the same one again is no news."""
        known = self._parts.get(generation, {})
        if known.get(part) == node:
            return
        if part not in known:
            if self._count >= self._most:
                return
            self._count += 1
        self._parts.setdefault(generation, known)[part] = node
        self.found_count += 1
        self._news[generation] = None

    def of(self, generation: int, nodes: tuple[int, ...]) -> tuple[int, ...]:
        """Parts of an object that aren't right where they are, in order.

        Args:
            nodes: of its parts by now: what was noted of another node doesn't count.
        """
        known = self._parts.get(generation, {})
        return tuple(part for part, node in enumerate(nodes) if known.get(part) == node)

    def mended(self, generation: int, part: int) -> None:
        """A part is right, where the manifest says."""
        if self._parts.get(generation, {}).pop(part, None) is not None:
            self._count -= 1
            self.mended_count += 1
            if not self._parts[generation]:
                del self._parts[generation]

    def drop(self, generation: int) -> None:
        """The object is gone."""
        self._news.pop(generation, None)
        self._count -= len(self._parts.pop(generation, {}))
