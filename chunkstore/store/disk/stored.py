"""What is known of an object, packed: a million of them are in memory, as in the index."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple, overload

from chunkstore.store.disk.record import HEADER_BYTES

__all__ = ["Extent", "Extents", "Objects", "Stored", "Tombstone", "place", "weigh"]

_EXTENT = struct.Struct("<QQQII")
_OBJECT = struct.Struct("<QQQIII")


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


class Extents(Sequence[Extent]):
    """Those of an object, by offset, unpacked as they are asked for.

    Args:
        packed: one behind the other.
    """

    __slots__ = ("packed",)

    def __init__(self, packed: bytes | bytearray) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed) // _EXTENT.size

    @overload
    def __getitem__(self, index: int) -> Extent: ...
    @overload
    def __getitem__(self, index: slice) -> list[Extent]: ...
    def __getitem__(self, index: int | slice) -> Extent | list[Extent]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return Extent(*_EXTENT.unpack_from(self.packed, at * _EXTENT.size))

    def __iter__(self) -> Iterator[Extent]:
        return map(Extent._make, _EXTENT.iter_unpack(self.packed))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Extents) and self.packed == other.packed

    __hash__ = None  # type: ignore[assignment]  # equal by content, which may be a bytearray

    def volumes(self) -> set[int]:
        """The numbers of those that they lie in."""
        return {one[1] for one in _EXTENT.iter_unpack(self.packed)}

    def find(self, offset: int) -> int:
        """The index of the first one that begins at `offset` or behind it. Cost: O(log n)."""
        return bisect_left(self, offset, key=attrgetter("offset"))


def place(packed: bytearray, extent: Extent) -> Extent | None:
    """Put an extent among packed ones; the one with the same offset, whose place it took, if any.

    Cost: O(1) behind the last one.
    """
    entry, extents = _EXTENT.pack(*extent), Extents(packed)
    if not packed or extents[-1].offset < extent.offset:
        packed += entry
        return None
    index = extents.find(extent.offset)
    start, before = index * _EXTENT.size, extents[index]
    if before.offset == extent.offset:
        packed[start : start + _EXTENT.size] = entry
        return before
    packed[start:start] = entry
    return None


class Stored(NamedTuple):
    """A complete object.

    Attributes:
        sequence: of its commit; the highest of a name holds.
        generation: whose runs it has.
        size_bytes: of the object.
        facts: what its commit carries, as it was written.
        commit_volume, commit_bytes: where the commit lies, and the size of that record.
        packed: its extents.
    """

    sequence: int
    generation: int
    size_bytes: int
    facts: bytes
    commit_volume: int = 0
    commit_bytes: int = 0
    packed: bytes = b""

    @property
    def sha256(self) -> None:
        """A disk checks its runs, each by itself."""

    @property
    def extents(self) -> Extents:
        """In order of their offsets."""
        return Extents(self.packed)

    @property
    def is_whole(self) -> bool:
        """No byte of it is missing; only damage can make one so."""
        offset = 0
        for one in self.extents:
            if one.offset != offset:
                return False
            offset += one.size_bytes
        return offset == self.size_bytes

    def encode(self) -> bytes:
        """In memory, and in the index."""
        sequence, generation, size, facts, volume, commit_bytes, packed = self
        fixed = _OBJECT.pack(sequence, generation, size, volume, commit_bytes, len(facts))
        return fixed + facts + packed

    @classmethod
    def decode(cls, row: bytes) -> Stored:
        """From what `encode` made."""
        sequence, generation, size, volume, commit_bytes, length = _OBJECT.unpack_from(row)
        stop = _OBJECT.size + length
        facts, packed = row[_OBJECT.size : stop], row[stop:]
        return cls(sequence, generation, size, facts, volume, commit_bytes, packed)


def weigh(row: bytes, live_bytes: dict[int, int]) -> int:
    """Add what a row's records have in each volume; its generation. Cost: a microsecond."""
    _, generation, _, volume, commit_bytes, length = _OBJECT.unpack_from(row)
    live_bytes[volume] += commit_bytes
    for _, number, _, size, _ in _EXTENT.iter_unpack(row[_OBJECT.size + length :]):
        live_bytes[number] += HEADER_BYTES + size
    return int(generation)


class Objects(Mapping[str, Stored]):
    """Name -> object. Any thread may look; whoever goes through all of them must be the writer."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}

    def __getitem__(self, key: str) -> Stored:
        return Stored.decode(self._rows[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def row(self, key: str) -> bytes | None:
        """As it is encoded; None: there is none."""
        return self._rows.get(key)

    def put(self, key: str, row: bytes) -> None:
        """What `Stored.encode` made is what the name has."""
        self._rows[key] = row

    def pop(self, key: str) -> Stored:
        """Take it away."""
        return Stored.decode(self._rows.pop(key))


class Tombstone(NamedTuple):
    """All commits of a name up to `sequence` are dead; its record lies in `volume`."""

    sequence: int
    volume: int
    record_bytes: int
