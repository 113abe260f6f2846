"""Every syscall that touches the volumes, so that tests can record, cut and fail them."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

__all__ = ["Buffer", "Files", "ReadOnlyFiles"]

Buffer: TypeAlias = bytes | bytearray | memoryview

_PIECES_MAX = 512
"""Buffers in one write: below every system's IOV_MAX (1024 on Linux)."""


class Files:
    """The file system. Every method blocks, and raises OSError as the system does.

    No link is followed from a volume's name: what it leads to isn't ours to write, nor to cut.
    """

    def create(self, path: Path) -> int:
        """A new file, which must not exist yet; its descriptor.

        It is durable once it is synced and its folder, too.
        """
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """An existing file, to read and write; its descriptor."""
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        """Give the descriptor back."""
        os.close(fd)

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        """Write all of `pieces` behind each other, from `position` on.

        Raises:
            OSError: an unknown part of it was written.
        """
        left = list(pieces)
        while left:
            written = os.pwritev(fd, left[:_PIECES_MAX], position)
            position += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = memoryview(left[0])[written:]

    def read(self, fd: int, size: int, position: int) -> bytes:
        """At most `size` bytes from `position` on; fewer only where the file ends."""
        data = os.pread(fd, size, position)
        while len(data) < size:
            more = os.pread(fd, size - len(data), position + len(data))
            if not more:
                break
            data += more
        return data

    def forget(self, fd: int, size: int, position: int) -> None:
        """The system needn't keep so many bytes from `position` on in memory."""
        os.posix_fadvise(fd, position, size, os.POSIX_FADV_DONTNEED)

    def size(self, fd: int) -> int:
        """Of the file, in bytes."""
        return os.fstat(fd).st_size

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file; durable once it is synced."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Wait until what was written is durable, and the size with it.

        Raises:
            OSError: it may never be; asking again would say nothing (the system forgets).
        """
        os.fdatasync(fd)

    def names(self, folder: Path) -> list[str]:
        """What lies in a folder."""
        return sorted(os.listdir(folder))

    def free_bytes(self, folder: Path) -> int:
        """How much more may be written where a folder lies."""
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    def capacity_bytes(self, folder: Path) -> int:
        """How much can be written where a folder lies, used or not."""
        found = os.statvfs(folder)
        return found.f_blocks * found.f_frsize

    def unlink(self, path: Path) -> None:
        """Take a name away; durable once the folder is synced."""
        os.unlink(path)

    def rename(self, path: Path, target: Path) -> None:
        """Give a file another name; durable once the folder is synced."""
        os.rename(path, target)

    def sync_folder(self, folder: Path) -> None:
        """Wait until the folder's names are durable."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class ReadOnlyFiles(Files):
    """The file system, for one who must not change it: what would raises OSError (EROFS)."""

    def open(self, path: Path) -> int:
        """An existing file, to read; its descriptor."""
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def create(self, path: Path) -> int:
        """Refused."""
        raise _refusal()

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        """Refused."""
        raise _refusal()

    def truncate(self, fd: int, size: int) -> None:
        """Refused."""
        raise _refusal()

    def unlink(self, path: Path) -> None:
        """Refused."""
        raise _refusal()

    def rename(self, path: Path, target: Path) -> None:
        """Refused."""
        raise _refusal()


def _refusal() -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS))
