"""The new metadata, written as if all that is left had been uploaded again, one after the other.

Generations come in their order, so what is newer takes the place of what is older, as it did when
they were written. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chunkstore.cluster.meta import Manifest, Meta, NodeRecord, Open
from chunkstore.cluster.recover.decide import Verdict, decide
from chunkstore.cluster.recover.known import Known
from chunkstore.cluster.recover.merge import Found

__all__ = ["MARGIN", "Builder", "Lost", "Pending", "Report"]

MARGIN = 1 << 32
"""Numbers that are left out behind the highest one seen. Who can say how many were given to uploads
that nobody knows of any more? Nodes still refuse what was taken away there, and no number may come
twice. There are 2**63 of them."""


class Lost(NamedTuple):
    """A generation that can't be had; "" for a key: none of its parts says which."""

    generation: int
    key: str


class Pending(NamedTuple):
    """A generation; what it was isn't known (None) before one of its parts was asked."""

    found: Found
    expected: Manifest | None


@dataclass
class Report:
    """What came of it.

    Attributes:
        object_count: objects that there are again.
        described_count: of all generations, those that only their parts knew of.
        awaited_count: of the objects, those that can't be read before other nodes are back.
        superseded_count: older generations that are to be collected.
        gone_count: objects that the copy of the metadata has, and no node.
        ended_count: generations that it has as deleted or replaced, and that stay so.
        incomplete: newer than all else of their names, and not to be read.
    """

    object_count: int = 0
    described_count: int = 0
    awaited_count: int = 0
    superseded_count: int = 0
    gone_count: int = 0
    ended_count: int = 0
    incomplete: list[Lost] = field(default_factory=list)


class Builder:
    """Fills metadata that is new and empty.

    Args:
        meta: as above.
        known: what a copy of the lost one has.
        nodes: all of them, by the numbers that they get.
        here: numbers of those that are here.

    Attributes:
        report: of what was done so far.
    """

    def __init__(
        self, meta: Meta, known: Known, nodes: Sequence[NodeRecord], here: Iterable[int]
    ) -> None:
        self._meta = meta
        self._known = known
        self._absent = {one.number for one in nodes}.difference(here)
        self.report = Report()
        meta.batch([lambda meta: _register(meta, nodes)])

    def pending(self, founds: Iterable[Found], below: float) -> list[Pending]:
        """The next generations in order, those included of which no node has anything.

        Args:
            founds: all that nodes have below a generation, and were not given before.
            below: that generation.
        """
        waiting = {one.generation: Pending(one, None) for one in founds}
        for manifest in self._known.take(below):
            generation = manifest.generation
            found = waiting[generation].found if generation in waiting else Found(generation, ())
            waiting[generation] = Pending(found, manifest)
        ended = self._known.ended & waiting.keys()
        self.report.ended_count += len(ended)
        return [waiting[number] for number in sorted(waiting.keys() - ended)]

    def write(self, batch: Sequence[Pending]) -> None:
        """Have the next generations, in order; not durable before `finish`.

        Args:
            batch: as `pending` gave them, with what their parts said of them.
        Raises:
            DiskError: none was written.
        """
        kept = list(self._kept(batch))
        if not kept:
            return
        changes = [_reserve(kept[-1].generation + 1), *map(_upload, kept)]
        for replaced in self._meta.batch(changes, is_lasting=False):
            self.report.superseded_count += replaced is not None
        self.report.object_count += len(kept)

    def finish(self, highest: int) -> Report:
        """All of it is there and durable.

        Args:
            highest: generation that was seen on a node.
        """
        report = self.report
        report.object_count -= report.superseded_count
        report.incomplete = [one for one in report.incomplete if not self._is_replaced(one)]
        beyond = max(highest + 1, self._known.next_number) + MARGIN
        self._meta.batch([_reserve(beyond)])
        return report

    def _kept(self, batch: Sequence[Pending]) -> Iterator[Manifest]:
        report = self.report
        for found, expected in batch:
            if expected is None:
                report.incomplete.append(Lost(found.generation, ""))
                continue
            verdict, manifest = decide(found, expected, self._absent)
            report.awaited_count += verdict is Verdict.AWAITED
            report.gone_count += verdict is Verdict.GONE
            if verdict is Verdict.INCOMPLETE:
                report.incomplete.append(Lost(found.generation, manifest.key))
            elif verdict is not Verdict.GONE:
                yield manifest

    def _is_replaced(self, lost: Lost) -> bool:
        manifest = self._meta.manifest(lost.key) if lost.key else None
        return manifest is not None and manifest.generation > lost.generation


def _register(meta: Meta, nodes: Sequence[NodeRecord]) -> None:
    for number, node_id, address, capacity_bytes, incarnation, registered_s in nodes:
        record = meta.register(node_id, address, capacity_bytes, incarnation, registered_s)
        assert record.number == number


def _reserve(beyond: int) -> Callable[[Meta], Manifest | None]:
    """No upload gets a number below this; it replaces nothing."""

    def change(meta: Meta) -> None:
        meta.reserve(max(0, beyond - meta.reserve(0)))

    return change


def _upload(manifest: Manifest) -> Callable[[Meta], Manifest | None]:
    """Returns what it replaces, whose parts nobody reads any more."""

    def change(meta: Meta) -> Manifest | None:
        meta.begin_open(Open(manifest.generation, manifest.key, ()))
        return meta.commit(manifest, 0.0)

    return change
