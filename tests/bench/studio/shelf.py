"""What becomes of a packager's steps: a naive store, and a player's look at its playlists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.studio.packager import Append, Begin, End, Publish, Remove, Step, Store

__all__ = ["Listed", "Shelf", "parts_of"]


@dataclass
class Shelf:
    """Objects by name, as far as their steps were carried out.

    Attributes:
        whole: names whose upload has ended.
        versions: every playlist, with the size that each segment had by then.
        removed: names in their order.
    """

    objects: dict[str, bytearray] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    versions: list[tuple[bytes, dict[str, int]]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def carry_out(self, steps: Iterable[Step]) -> None:
        """Do all of them."""
        for step in steps:
            if isinstance(step, Store):
                self.objects[step.name] = bytearray(step.data)
            elif isinstance(step, Begin):
                assert step.name not in self.objects
                self.objects[step.name] = bytearray()
            elif isinstance(step, Append):
                assert step.name not in self.whole
                self.objects[step.name] += step.data
            elif isinstance(step, End):
                assert self.objects[step.name]
                self.whole.add(step.name)
            elif isinstance(step, Publish):
                sizes = {name: len(data) for name, data in self.objects.items()}
                self.versions.append((step.data, sizes))
            else:
                assert isinstance(step, Remove)
                self.whole.remove(step.name)
                self.removed.append(step.name)


@dataclass(frozen=True)
class Listed:
    """A part as a playlist lists it; `start` and `stop` are 0 where it is a file of its own."""

    uri: str
    duration_s: float
    start: int
    stop: int
    is_independent: bool


def parts_of(playlist: bytes) -> list[Listed]:
    """Its parts, read by other means than the origin's."""
    found = []
    for line in re.findall(rb"^#EXT-X-PART:(.*)$", playlist, re.MULTILINE):
        text = line.decode()
        match = re.fullmatch(
            r'DURATION=([\d.]+),URI="([^"]+)"(?:,BYTERANGE="(\d+)@(\d+)")?(,INDEPENDENT=YES)?', text
        )
        assert match, text
        size, start = int(match[3] or 0), int(match[4] or 0)
        found.append(Listed(match[2], float(match[1]), start, start + size, match[5] is not None))
    return found
