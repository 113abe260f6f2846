"""A look at a folder of chunks that nobody uses: whether they are right, and what is left over.

Blocking; for commands.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from chunkstore.errors import DataDirError
from chunkstore.worker.core.generation import Found
from chunkstore.worker.core.names import DESCRIPTOR
from chunkstore.worker.descriptor import FileFacts
from chunkstore.worker.disk.folder import ChunkFolder
from chunkstore.worker.disk.scan import INCOMING, READY, TRASH

__all__ = ["Checked", "Cleared", "clear", "open_existing", "verify"]


class Checked(NamedTuple):
    """A chunk that was read.

    Attributes:
        found: which.
        size_bytes: of its files, as it says.
        problems: what is wrong with it, a sentence each.
    """

    found: Found
    size_bytes: int
    problems: list[str]


class Cleared(NamedTuple):
    """What was left over, and is gone.

    Attributes:
        doomed_count: whole chunks that were to go.
        partial_count: chunks on their way.
        trash_count: chunks that were going.
        size_bytes: of their files, all together.
        strangers: paths of what isn't ours, and stays; some of them.
    """

    doomed_count: int
    partial_count: int
    trash_count: int
    size_bytes: int
    strangers: list[str]


def open_existing(path: Path) -> ChunkFolder:
    """A folder of chunks, for this process alone; nothing is made.

    Raises:
        DataDirError: it is none, in use, of another version, or not to be read or written.
    """
    if not (path / READY).is_dir():
        raise DataDirError(path, "it is no folder of chunks")
    return ChunkFolder(path)


def verify(folder: ChunkFolder) -> Iterator[Checked]:
    """Read all files of all chunks that are whole, and hold them against their SHA-256.

    Raises:
        OSError: the folder can't be read; of a chunk that is a problem.
    """
    for found in folder.scan().ready:
        try:
            descriptor = folder.read_descriptor(found.dataset_id, found.name)
        except (OSError, ValueError) as error:
            yield Checked(found, 0, [f"{DESCRIPTOR}: {error}"])
            continue
        path = folder.ready(found.dataset_id, found.name)
        problems = list(_problems(path, descriptor.files))
        yield Checked(found, descriptor.size_bytes, problems)


def _problems(folder: Path, files: Mapping[str, FileFacts]) -> Iterator[str]:
    strangers = sorted(set(os.listdir(folder)) - {DESCRIPTOR, *files})
    if strangers:
        yield f"it has {strangers[0]!r}, which isn't its"
    for name, facts in files.items():
        try:
            fd = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with open(fd, "rb") as file:
                size_bytes = os.fstat(fd).st_size
                sha256 = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            yield f"{name}: {error.strerror or error}"
            continue
        if size_bytes != facts.size_bytes:
            yield f"{name}: it has {size_bytes} bytes, expected {facts.size_bytes}"
        elif sha256 != facts.sha256:
            yield f"{name}: its SHA-256 is {sha256.hex()}, expected {facts.sha256.hex()}"


def clear(folder: ChunkFolder) -> Cleared:
    """Take away what is on its way, in or out; what is whole stays.

    Raises:
        OSError: some of it can't be; the same again goes on.
    """
    found = folder.scan()
    partial = found.partial + found.discarded
    incoming = [folder.path / INCOMING / str(one.name) for one in partial]
    trash = [folder.path / TRASH / str(one.name) for one in found.trash]
    doomed = [folder.ready(one.dataset_id, one.name) for one in found.doomed]
    size_bytes = sum(map(_size, incoming + trash + doomed))
    folder.forget_wanted(found.wanted)
    for one in partial:
        folder.remove_incoming(one.name)
    for one in found.doomed:
        folder.remove(one.dataset_id, one.name)
    for one in found.trash:
        folder.remove_trash(one.name)
    for path in found.strays:
        folder.remove_stray(path)
    counts = len(found.doomed), len(partial), len(found.trash)
    return Cleared(*counts, size_bytes, found.strangers)


def _size(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
