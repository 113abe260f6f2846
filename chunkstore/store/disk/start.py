"""The start: a survey of what is there, and what a crash left, cut off.

It never asks for a repair. An index that is missing, older or damaged is made anew; a torn end was
never acknowledged, and is cut; damage is reported, and nothing is taken away because of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.files import Files
from chunkstore.store.disk.index import Index, IndexDamagedError
from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.survey import Known, Survey, open_volumes, survey
from chunkstore.store.disk.volume import SET_ASIDE, Volume, volume_name

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

    def lines(self) -> list[str]:
        """What a person should know, a sentence each."""
        found = [f"damaged: {one}" for one in self.damages]
        if self.cut_bytes:
            found.append(f"{self.cut_bytes} bytes that were never acknowledged were cut off")
        if self.rebuilt:
            found.append(f"the index was made anew: {self.rebuilt}")
        if self.missing:
            found.append(f"{len(self.missing)} names of the index are in no volume")
        return found


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
    """Read the index and what the volumes have beyond it, and mend what a crash left.

    Raises:
        OSError: the disk can't say; nothing was changed but torn ends that were cut.
    """
    index, known, rebuilt = _open_index(data)
    volumes = open_volumes(data, files)
    found = survey(known, volumes)
    _mend(found, volumes, data, files)
    damages = [
        f"{volume_name(number)}: {one.size} bytes at {one.position}"
        for number, one in found.damages
    ]
    damages += [f"{key}: bytes of it are missing" for key in found.ledger.not_whole()]
    report = Report(damages, sum(found.torn.values()), rebuilt, found.missing)
    active = None if found.active is None else volumes[found.active]
    return Started(found.ledger, index, volumes, active, found.sequence, report)


def _open_index(data: DataDir) -> tuple[Index, Known, str]:
    """The index, what it says, and why it was made anew."""
    try:
        index = Index(data.index, data.dir_id)
        try:
            ledger = Ledger()
            return index, Known(ledger, *index.load(ledger)), ""
        except IndexDamagedError:
            index.close()
            raise
    except IndexDamagedError as error:
        rebuilt = str(error)
    Index.remove(data.index)
    try:
        index = Index(data.index, data.dir_id)
    except IndexDamagedError:  # a full disk keeps nobody from being served
        index = Index(None, data.dir_id)
    return index, Known(), rebuilt


def _mend(found: Survey, volumes: dict[int, Volume], data: DataDir, files: Files) -> None:
    """Cut off what is torn, and drop the files of uploads that were never committed.

    What is whole of a volume is made durable: after a crash of the program alone it may be in the
    system's memory only, and the next start must not see less. Where there is damage, it may have
    taken a commit: then such files are set aside, under a name that no start looks at.
    """
    for number, end in found.ends.items():
        volume = volumes[number]
        if number in found.settled:  # what the index knows is durable; own files are many
            volume.end = volume.synced_bytes = end
            continue
        volume.hold()
        volume.cut(end)
        volume.close()
    for number in found.orphans:
        volume = volumes.pop(number)
        if found.damages:
            files.rename(volume.path, volume.path.with_suffix(SET_ASIDE))
        else:
            files.unlink(volume.path)
        files.sync_folder(data.volumes)
