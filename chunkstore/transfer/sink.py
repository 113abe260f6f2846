"""Where a download goes: a file that shows only when whole, or a stream."""

from __future__ import annotations

import fcntl
import os
import select
import stat
from abc import ABC, abstractmethod
from pathlib import Path

import trio

__all__ = ["FileSink", "Sink", "StreamSink"]


class Sink(ABC):
    """Takes an object's bytes in their order.

    Attributes:
        can_restart: what it took can be taken back.
    """

    can_restart: bool

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            OSError: it can't.
        Cancellation: it may have taken some.
        """

    def restart(self) -> None:
        """Forget all that was taken."""
        raise TypeError("this sink can't begin anew")


class FileSink(Sink):
    """A file that gets its name when it is whole; until then its name ends in `.part`.

    Args:
        path: the final name; if it is a link, what it leads to is replaced.
    Raises:
        OSError: it can't be made, or another process is at it.
    """

    can_restart = True

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))
        self.part = self._path.with_name(self._path.name + ".part")
        # Not truncated before it is ours.
        self._file = open(self.part, "ab", buffering=0, opener=_open_own)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Ours only if it still has the name: another one may have finished meanwhile.
            if not os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.part)):
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError):
            self._file.close()
            raise OSError(f"{self.part} is being written by another process") from None
        self._file.truncate(0)

    async def write(self, data: bytes) -> None:
        # On the loop: a regular file takes what it gets without waiting for anybody.
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        await trio.lowlevel.checkpoint()

    def restart(self) -> None:
        self._file.truncate(0)

    def finish(self) -> None:
        """It is whole: give it its name.

        Raises:
            OSError: it can't have it.
        """
        os.replace(self.part, self._path)
        self._file.close()

    def leave(self) -> int:
        """It is not going to be whole: what came stays in `part`, if that is anything.

        Returns:
            how many bytes that has.
        """
        if self._file.closed:
            return 0
        size_bytes = os.fstat(self._file.fileno()).st_size
        if not size_bytes:
            self.part.unlink(missing_ok=True)
        self._file.close()
        return size_bytes


def _open_own(path: str, flags: int) -> int:
    """Open a file that is ours: what somebody put there to lead elsewhere, or to wait at, isn't.

    Raises:
        OSError: it can't be opened, or is no regular file.
    """
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is no regular file")
    return fd


class StreamSink(Sink):
    """A descriptor that may be a pipe, such as standard output: what it took is gone.

    Args:
        fd: to write to; it stays blocking, since others share it, so a thread does it.
    """

    can_restart = False

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, data: bytes) -> None:
        # A pipe that nobody reads must not keep a Ctrl-C waiting.
        await trio.to_thread.run_sync(_write_all, self._fd, data, abandon_on_cancel=True)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # who shares it made it so
            select.select((), (fd,), ())
