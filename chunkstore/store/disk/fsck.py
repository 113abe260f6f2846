"""Looks at a data dir that nobody uses: all records, every run of every object, and the index.

It looks twice: as a start would, from what the index knows, and at the volumes alone. Where these
differ and a volume is damaged, the index knows what the volumes can't say any more, and is kept.
Where they differ and none is, the index is wrong.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from chunkstore.errors import DamagedError, DataDirError
from chunkstore.store.disk.datadir import FORMAT, Access, DataDir
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.files import Files, ReadOnlyFiles
from chunkstore.store.disk.index import Index, IndexDamagedError
from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.located import hold, verify
from chunkstore.store.disk.record import HEADER_BYTES
from chunkstore.store.disk.scan import Damage
from chunkstore.store.disk.stored import Extent
from chunkstore.store.disk.survey import Known, Survey, open_volumes, survey
from chunkstore.store.disk.volume import OWN, SET_ASIDE, Volume, volume_name

__all__ = ["Findings", "Flaw", "check", "repair"]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Bytes that were durable, and aren't what was written.

    Attributes:
        key: of the object that has them; empty: of none, or nobody can say of which.
        volume: the name of its file.
        position, size_bytes: where in it.
        is_record: the bytes of the object are right, or it has none there; what says of them where
            they belong isn't, and a start without the index would miss that.
    """

    key: str
    volume: str
    position: int
    size_bytes: int
    is_record: bool


@dataclass(slots=True)
class Findings:
    """What there is, what a start would mend, and what is damaged.

    Attributes:
        format: the data dir's version.
        dir_id: its id, in hexadecimal digits.
        volume_count, own_count: shared volumes, and files of one object's own.
        volume_bytes: of all these files.
        garbage_bytes: of them, what no object needs.
        object_count, object_bytes: what is there.
        upload_count: of uploads without a commit, which count for nothing.
        set_aside: files that nobody uses since damage may have taken their commit.
        torn: file -> bytes at its end that were never acknowledged.
        orphans: files of uploads without a commit.
        index: "right", "behind" the volumes, "missing", "damaged", or "wrong", which a start
            wouldn't notice.
        index_detail: why it is damaged.
        missing: names that the index has, and no volume: they went in a compaction since it was
            saved, or with a volume that somebody took away.
        flaws: damage.
        not_whole: names of objects of which bytes are nowhere.
        unbacked: names of which the index alone says what they have, since their records are
            damaged.
    """

    format: int
    dir_id: str
    volume_count: int = 0
    own_count: int = 0
    volume_bytes: int = 0
    garbage_bytes: int = 0
    object_count: int = 0
    object_bytes: int = 0
    upload_count: int = 0
    set_aside: list[str] = field(default_factory=list)
    torn: dict[str, int] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    index: str = "right"
    index_detail: str = ""
    missing: list[str] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    not_whole: list[str] = field(default_factory=list)
    unbacked: list[str] = field(default_factory=list)

    @property
    def is_damaged(self) -> bool:
        """Something acknowledged isn't what it was, and nothing here can mend it."""
        return bool(self.flaws or self.not_whole or self.unbacked)

    @property
    def is_mendable(self) -> bool:
        """There is something for `repair`."""
        return bool(self.torn or self.orphans or self.index != "right")


def check(folder: Path) -> Findings:
    """Look at a data dir; nothing in it is touched.

    Raises:
        DataDirError: it is none, of another version, in use, or not to be read.
        OSError: the disk can't say.
    Cost: reads every byte of every object once; memory as for two starts.
    """
    data = DataDir(folder, Access.READ)
    try:
        return _check(data)
    except PermissionError as error:
        raise DataDirError(folder, f"{error.strerror}: {error.filename}") from error
    finally:
        data.close()


def repair(folder: Path, findings: Findings) -> None:
    """Do what a start does: cut torn ends, drop files without a commit, make the index right.

    Args:
        findings: of `check`, for what a start wouldn't notice.
    Raises:
        DataDirError: as `check`, or it can't be written.
        OSError: the disk can't.
    """
    data = DataDir(folder, Access.WRITE)
    try:
        if findings.index == "wrong":
            Index.remove(data.index)
        Engine(data, Files()).close()
    finally:
        data.close()


def _check(data: DataDir) -> Findings:
    files = ReadOnlyFiles()
    found = Findings(FORMAT, data.dir_id.hex())
    known = _read_index(data, found)
    volumes = open_volumes(data, files)
    try:
        seen = survey(known, volumes)
        alone = survey(Known(), volumes)
        _count(found, seen, volumes)
        _judge_index(found, seen, alone)
        found.flaws = list(_flaws(seen.ledger, volumes, _ranges(seen, alone)))
    finally:
        for number, volume in volumes.items():
            if number < OWN:
                volume.close()
    found.set_aside = [name for name in files.names(data.volumes) if name.endswith(SET_ASIDE)]
    return found


def _read_index(data: DataDir, found: Findings) -> Known:
    """What it says, by a copy: SQLite writes where it reads a log."""
    if not data.index.exists():
        found.index = "missing"
        return Known()
    with TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            name = data.index.name + suffix
            with suppress(FileNotFoundError):
                shutil.copyfile(data.index.with_name(name), Path(folder, name))
        try:
            index = Index(Path(folder, data.index.name), data.dir_id)
            try:
                ledger = Ledger()
                return Known(ledger, *index.load(ledger))
            finally:
                index.close()
        except IndexDamagedError as error:
            found.index, found.index_detail = "damaged", str(error)
            return Known()


def _count(found: Findings, seen: Survey, volumes: Mapping[int, Volume]) -> None:
    objects, torn_bytes = seen.ledger.objects, sum(seen.torn.values())
    found.own_count = sum(number >= OWN for number in volumes)
    found.volume_count = len(volumes) - found.own_count
    found.volume_bytes = sum(volume.path.stat().st_size for volume in volumes.values())
    live_bytes = sum(seen.ledger.live_bytes[number] for number in volumes)
    found.garbage_bytes = found.volume_bytes - live_bytes - torn_bytes
    found.object_count = len(objects)
    found.object_bytes = sum(stored.size_bytes for stored in objects.values())
    found.not_whole = sorted(key for key, stored in objects.items() if not stored.is_whole)
    found.upload_count = seen.upload_count
    found.torn = {volume_name(number): size for number, size in seen.torn.items()}
    found.orphans = [volume_name(number) for number in seen.orphans]
    found.missing = sorted(seen.missing)


def _judge_index(found: Findings, seen: Survey, alone: Survey) -> None:
    if found.index == "right" and (seen.behind_bytes or seen.missing):
        found.index = "behind"
    mine, theirs = seen.ledger.objects, alone.ledger.objects
    differ = [
        key
        for key in mine.keys() | theirs.keys()
        if key not in mine or key not in theirs or mine[key].sequence != theirs[key].sequence
    ]
    if differ and not alone.damages and not seen.damages:
        found.index = "wrong"
    else:
        found.unbacked = sorted(differ)


def _ranges(seen: Survey, alone: Survey) -> dict[int, list[Damage]]:
    """Where records are damaged, by volume; each place once."""
    ranges: dict[int, list[Damage]] = {}
    for number, one in alone.damages + seen.damages:
        before = ranges.setdefault(number, [])
        if not any(_overlap(one, other.position, other.size) for other in before):
            before.append(one)
    return ranges


def _flaws(
    ledger: Ledger, volumes: Mapping[int, Volume], ranges: Mapping[int, Sequence[Damage]]
) -> Iterator[Flaw]:
    """Every run of every object, read; then what is damaged and of no object."""
    claimed: set[tuple[int, Damage]] = set()
    for key, stored in ledger.objects.items():
        for extent in stored.extents:
            name, start = volume_name(extent.volume), extent.position - HEADER_BYTES
            damages = ranges.get(extent.volume, ())
            hit = [one for one in damages if _overlap(one, start, extent.record_bytes)]
            claimed.update((extent.volume, one) for one in hit)
            if not _is_right(key, extent, volumes):
                yield Flaw(key, name, extent.position, extent.size_bytes, is_record=False)
            elif hit:
                yield Flaw(key, name, start, extent.record_bytes, is_record=True)
    for number, damages in ranges.items():
        for one in damages:
            if (number, one) not in claimed:
                yield Flaw("", volume_name(number), one.position, one.size, is_record=True)


def _overlap(one: Damage, position: int, size: int) -> bool:
    return one.position < position + size and position < one.position + one.size


def _is_right(key: str, extent: Extent, volumes: Mapping[int, Volume]) -> bool:
    held = hold(volumes, [extent.volume])
    if held is None:
        return False
    volume = held[extent.volume]
    try:
        verify(key, extent, volume)
    except DamagedError:
        return False
    finally:
        volume.close()
    return True
