"""A file system that fails where a test wants it to, and writes down what it did all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from chunkstore.store.disk.files import Buffer
from tests.store.disk.trace import Operation, Recorder

__all__ = ["Faults"]


class Faults(Recorder):
    """The real file system, but for what `before` raises.

    Attributes:
        before: called with what is about to be done ("create", "write", "truncate", "sync",
            "unlink", "sync_folder", "read") and the file's name; what it raises is the outcome. A
            write that fails has written a half.
        free: of the disk, in bytes; None: as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[str, str], None] = lambda kind, name: None
        self.free: int | None = None

    def free_bytes(self, folder: Path) -> int:
        return super().free_bytes(folder) if self.free is None else self.free

    def create(self, path: Path) -> int:
        self.before("create", path.name)
        return super().create(path)

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        try:
            self.before("write", self.names_of[fd])
        except OSError:
            data = b"".join(pieces)
            super().write(fd, [data[: len(data) // 2]], position)
            raise
        super().write(fd, pieces, position)

    def read(self, fd: int, size: int, position: int) -> bytes:
        self.before("read", self.names_of[fd])
        return super().read(fd, size, position)

    def truncate(self, fd: int, size: int) -> None:
        self.before("truncate", self.names_of[fd])
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        try:
            self.before("sync", self.names_of[fd])
        except OSError:
            self.trace.append(Operation("lost", self.names_of[fd]))
            raise
        super().sync(fd)

    def unlink(self, path: Path) -> None:
        self.before("unlink", path.name)
        super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        self.before("sync_folder", "")
        super().sync_folder(folder)
