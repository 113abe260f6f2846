"""What all records say together. Pure: it hears of records, and knows what is there.

The order in which volumes are read is the order in which they were written, with one exception:
what compaction wrote again keeps its sequence, and may be met twice. So a record counts by its
sequence, and of two that are the same the later copy is as good.

    run, commit, tombstone   what was written, or found by a scan
    settle                   the scan is over: what nobody committed is forgotten
    forget                   a volume is gone

A *dead* commit is one that lost to a higher sequence, or to the copy that compaction wrote of it,
and still lies in some volume. As long as one does, its name's tombstone must be kept: without it, a
scan would bring the object back.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from chunkstore.store.disk.record import HEADER_BYTES

__all__ = ["Extent", "Ledger", "Stored", "Tombstone"]

_EXTENT = struct.Struct("<QQQII")


class Extent(NamedTuple):
    """Where one run of an object lies.

    Attributes:
        offset: of its first byte in the object.
        volume: its number.
        position: of the payload in the volume.
        size_bytes, crc: of the payload.
    """

    offset: int
    volume: int
    position: int
    size_bytes: int
    crc: int

    @property
    def record_bytes(self) -> int:
        """With its header."""
        return HEADER_BYTES + self.size_bytes


@dataclass(slots=True)
class Stored:
    """A complete object.

    Attributes:
        sequence: of its commit; the highest of a name holds.
        generation: whose runs it has.
        size_bytes: of the object.
        facts: what its commit carries, as it was written.
        packed: its extents, by offset; a million objects are in memory, most with one.
        commit_volume, commit_bytes: where the commit lies, and the size of that record.
    """

    sequence: int
    generation: int
    size_bytes: int
    facts: bytes
    commit_volume: int
    commit_bytes: int
    packed: bytes = b""

    @property
    def extents(self) -> list[Extent]:
        """In order of their offsets."""
        return [Extent(*one) for one in _EXTENT.iter_unpack(self.packed)]

    @property
    def is_whole(self) -> bool:
        """No byte of it is missing; only damage can make one so."""
        offset = 0
        for one in self.extents:
            if one.offset != offset:
                return False
            offset += one.size_bytes
        return offset == self.size_bytes


class Tombstone(NamedTuple):
    """All commits of a name up to `sequence` are dead; its record lies in `volume`."""

    sequence: int
    volume: int
    record_bytes: int


class Ledger:
    """The objects of a data dir, and what must be known to keep it so.

    Attributes:
        objects: name -> what is there.
        open: generation -> packed extents of uploads that aren't committed.
        tombstones: by name; those that are still needed.
        dead: name -> volumes that have dead commits of it.
        live_bytes: of each volume; the rest of it is garbage.
        touched: names and generations that changed since the index was told.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.open: dict[int, bytes] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.dead: dict[str, frozenset[int]] = {}
        self.live_bytes: Counter[int] = Counter()
        self.touched: set[str | int] = set()
        self._keys: dict[int, str] = {}  # generation -> name, of the objects

    # --- what records say ----------------------------------------------------------------------

    def run(self, generation: int, extent: Extent) -> None:
        """A part of an upload."""
        key = self._keys.get(generation)
        if key is None:
            before = self.open.get(generation, b"")
            self.open[generation] = self._place(before, extent)
            self.touched.add(generation)
        else:
            stored = self.objects[key]
            stored.packed = self._place(stored.packed, extent)
            self.touched.add(key)

    def commit(self, key: str, stored: Stored) -> None:
        """An upload is whole; its runs may still be to come."""
        tombstone, current = self.tombstones.get(key), self.objects.get(key)
        if tombstone is not None and tombstone.sequence > stored.sequence:
            self._bury(key, stored)
        elif current is None or current.sequence < stored.sequence:
            if current is not None:
                self._drop(key)
            stored.packed = self.open.pop(stored.generation, b"")
            self.touched.add(stored.generation)
            self._enter(key, stored)
        elif current.sequence == stored.sequence:  # written again by compaction
            self._bury(key, current)
            self.live_bytes[current.commit_volume] -= current.commit_bytes
            current.commit_volume, current.commit_bytes = stored.commit_volume, stored.commit_bytes
            self.live_bytes[current.commit_volume] += current.commit_bytes
            self.touched.add(key)
        else:
            self._bury(key, stored)

    def tombstone(self, key: str, tombstone: Tombstone) -> None:
        """All of a name up to a sequence is gone."""
        before, current = self.tombstones.get(key), self.objects.get(key)
        if before is not None:
            if before.sequence > tombstone.sequence:
                return
            self.live_bytes[before.volume] -= before.record_bytes
        self.tombstones[key] = tombstone
        self.live_bytes[tombstone.volume] += tombstone.record_bytes
        self.touched.add(key)
        if current is not None and current.sequence < tombstone.sequence:
            self._drop(key)

    # --- what becomes of it --------------------------------------------------------------------

    def abandon(self, generation: int) -> None:
        """An upload ended without a commit."""
        for extent in _EXTENT.iter_unpack(self.open.pop(generation, b"")):
            one = Extent(*extent)
            self.live_bytes[one.volume] -= one.record_bytes
        self.touched.add(generation)

    def settle(self) -> None:
        """A scan is over: no upload survived it, and tombstones of nothing aren't needed."""
        for generation in list(self.open):
            self.abandon(generation)
        self._untomb_needless()

    def forget(self, volume: int) -> None:
        """A volume is gone, and nothing in it was needed."""
        for key in [key for key, volumes in self.dead.items() if volume in volumes]:
            left = self.dead[key] - {volume}
            self.touched.add(key)
            if left:
                self.dead[key] = left
            else:
                del self.dead[key]
        self._untomb_needless()
        self.live_bytes.pop(volume, None)

    def needed_in(self, volume: int) -> Iterator[tuple[str, Stored]]:
        """The objects of which something lies in a volume."""
        for key, stored in self.objects.items():
            if stored.commit_volume == volume or any(
                one.volume == volume for one in stored.extents
            ):
                yield key, stored

    def open_in(self, volume: int) -> list[tuple[int, list[Extent]]]:
        """Uploads under way that have something in a volume, and what."""
        found = []
        for generation, packed in self.open.items():
            extents = [Extent(*one) for one in _EXTENT.iter_unpack(packed) if one[1] == volume]
            if extents:
                found.append((generation, extents))
        return found

    def has_generation(self, generation: int) -> bool:
        """Whether it is an object, or an upload under way."""
        return generation in self._keys or generation in self.open

    def lost(self, volumes: Collection[int]) -> list[str]:
        """Take the objects away whose commits lie in no volume that there is; their names.

        An index that is older than a compaction knows objects that have gone since; what had not
        gone was found elsewhere. A volume that somebody took away looks the same.
        """
        names = [key for key, one in self.objects.items() if one.commit_volume not in volumes]
        for key in names:
            self._take_out(key)
        return names

    def not_whole(self) -> list[str]:
        """Names among the touched whose object lacks bytes: damage took them."""
        found = (name for name in self.touched if isinstance(name, str) and name in self.objects)
        return [name for name in found if not self.objects[name].is_whole]

    # --- inside --------------------------------------------------------------------------------

    def load(self, key: str, stored: Stored) -> None:
        """An object that the index knows."""
        for one in stored.extents:
            self.live_bytes[one.volume] += one.record_bytes
        self._enter(key, stored)
        self.touched.discard(key)

    def load_open(self, generation: int, packed: bytes) -> None:
        """An upload that the index knows; its commit may follow."""
        for one in _EXTENT.iter_unpack(packed):
            self.live_bytes[one[1]] += Extent(*one).record_bytes
        self.open[generation] = packed

    def _enter(self, key: str, stored: Stored) -> None:
        self.objects[key] = stored
        self._keys[stored.generation] = key
        self.live_bytes[stored.commit_volume] += stored.commit_bytes
        self.touched.add(key)

    def _drop(self, key: str) -> None:
        """The object that a name has loses; its commit still lies about."""
        self._bury(key, self._take_out(key))

    def _take_out(self, key: str) -> Stored:
        stored = self.objects.pop(key)
        del self._keys[stored.generation]
        for one in stored.extents:
            self.live_bytes[one.volume] -= one.record_bytes
        self.live_bytes[stored.commit_volume] -= stored.commit_bytes
        self.touched.add(key)
        return stored

    def _bury(self, key: str, stored: Stored) -> None:
        self.dead[key] = self.dead.get(key, frozenset()) | {stored.commit_volume}
        self.touched.add(key)

    def _untomb_needless(self) -> None:
        for key in [key for key in self.tombstones if key not in self.dead]:
            tombstone = self.tombstones.pop(key)
            self.live_bytes[tombstone.volume] -= tombstone.record_bytes
            self.touched.add(key)

    def _place(self, packed: bytes, extent: Extent) -> bytes:
        """Add an extent; it takes the place of one with the same offset."""
        self.live_bytes[extent.volume] += extent.record_bytes
        entry = _EXTENT.pack(*extent)
        if not packed or Extent(*_EXTENT.unpack(packed[-_EXTENT.size :])).offset < extent.offset:
            return packed + entry
        extents = {one[0]: Extent(*one) for one in _EXTENT.iter_unpack(packed)}
        before = extents.get(extent.offset)
        if before is not None:
            self.live_bytes[before.volume] -= before.record_bytes
        extents[extent.offset] = extent
        return b"".join(_EXTENT.pack(*extents[offset]) for offset in sorted(extents))
