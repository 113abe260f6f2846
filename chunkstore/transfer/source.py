"""What is uploaded: files and streams, from their beginning as often as needed."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

import trio

from chunkstore.errors import FetchError
from chunkstore.transfer.pace import CHUNK_BYTES, Pace
from chunkstore.units import format_size

__all__ = ["KEPT_BYTES", "FileSource", "Source", "StreamSource", "read_fd"]

READ_BYTES = 256 * 1024
"""A file is read on the loop, by so much at a time: other uploads wait a moment at most."""
KEPT_BYTES = 8 * 2**20
"""So much of a stream is kept to be sent again."""


class Source(ABC):
    """Bytes to upload.

    Args:
        pace: when they may go; None: at once.
    Attributes:
        length: how many there are; None if that isn't known or isn't to be told.
        why_not_again: why it can't be sent from the beginning once more; "" while it can.
    """

    length: int | None = None
    why_not_again: str = ""

    def __init__(self, pace: Pace | None) -> None:
        self._pace = pace
        self._began_s: float | None = None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """All of it from its beginning, each chunk when it is due.

        Raises:
            OSError: it can't be read.
            FetchError: it isn't what it was any more.
        Cancellation: nothing is lost for the next time.
        """
        if self._began_s is None:
            self._began_s = trio.current_time()
        end = 0
        source = self._read()
        try:
            async for data in source:
                end += len(data)
                if self._pace is not None:
                    await trio.sleep_until(self._began_s + self._pace.due_s(end))
                yield data
        finally:
            await source.aclose()

    @abstractmethod
    def _read(self) -> AsyncGenerator[bytes, None]:
        """All of it from its beginning, in chunks, as fast as it can be read."""


class FileSource(Source):
    """A regular file, of which as much is sent as it had at first.

    Args:
        path: of the file.
        chunk_bytes: have it sent in HTTP chunks of so much; None: with a Content-Length, unless it
            is paced.
        pace: as in `Source`.
    Raises:
        OSError: there is no such file, or it isn't a regular one.
    """

    def __init__(
        self, path: Path, *, chunk_bytes: int | None = None, pace: Pace | None = None
    ) -> None:
        super().__init__(pace)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is no regular file; send its bytes through `put -`")
        self.size_bytes = found.st_size
        self._found = found
        self._path = path
        if chunk_bytes is None and pace is not None:
            chunk_bytes = pace.chunk_bytes
        self.length = found.st_size if chunk_bytes is None else None
        self._chunk_bytes = chunk_bytes or READ_BYTES

    async def _read(self) -> AsyncGenerator[bytes, None]:
        left = self.size_bytes
        with _open(self._path) as file:
            # Of another one, that has its name by now, the promised length would be a part.
            now = os.fstat(file.fileno())
            if not (stat.S_ISREG(now.st_mode) and os.path.samestat(self._found, now)):
                raise FetchError(f"{self._path} was replaced by another file before it was sent")
            while left:
                data = file.read(min(left, self._chunk_bytes))
                if not data:
                    gone = self.size_bytes - left
                    raise FetchError(
                        f"{self._path} had {self.size_bytes} bytes and has {gone} now: it became"
                        " shorter while it was sent"
                    )
                left -= len(data)
                yield data


def _open(path: Path) -> FileIO:
    return open(path, "rb", buffering=0, opener=_open_at_once)


def _open_at_once(path: str, flags: int) -> int:
    """A pipe that took a file's place isn't waited for: nobody may ever write to it."""
    return os.open(path, flags | os.O_NONBLOCK)


class StreamSource(Source):
    """A stream that can be read once, such as standard input: what one read gives is one chunk.

    Its first bytes are kept, so that a retry can send them again.

    Args:
        read: gives the next bytes, b"" at the end; cancelled, it must lose none.
        pace: as in `Source`.
        kept_bytes: how much is kept; with more, it can't be sent again.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[bytes]],
        *,
        pace: Pace | None = None,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        super().__init__(pace)
        self._next = read
        self._left_bytes = self._kept_bytes = kept_bytes
        self._kept: list[bytes] = []
        self._has_ended = False

    async def _read(self) -> AsyncGenerator[bytes, None]:
        index = 0
        while True:
            # A try that was broken off has left what it read, and the next one goes on from there.
            if not self.why_not_again and index < len(self._kept):
                data = self._kept[index]
            elif self._has_ended or not (data := await self._next()):
                self._has_ended = True  # a terminal would be asked for more
                return
            else:
                self._keep(data)
            index += 1
            yield data

    def _keep(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self._kept.clear()
            self.why_not_again = (
                f"more than {format_size(self._kept_bytes)} of the input were read, and its"
                " beginning is not kept any longer"
            )
        else:
            self._kept.append(data)


async def read_fd(fd: int, limit_bytes: int = CHUNK_BYTES) -> bytes:
    """Some bytes of a pipe, terminal or file: what is there, as soon as anything is.

    The descriptor stays blocking, since others share it: it is only read when it has something.

    Returns:
        at most `limit_bytes`; b"" at the end.
    Raises:
        OSError: it can't be read.
    Cancellation: nothing was read.
    """
    # What epoll refuses, such as a regular file, never makes a reader wait for long.
    with suppress(PermissionError):
        await trio.lowlevel.wait_readable(fd)
    return os.read(fd, limit_bytes)
