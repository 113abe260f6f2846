"""A recorded run of the file system, and the states that a power cut could leave of it.

A `Recorder` does everything for real and writes down what it did. `crash` builds, from the first so
many of these operations, a folder as a disk may have it afterwards: what was synced is there; of
what wasn't, each page is there or not, each name, each cut and each unlink happened or didn't.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chunkstore.store.disk.files import Buffer, Files

__all__ = [
    "PAGE_BYTES",
    "Operation",
    "Recorder",
    "TracedFile",
    "content_after",
    "crash",
    "settle",
]

PAGE_BYTES = 512


@dataclass(frozen=True)
class Operation:
    """One thing that was done: "create", "write", "truncate", "sync", "unlink", "sync_folder"; or
    "lost": a sync failed, and what it was for is there in part, and never will be more.

    Attributes:
        name: of the file; empty for the folder.
        number: position of a write, or size to cut to.
    """

    kind: str
    name: str = ""
    number: int = 0
    data: bytes = b""


class Recorder(Files):
    """The real file system, with a trace; of what changes the disk."""

    def __init__(self) -> None:
        self.trace: list[Operation] = []
        self.names_of: dict[int, str] = {}

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self.names_of[fd] = path.name
        self.trace.append(Operation("create", path.name))
        return fd

    def open(self, path: Path) -> int:
        fd = super().open(path)
        self.names_of[fd] = path.name
        return fd

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        super().write(fd, pieces, position)
        self.trace.append(Operation("write", self.names_of[fd], position, b"".join(pieces)))

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        self.trace.append(Operation("truncate", self.names_of[fd], size))

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.trace.append(Operation("sync", self.names_of[fd]))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.trace.append(Operation("unlink", path.name))

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self.trace.append(Operation("sync_folder"))


@dataclass
class TracedFile:
    """A file as far as it is durable, and what may be.

    Attributes:
        durable: its bytes.
        volatile: what was done since, in order.
    """

    durable: bytearray = field(default_factory=bytearray)
    volatile: list[Operation] = field(default_factory=list)
    has_name: bool = False  # durably
    is_unlinked: bool = False  # perhaps not durably


def crash(trace: Sequence[Operation], folder: Path, chance: random.Random) -> None:
    """Fill an empty folder with what may be left of a run that ended behind `trace`."""
    files: dict[str, TracedFile] = {}
    for one in trace:
        match one.kind:
            case "create":
                files[one.name] = TracedFile()
            case "write" | "truncate":
                files[one.name].volatile.append(one)
            case "sync":
                settle(files[one.name])
            case "lost":
                file = files[one.name]
                file.durable = bytearray(content_after(file, chance))
                file.volatile.clear()
            case "unlink":
                files[one.name].is_unlinked = True
            case "sync_folder":
                files = {name: file for name, file in files.items() if not file.is_unlinked}
                for file in files.values():
                    file.has_name = True
    for name, file in files.items():
        is_there = file.has_name or chance.random() < 0.5
        if is_there and not (file.is_unlinked and chance.random() < 0.5):
            (folder / name).write_bytes(content_after(file, chance))


def settle(file: TracedFile) -> None:
    """All that was done is durable."""
    for one in file.volatile:
        _apply(file.durable, one)
    file.volatile.clear()


def _apply(content: bytearray, one: Operation) -> None:
    if one.kind == "truncate":
        del content[one.number :]
        return
    content.extend(bytes(max(0, one.number - len(content))))
    content[one.number : one.number + len(one.data)] = one.data


def content_after(file: TracedFile, chance: random.Random) -> bytes:
    """The durable bytes, and of the others any pages; often a beginning, or all, or nothing."""
    content = bytearray(file.durable)
    share = chance.choice([0.0, 0.5, 0.9, 1.0])
    stop = chance.randint(0, len(file.volatile))
    for index, one in enumerate(file.volatile):
        if one.kind == "truncate":
            if chance.random() < 0.5:
                _apply(content, one)
            continue
        if index >= stop and chance.random() < 0.7:
            continue
        for start in range(0, len(one.data), PAGE_BYTES):
            if chance.random() < share:
                page = one.data[start : start + PAGE_BYTES]
                _apply(content, Operation("write", one.name, one.number + start, page))
    return bytes(content)
