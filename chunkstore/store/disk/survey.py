"""What the volumes say beyond an index, by looking alone: for a start, which mends, and for `fsck`.

open_volumes   the files there are
survey         what they have that the index doesn't know, and what a crash or damage left
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.files import Files
from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.record import HEAD_BYTES, HEADER_BYTES, Kind, Named
from chunkstore.store.disk.scan import Damage, Found
from chunkstore.store.disk.stored import Extent, Stored, Tombstone
from chunkstore.store.disk.volume import OWN, Volume, number_of

__all__ = ["Known", "Survey", "open_volumes", "survey"]


@dataclass(slots=True)
class Known:
    """What an index says; nothing, if there is none.

    Attributes:
        ends: up to where it knows each volume, by number.
        sequence: the highest so far.
    """

    ledger: Ledger = field(default_factory=Ledger)
    ends: dict[int, int] = field(default_factory=dict)
    sequence: int = 0


@dataclass(slots=True)
class Survey:
    """What a data dir has, and what of it is to be mended.

    Attributes:
        ledger: what is there; what nobody committed is forgotten.
        sequence: the highest so far.
        ends: of what counts of each volume; behind it nothing was ever acknowledged.
        settled: numbers of those of which the index knew all.
        torn: number -> bytes behind its end.
        orphans: files of their own, by number, whose upload was never committed.
        upload_count: of uploads without a commit.
        behind_bytes: of records that the index didn't know.
        damages: each with the number of its volume.
        missing: names that the index had, and no volume has.
        active: number of the volume to append to; None: a new one, since damage may be anywhere.
    """

    ledger: Ledger
    sequence: int
    ends: dict[int, int] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    torn: dict[int, int] = field(default_factory=dict)
    orphans: list[int] = field(default_factory=list)
    upload_count: int = 0
    behind_bytes: int = 0
    damages: list[tuple[int, Damage]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    active: int | None = None


def open_volumes(data: DataDir, files: Files) -> dict[int, Volume]:
    """The volumes of a data dir, by number, in the order of their numbers; the shared ones held.

    Raises:
        OSError: one can't be opened; none is left open.
    """
    numbers = [number_of(name) for name in files.names(data.volumes)]
    volumes = {
        number: Volume(files, data.volumes, data.dir_id, number)
        for number in sorted(one for one in numbers if one is not None)
    }
    held: list[Volume] = []
    try:
        for volume in volumes.values():
            if volume.number < OWN:
                volume.hold()
                held.append(volume)
    except BaseException:  # whatever it is: nobody else can close them
        for volume in held:
            volume.close()
        raise
    return volumes


def survey(known: Known, volumes: Mapping[int, Volume]) -> Survey:
    """Read what the volumes have beyond what is known; no file is changed.

    Args:
        known: its ledger is gone on with.
        volumes: as `open_volumes` has them.
    Raises:
        OSError: the disk can't say.
    """
    found = Survey(known.ledger, known.sequence)
    _read_shared(found, known, volumes)
    found.upload_count = len(found.ledger.open)
    found.ledger.settle()
    _read_own(found, known, volumes)
    there = volumes.keys() - set(found.orphans)
    found.missing = found.ledger.lost(there)
    for number in found.ledger.gone(there):
        found.ledger.forget(number)
    return found


def _read_shared(found: Survey, known: Known, volumes: Mapping[int, Volume]) -> None:
    shared = [number for number in volumes if number < OWN]
    # Those behind it have nothing: whether they were begun at all, nobody knows.
    last = max((one for one in shared if volumes[one].size_bytes > HEAD_BYTES), default=0)
    for number, following in zip_longest(shared, shared[1:]):
        durable = None
        if following is not None and number < last:  # it was synced before that one was begun
            durable = volumes[following].bytes_of(number) or volumes[number].size_bytes
        _catch_up(found, volumes[number], known.ends.get(number, 0), durable)
    if shared and not found.damages:
        found.active = shared[-1]


def _read_own(found: Survey, known: Known, volumes: Mapping[int, Volume]) -> None:
    """Files of their own: an object's commit came after all of its file was durable."""
    for number in [one for one in volumes if one >= OWN]:
        if found.ledger.has_generation(number - OWN):
            volume = volumes[number]
            volume.hold()
            try:
                _catch_up(found, volume, known.ends.get(number, 0), volume.size_bytes)
            finally:
                volume.close()
        else:
            found.orphans.append(number)


def _catch_up(found: Survey, volume: Volume, known_bytes: int, durable_bytes: int | None) -> None:
    """Tell the ledger what a volume has beyond `known_bytes`.

    So much of it is durable, and nothing behind that counts; None: that isn't known.
    """
    number, size = volume.number, volume.size_bytes
    if size == known_bytes >= HEAD_BYTES:
        found.ends[number] = size
        found.settled.add(number)
        return
    if size < known_bytes > HEAD_BYTES:  # a head alone is no loss, nor always there
        found.damages.append((number, Damage(size, known_bytes - size)))
        found.ends[number] = size
        return
    scan = volume.scan(known_bytes, durable_bytes)
    begin = scan.end
    for one in scan:
        if isinstance(one, Damage):
            found.damages.append((number, one))
        else:
            found.sequence = max(found.sequence, one.header.sequence)
            _tell(found.ledger, volume, one)
    found.behind_bytes += scan.end - begin
    found.ends[number] = max(HEAD_BYTES, min(size, scan.end))
    if size > found.ends[number]:
        found.torn[number] = size - found.ends[number]


def _tell(ledger: Ledger, volume: Volume, found: Found) -> None:
    header = found.header
    match header.kind:
        case Kind.RUN:
            position = found.position + HEADER_BYTES
            size, crc = header.payload_bytes, header.payload_crc
            extent = Extent(header.offset, volume.number, position, size, crc)
            ledger.run(header.generation, extent)
        case Kind.COMMIT:
            key, facts = Named.decode(found.payload)
            where = (volume.number, header.record_bytes)
            stored = Stored(header.sequence, header.generation, header.offset, facts, *where)
            ledger.commit(key, stored)
        case Kind.TOMBSTONE:
            key = Named.decode(found.payload).key
            where = (volume.number, header.record_bytes)
            ledger.tombstone(key, Tombstone(header.sequence, *where))
