"""Where an object's bytes lie, while compaction moves them: for readers in any thread.

What moves an object writes it elsewhere, tells the ledger, and unlinks the volume only then. So who
finds a volume gone looks again; and who holds one reads all of it, unlinked or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chunkstore.errors import DamagedError
from chunkstore.store.disk.ledger import Extent, Ledger
from chunkstore.store.disk.record import checksum
from chunkstore.store.disk.volume import Volume, volume_name

__all__ = ["Located", "hold", "locate", "verify"]


class Located(NamedTuple):
    """Extents whose volumes are held.

    Attributes:
        extents: in order of their offsets.
        volumes: by number; each to be closed once.
    """

    extents: Sequence[Extent]
    volumes: dict[int, Volume]

    def close(self) -> None:
        """Hold none of them any more."""
        for volume in self.volumes.values():
            volume.close()


def locate(
    ledger: Ledger, volumes: Mapping[int, Volume], key: str, generation: int
) -> Located | None:
    """Where a complete generation lies.

    Returns:
        None: `key` has another one by now, or nothing.
    Raises:
        DamagedError: a volume of it is gone.
        OSError: a file of its own can't be opened.
    """
    before: list[Extent] | None = None
    while True:
        stored = ledger.objects.get(key)
        if stored is None or stored.generation != generation:
            return None
        extents = stored.extents
        located = hold(volumes, extents)
        if located is not None:
            return located
        if extents == before:  # nobody moved it
            raise DamagedError(key, "a volume of it is gone")
        before = extents


def hold(volumes: Mapping[int, Volume], extents: Sequence[Extent]) -> Located | None:
    """Hold what the extents lie in, all of it or nothing; None: one isn't there any more.

    Raises:
        OSError: a file can't be opened.
    """
    located = Located(extents, {})
    try:
        for number in {one.volume for one in extents}:
            volume = volumes.get(number)
            if volume is None or not volume.hold():
                located.close()
                return None
            located.volumes[number] = volume
    except OSError as error:
        located.close()
        if isinstance(error, FileNotFoundError):  # it is just being unlinked
            return None
        raise
    return located


def verify(key: str, extent: Extent, volume: Volume) -> bytes:
    """The payload of a run, read and checked; from then on it is known to be right.

    Raises:
        DamagedError: it isn't what was written.
        OSError: the disk can't say.
    """
    data = volume.read(extent.size_bytes, extent.position)
    if len(data) != extent.size_bytes or checksum(data) != extent.crc:
        raise DamagedError(key, f"{volume_name(extent.volume)} at {extent.position}")
    volume.verified.add(extent.position)
    return data
