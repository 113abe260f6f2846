"""The metadata as plain dicts: what the real one is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from chunkstore.cluster.meta import Manifest, Meta, Open, Superseded, Swap
from chunkstore.cluster.names import Part
from chunkstore.errors import StaleError

__all__ = ["Naive", "one"]

T = TypeVar("T")


def one(meta: Meta, change: Callable[[Meta], T]) -> T:
    """Make a single change."""
    [outcome] = meta.batch([change])
    if isinstance(outcome, StaleError):
        raise outcome
    return outcome


class Naive:
    """All of it in memory; a change that is refused gives the text "stale"."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.next = 1
        self.opens: dict[int, Open] = {}
        self.manifests: dict[str, Manifest] = {}
        self.superseded: dict[int, Superseded] = {}
        self.swaps: dict[Part, Swap] = {}

    def register(self, node_id: str) -> int:
        """The number of a node."""
        if node_id not in self.ids:
            self.ids.append(node_id)
        return self.ids.index(node_id) + 1

    def reserve(self, count: int) -> int:
        """The first of so many numbers."""
        first = self.next
        self.next += count
        return first

    def move_open(self, generation: int, nodes: tuple[int, ...]) -> str | None:
        """Other nodes."""
        if generation not in self.opens:
            return "stale"
        self.opens[generation] = self.opens[generation]._replace(nodes=nodes)
        return None

    def commit(self, manifest: Manifest, deadline_s: float) -> Manifest | str | None:
        """What it replaces."""
        opened = self.opens.get(manifest.generation)
        before = self.manifests.get(manifest.key)
        if opened is None or opened.key != manifest.key:
            return "stale"
        if before is not None and before.generation > manifest.generation:
            return "stale"
        del self.opens[manifest.generation]
        self.delete(manifest.key, deadline_s)
        self.manifests[manifest.key] = manifest
        return before

    def delete(self, key: str, deadline_s: float) -> Manifest | None:
        """What it had."""
        before = self.manifests.pop(key, None)
        if before is not None:
            number = before.generation
            self.superseded[number] = Superseded(number, before.nodes, deadline_s)
        return before

    def of(self, generation: int) -> Manifest | None:
        """The manifest of a generation."""
        found = [one for one in self.manifests.values() if one.generation == generation]
        return found[0] if found else None

    def begin_swap(self, swap: Swap) -> str | None:
        """Whether it may be."""
        manifest = self.of(swap.part.generation)
        if manifest is None or self.has(manifest, swap.part.index) != swap.source:
            return "stale"
        others = [one for one in self.swaps.values() if one.part.generation == manifest.generation]
        targets = {*manifest.nodes, *(one.target for one in others)}
        if swap.target in targets or swap.part in self.swaps:
            return "stale"
        self.swaps[swap.part] = swap
        return None

    def swap_part(self, swap: Swap) -> bool:
        """Whether the manifest says so now."""
        manifest = self.of(swap.part.generation)
        stands = self.swaps.get(swap.part) == swap
        if stands:
            del self.swaps[swap.part]
        index = swap.part.index
        if not stands or manifest is None or self.has(manifest, index) != swap.source:
            return False
        nodes = list(manifest.nodes)
        while len(nodes) <= index:
            nodes.append(0)
        nodes[index] = swap.target
        self.manifests[manifest.key] = manifest._replace(nodes=tuple(nodes))
        return True

    @staticmethod
    def has(manifest: Manifest, index: int) -> int:
        """The node of a part."""
        return manifest.nodes[index] if index < len(manifest.nodes) else 0

    def orphans(self, node: int, parts: Iterable[Part]) -> list[Part]:
        """What nothing names."""
        named = {
            (number, index, where)
            for number, nodes in [
                *((one.generation, one.nodes) for one in self.manifests.values()),
                *((one.generation, one.nodes) for one in self.superseded.values()),
            ]
            for index, where in enumerate(nodes)
        }
        named |= {(s.part.generation, s.part.index, s.target) for s in self.swaps.values()}
        return [
            part
            for part in parts
            if part.generation not in self.opens
            and (part.generation, part.index, node) not in named
        ]
