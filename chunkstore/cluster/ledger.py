"""What the gateway knows of all objects, packed: a million of them are in memory. Pure.

The facts of a manifest are the object's SHA-256 with the facts of its commit behind it: so what the
metadata keeps is what a GET answers with.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chunkstore.cluster.meta import Manifest

__all__ = ["Ledger", "Stored", "split_digest", "with_digest"]

_ROW = struct.Struct("<QQQBB")
_SHA256_BYTES = 32


class Stored(NamedTuple):
    """What an origin asks of a complete object.

    Attributes:
        generation, size_bytes, facts: as its commit gave them.
        sha256: of its payload.
    """

    generation: int
    size_bytes: int
    facts: bytes
    sha256: bytes


def with_digest(sha256: bytes, facts: bytes) -> bytes:
    """The facts of a manifest."""
    assert len(sha256) == _SHA256_BYTES
    return sha256 + facts


def split_digest(facts: bytes) -> tuple[bytes, bytes]:
    """SHA-256 of an object, and the facts of its commit, from those of its manifest."""
    return facts[:_SHA256_BYTES], facts[_SHA256_BYTES:]


class Ledger:
    """Name -> manifest.

    Args:
        manifests: all there are.
    """

    def __init__(self, manifests: Iterable[Manifest] = ()) -> None:
        self._rows: dict[str, bytes] = {}
        for manifest in manifests:
            self.put(manifest)

    def put(self, manifest: Manifest) -> None:
        """What its name has from now on. Cost: 2 us."""
        key, generation, size, part_bytes, k, nodes, facts = manifest
        row = _ROW.pack(generation, size, part_bytes, k, len(nodes))
        self._rows[key] = row + struct.pack(f"<{len(nodes)}H", *nodes) + facts

    def drop(self, key: str) -> None:
        """It has nothing any more, if it had something."""
        self._rows.pop(key, None)

    def manifest(self, key: str) -> Manifest | None:
        """All that is known of what a name has."""
        row = self._rows.get(key)
        if row is None:
            return None
        generation, size, part_bytes, k, count = _ROW.unpack_from(row)
        nodes = struct.unpack_from(f"<{count}H", row, _ROW.size)
        facts = row[_ROW.size + 2 * count :]
        return Manifest(key, generation, size, part_bytes, k, nodes, facts)

    def stored(self, key: str) -> Stored | None:
        """What an origin asks of it. Cost: a microsecond."""
        row = self._rows.get(key)
        if row is None:
            return None
        generation, size, _, _, count = _ROW.unpack_from(row)
        start = _ROW.size + 2 * count
        facts_at = start + _SHA256_BYTES
        return Stored(generation, size, row[facts_at:], row[start:facts_at])

    def keys(self) -> list[str]:
        """All names, as a copy. Cost: 10 ms for a million."""
        return list(self._rows)

    def objects(self) -> Iterator[tuple[str, int, bytes]]:
        """Names, generations and facts; while nothing is changed. Cost: a microsecond each."""
        for key, row in self._rows.items():
            generation, _, _, _, count = _ROW.unpack_from(row)
            yield key, generation, row[_ROW.size + 2 * count + _SHA256_BYTES :]
