"""A recorded run of a folder of chunks, and the states that a power cut could leave of it.

As `tests/store/disk/trace.py`, with folders: of what was done to names and not synced, the first
some may be there, or any; a rename is there or not, and durable once one of its folders is synced.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from chunkstore.store.disk.files import Buffer
from chunkstore.worker.disk.files import ChunkFiles
from tests.store.disk.trace import Operation, TracedFile, content_after, settle

__all__ = ["FolderRecorder", "Step", "crash_folder"]


@dataclass(frozen=True)
class Step:
    """One thing that was done.

    Attributes:
        kind: "create", "write", "truncate", "sync", "unlink", "rename", "make_folder",
            "remove_folder", "sync_folder".
        path, target: below the folder; of what is done to names.
        inode: which file, whatever it is called.
        operation: what is done to its content.
    """

    kind: str
    path: str = ""
    target: str = ""
    inode: int = 0
    operation: Operation | None = None


class FolderRecorder(ChunkFiles):
    """The real file system, without its syncs, with a trace of what changes the disk.

    Args:
        folder: of the chunks.
    """

    def __init__(self, folder: Path) -> None:
        self.trace: list[Step] = []
        self._folder = folder
        self._inodes: dict[int, int] = {}  # of the system's numbers, which it uses again
        self._open: dict[int, int] = {}

    def _below(self, path: Path) -> str:
        return str(path.relative_to(self._folder))

    def create(self, path: Path) -> int:
        fd = super().create(path)
        inode = len(self.trace) + 1
        self._open[fd] = self._inodes[path.stat().st_ino] = inode
        self.trace.append(Step("create", self._below(path), inode=inode))
        return fd

    def open(self, path: Path) -> int:
        fd = super().open(path)
        self._open[fd] = self._inodes[path.stat().st_ino]
        return fd

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        super().write(fd, pieces, position)
        operation = Operation("write", number=position, data=b"".join(pieces))
        self.trace.append(Step("write", inode=self._open[fd], operation=operation))

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        operation = Operation("truncate", number=size)
        self.trace.append(Step("truncate", inode=self._open[fd], operation=operation))

    def sync(self, fd: int) -> None:
        self.trace.append(Step("sync", inode=self._open[fd]))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.trace.append(Step("unlink", self._below(path)))

    def rename(self, path: Path, target: Path) -> None:
        super().rename(path, target)
        self.trace.append(Step("rename", self._below(path), self._below(target)))

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.trace.append(Step("make_folder", self._below(path)))

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self.trace.append(Step("remove_folder", self._below(path)))

    def sync_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(folder)
        if folder != self._folder:
            self.trace.append(Step("sync_folder", self._below(folder)))


Names: TypeAlias = dict[str, int]
"""Path -> inode; 0 is a folder."""


@dataclass
class _Disk:
    files: dict[int, TracedFile] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    volatile: list[Step] = field(default_factory=list)


def crash_folder(trace: Sequence[Step], folder: Path, chance: random.Random) -> None:
    """Fill a new folder of chunks with what may be left of a run that ended behind `trace`."""
    disk = _Disk()
    for step in trace:
        _follow(disk, step)
    names = dict(disk.names)
    stop = chance.randint(0, len(disk.volatile))
    is_in_order = chance.random() < 0.5
    for index, step in enumerate(disk.volatile):
        if index < stop if is_in_order else chance.random() < 0.5:
            _rename(names, step)
    for path in sorted(names):
        if names[path] == 0:
            (folder / path).mkdir(exist_ok=True)
        else:
            (folder / path).write_bytes(content_after(disk.files[names[path]], chance))


def _follow(disk: _Disk, step: Step) -> None:
    match step.kind:
        case "write" | "truncate":
            assert step.operation is not None
            disk.files[step.inode].volatile.append(step.operation)
        case "sync":
            settle(disk.files[step.inode])
        case "sync_folder":
            due = [
                one for one in disk.volatile if step.path in (_above(one.path), _above(one.target))
            ]
            disk.volatile = [one for one in disk.volatile if one not in due]
            for one in due:
                _rename(disk.names, one)
        case _:
            if step.kind == "create":
                disk.files[step.inode] = TracedFile()
            disk.volatile.append(step)


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _rename(names: Names, step: Step) -> None:
    """Have something happen to names, if what it needs has happened."""
    room = _above(step.target or step.path)
    has_room = "/" not in room or names.get(room) == 0
    match step.kind:
        case "create" | "make_folder" if has_room:
            names[step.path] = step.inode
        case "unlink":
            names.pop(step.path, None)
        case "remove_folder":
            if not any(_above(name) == step.path for name in names):
                names.pop(step.path, None)
        case "rename" if has_room and step.path in names:
            for name in [one for one in names if f"{one}/".startswith(f"{step.path}/")]:
                names[step.target + name[len(step.path) :]] = names.pop(name)
