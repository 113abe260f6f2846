"""The start: what the index knows, what the volumes say beyond it, and what a crash left, cut off.

It never asks for a repair. An index that is missing, older or damaged is made anew; a torn end was
never acknowledged, and is cut; damage is reported, and nothing is taken away because of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest

from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.files import Files
from chunkstore.store.disk.index import Index, IndexDamagedError
from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.record import HEAD_BYTES, HEADER_BYTES, Kind, Named
from chunkstore.store.disk.scan import Damage, Found
from chunkstore.store.disk.stored import Extent, Stored, Tombstone
from chunkstore.store.disk.volume import OWN, Volume, number_of, volume_name

__all__ = ["Report", "Started", "start"]


@dataclass(slots=True)
class Report:
    """What a start found.

    Attributes:
        damages: in words: the volume, where in it, how much.
        cut_bytes: of torn ends, which nobody was told of.
        rebuilt: why the index was made anew; empty: it was right.
        missing: names that the index had, and no volume has.
    """

    damages: list[str] = field(default_factory=list)
    cut_bytes: int = 0
    rebuilt: str = ""
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Started:
    """A data dir to go on with.

    Attributes:
        volumes: by number; the shared ones are held.
        active: the one to append to; None: begin another one.
        sequence: the highest so far.
    """

    ledger: Ledger
    index: Index
    volumes: dict[int, Volume]
    active: Volume | None
    sequence: int
    report: Report


def start(data: DataDir, files: Files) -> Started:
    """Read the index and what the volumes have beyond it.

    Raises:
        OSError: the disk can't say; nothing was changed but torn ends that were cut.
    """
    report = Report()
    ledger, index, known, sequence = _open_index(data, report)
    names = (number_of(name) for name in files.names(data.volumes))
    volumes = {
        number: Volume(files, data.volumes, data.dir_id, number)
        for number in sorted(one for one in names if one is not None)
    }
    shared = [number for number in volumes if number < OWN]
    for number in shared:
        volumes[number].hold()
    # Those behind it have nothing: whether they were begun at all, nobody knows.
    last = max((one for one in shared if volumes[one].size_bytes > HEAD_BYTES), default=0)
    for number, following in zip_longest(shared, shared[1:]):
        durable = None
        if following is not None and number < last:  # it was synced before that one was begun
            durable = volumes[following].bytes_of(number) or volumes[number].size_bytes
        highest = _catch_up(ledger, volumes[number], known.get(number, 0), durable, report)
        sequence = max(sequence, highest)
    is_active = bool(shared) and not report.damages
    ledger.settle()
    for number in [one for one in volumes if one >= OWN]:
        if ledger.has_generation(number - OWN):  # its commit came after all of it was durable
            volume = volumes[number]
            volume.hold()
            _catch_up(ledger, volume, known.get(number, 0), volume.size_bytes, report)
            volume.close()
        else:
            _drop(files, data, volumes.pop(number))
    report.missing = ledger.lost(volumes.keys())
    for number in ledger.gone(volumes.keys()):
        ledger.forget(number)
    report.damages += [f"{key}: bytes of it are missing" for key in ledger.not_whole()]
    active = volumes[shared[-1]] if is_active else None
    return Started(ledger, index, volumes, active, sequence, report)


def _open_index(data: DataDir, report: Report) -> tuple[Ledger, Index, dict[int, int], int]:
    try:
        index = Index(data.index)
        try:
            ledger = Ledger()
            return ledger, index, *index.load(ledger)
        except IndexDamagedError:
            index.close()
            raise
    except IndexDamagedError as error:
        report.rebuilt = str(error)
    Index.remove(data.index)
    try:
        index = Index(data.index)
    except IndexDamagedError:  # a full disk keeps nobody from being served
        index = Index(None)
    return Ledger(), index, {}, 0


def _catch_up(
    ledger: Ledger, volume: Volume, known_bytes: int, durable_bytes: int | None, report: Report
) -> int:
    """Tell the ledger what a volume has beyond `known_bytes`; the highest sequence in it.

    So much of it is durable, and nothing behind that counts; None: that isn't known.

    What is torn at its end is cut off, and what is whole there is made durable: after a crash of
    the program alone it may be in the system's memory only, and the next start must not see less.
    """
    size = volume.size_bytes
    # What the index knows is durable; and files of objects' own are many.
    if size == known_bytes >= HEAD_BYTES:
        volume.end = volume.synced_bytes = size
        return 0
    if size < known_bytes > HEAD_BYTES:  # a head alone is no loss, nor always there
        report.damages.append(_words(volume, size, known_bytes - size))
        volume.cut(size)
        return 0
    highest = 0
    scan = volume.scan(known_bytes, durable_bytes)
    for one in scan:
        if isinstance(one, Damage):
            report.damages.append(_words(volume, one.position, one.size))
        else:
            highest = max(highest, one.header.sequence)
            _tell(ledger, volume, one)
    report.cut_bytes += max(0, size - max(scan.end, HEAD_BYTES))
    volume.cut(min(size, scan.end) if size > HEAD_BYTES else HEAD_BYTES)
    return highest


def _words(volume: Volume, position: int, size: int) -> str:
    return f"{volume_name(volume.number)}: {size} bytes at {position}"


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


def _drop(files: Files, data: DataDir, volume: Volume) -> None:
    """A file of an upload that was never committed."""
    files.unlink(volume.path)
    files.sync_folder(data.volumes)
