"""Every syscall that changes the folder of chunks, so that tests can record, cut and fail them."""

from __future__ import annotations

import os
from pathlib import Path

from chunkstore.store.disk import Files

__all__ = ["ChunkFiles"]


class ChunkFiles(Files):
    """The file system, with folders. Every method blocks, and raises OSError as the system does."""

    def make_folder(self, path: Path) -> None:
        """A new folder; durable once the one that it lies in is synced."""
        path.mkdir(mode=0o700)

    def remove_folder(self, path: Path) -> None:
        """Take an empty folder away; durable as above."""
        path.rmdir()

    def read_all(self, path: Path, limit_bytes: int) -> bytes:
        """All of a small file.

        Raises:
            OSError: it can't be read.
            ValueError: it is longer than that.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            data = self.read(fd, limit_bytes + 1, 0)
        finally:
            os.close(fd)
        if len(data) > limit_bytes:
            raise ValueError(f"it has more than {limit_bytes} bytes")
        return data

    def write_all(self, path: Path, data: bytes) -> None:
        """A new small file, synced; its name is durable once its folder is."""
        fd = self.create(path)
        try:
            self.write(fd, [data], 0)
            self.sync(fd)
        finally:
            self.close(fd)
