"""A file system that fails where a test wants it to, and threads that take their time."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import trio

from chunkstore.store.disk.files import Buffer
from chunkstore.worker.disk.files import ChunkFiles

__all__ = ["FlakyFiles", "Threads", "open_below"]


class FlakyFiles(ChunkFiles):
    """The real file system, but for what is due.

    Attributes:
        due: kind of operation and error number of the failures to come: the first is that of the
            next operation of its kind.
        free: of the disk, in bytes.
        failed: how many operations have failed.
    """

    def __init__(self) -> None:
        self.due: deque[tuple[str, int]] = deque()
        self.free = 2**40
        self.failed = 0

    def _meet(self, kind: str) -> None:
        if self.due and self.due[0][0] == kind:
            number = self.due.popleft()[1]
            self.failed += 1
            raise OSError(number, os.strerror(number))

    def free_bytes(self, folder: Path) -> int:
        self._meet("free_bytes")
        return self.free

    def create(self, path: Path) -> int:
        self._meet("create")
        return super().create(path)

    def write(self, fd: int, pieces: Sequence[Buffer], position: int) -> None:
        try:
            self._meet("write")
        except OSError:
            data = b"".join(pieces)
            super().write(fd, [data[: len(data) // 2]], position)
            raise
        super().write(fd, pieces, position)

    def sync(self, fd: int) -> None:
        self._meet("sync")

    def rename(self, path: Path, target: Path) -> None:
        self._meet("rename")
        super().rename(path, target)

    def unlink(self, path: Path) -> None:
        self._meet("unlink")
        super().unlink(path)

    def make_folder(self, path: Path) -> None:
        self._meet("make_folder")
        super().make_folder(path)

    def sync_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        self._meet("sync_folder")


class Threads:
    """As `trio.to_thread.run_sync`, on the loop, with time passing before and behind the call.

    Args:
        chance: how much.
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    async def __call__(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - as what it stands for
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await trio.sleep(self._chance.choice((0.0, 0.0, 0.01, 0.2)))
            try:
                return call()
            finally:
                await trio.sleep(self._chance.choice((0.0, 0.0, 0.01, 0.2)))


def open_below(folder: Path) -> list[str]:
    """What this process has open of a folder; what else it has comes and goes by itself."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(path for path in found if path.startswith(f"{folder.resolve()}/"))
