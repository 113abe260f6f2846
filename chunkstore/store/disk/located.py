"""Where an object's bytes lie, while compaction moves them: for readers in any thread.

What moves an object writes it elsewhere, tells the ledger, and unlinks the volume only then. So who
finds a volume gone looks again; and who holds one reads all of it, unlinked or not.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from chunkstore.errors import DamagedError
from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.record import checksum
from chunkstore.store.disk.stored import Extent, Extents
from chunkstore.store.disk.volume import Volume, volume_name
from chunkstore.store.disk.volumes import Volumes

__all__ = ["Located", "Lookup", "hold", "locate", "verify"]


class Located(NamedTuple):
    """Extents whose volumes are held.

    Attributes:
        extents: in order of their offsets.
        volumes: by number; each to be closed once.
    """

    extents: Extents
    volumes: dict[int, Volume]

    def close(self) -> None:
        """Hold none of them any more."""
        _close(self.volumes)


def locate(ledger: Ledger, volumes: Volumes, key: str, generation: int) -> Located | None:
    """Where a generation lies, one that `key` has or an upload under way.

    Returns:
        None: it is neither any more.
    Raises:
        DamagedError: a volume of it is gone.
        OSError: a file of its own can't be opened.
    """
    before: Extents | None = None
    while True:
        extents = ledger.extents_of(generation)
        if not ledger.has_generation(generation):
            return None
        held = hold(volumes, extents.volumes())
        if held is not None:
            return Located(extents, held)
        if extents == before:  # nobody moved it
            raise DamagedError(key, "a volume of it is gone")
        before = extents


class Lookup(Protocol):
    """Finds volumes by their numbers: `Volumes`, or a mapping."""

    def get(self, number: int, /) -> Volume | None:
        """None: there is none."""


def hold(volumes: Lookup, numbers: Iterable[int]) -> dict[int, Volume] | None:
    """Hold volumes, all of them or none; None: one isn't there any more.

    Raises:
        OSError: a file can't be opened.
    """
    held: dict[int, Volume] = {}
    try:
        for number in numbers:
            volume = volumes.get(number)
            if volume is None or not volume.hold():
                break
            held[number] = volume
        else:
            return held
    except FileNotFoundError:  # it is just being unlinked
        pass
    except OSError:
        _close(held)
        raise
    _close(held)
    return None


def _close(held: dict[int, Volume]) -> None:
    for volume in held.values():
        volume.close()


def verify(key: str, extent: Extent, volume: Volume) -> bytes:
    """The payload of a run, read and checked; from then on it is known to be right.

    Raises:
        DamagedError: it isn't what was written, or no longer to be read.
        OSError: the disk can't say, for another reason.
    """
    try:
        data = volume.read(extent.size_bytes, extent.position)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        data = b""
    if len(data) != extent.size_bytes or checksum(data) != extent.crc:
        raise DamagedError(key, f"{volume_name(extent.volume)} at {extent.position}")
    volume.verified.add(extent.position)
    return data
