"""What a worker is to have, as a file or a URL says: watched or asked for, read, and told.

::

    {"chunks": [{"id": "…", "dataset_id": "…", "block_range": [0, 100], "files": {"a": "http://…"}}]}

A change is told all at once. One that is bad changes nothing, and is said once.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import trio

from chunkstore.auth import redacted
from chunkstore.client import Connect, Timeouts, Url, dial, expect, parse_url
from chunkstore.errors import FetchError
from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.descriptor import parse_chunk
from chunkstore.worker.fetch.source import Sources
from chunkstore.worker.strict import DECODER

__all__ = ["Assignment", "parse_assignment"]

FILE_POLL_S = 1.0
PAUSE_MOST_S = 300.0
"""A URL that can't be had is asked for less and less often, down to this."""
_OPENING = re.compile(r'\s*\{\s*"chunks"\s*:\s*\[\s*')
_COMMA = re.compile(r"\s*,\s*")
_CLOSING = re.compile(r"\s*\]\s*\}\s*")
_FORM = 'expected {"chunks": […]}'


class _Stamp(NamedTuple):
    """What tells one version of a file from the next."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int


class Assignment:
    """Tells a manager what it is to have, from now on and as that changes.

    Args:
        source: path of a file, or a URL of http or https.
        desire: told of all chunks; called in a thread.
        poll_s: how often a URL is asked for; a file is looked at once a second.
        limit_bytes: of the assignment.
        note: told of what is wrong, a line.
        connect: makes a connection.
        in_thread: calls what blocks, in a thread.
        chance: gives numbers in [0, 1), for pauses.
    Raises:
        ValueError: it looks like a URL, and is none.

    Attributes:
        source: to be shown: without credentials.
        count: of the chunks in force; None: there was no good one so far.
        error: why the newest one isn't in force; "" if it is.
    """

    def __init__(
        self,
        source: str,
        desire: Callable[[Iterable[DataChunk]], None],
        *,
        poll_s: float,
        limit_bytes: int,
        note: Callable[[str], None],
        connect: Connect = dial,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = trio.to_thread.run_sync,
        chance: Callable[[], float],
    ) -> None:
        is_url = source.startswith(("http://", "https://"))
        self._url: Url | None = parse_url(source) if is_url else None
        self._path = source
        self.source = redacted(str(self._url)) if self._url else source
        self.count: int | None = None
        self.error = ""
        self._desire = desire
        self._poll_s = poll_s
        self._limit_bytes = limit_bytes
        self._note = note
        self._connect = connect
        self._in_thread = in_thread
        self._chance = chance
        self._digest = b""
        self._fault = ""  # of the newest that was read
        self._stamp: _Stamp | None = None
        self._etag = ""
        self._failure_count = 0

    async def run(self) -> None:
        """Look until cancelled."""
        async with Sources(self._connect, Timeouts()) as sources:
            while True:
                if self._url is None:
                    await self._look_at_file()
                    pause_s = FILE_POLL_S
                else:
                    pause_s = await self._ask(sources, self._url)
                await trio.sleep(pause_s)

    # --- a file --------------------------------------------------------------------------------

    async def _look_at_file(self) -> None:
        try:
            await self._in_thread(self._load_file)
        except OSError as error:
            self._say(error.strerror or str(error))
        except ValueError as error:
            self._say(str(error))
        else:
            self._say(self._fault)

    def _load_file(self) -> None:
        """In a thread: what the file says, if it has changed."""
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would wait
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("it is no file")
            stamp = _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if stamp == self._stamp:
                return
            with open(fd, "rb", closefd=False) as file:
                data = file.read(self._limit_bytes + 1)
        finally:
            os.close(fd)
        self._stamp = stamp  # of before it was read: what is written meanwhile has another one
        self._load(data)

    # --- a URL ---------------------------------------------------------------------------------

    async def _ask(self, sources: Sources, url: Url) -> float:
        """One request; how long to wait for the next."""
        fields = [("If-None-Match", self._etag)] if self._etag else []
        try:
            async with sources.get(url, fields) as answer:
                await expect(answer, 200, *([304] if fields else []))
                data = await answer.body(self._limit_bytes)
                is_new, etag = answer.status == 200, answer.etag
        except FetchError as error:
            self._failure_count += 1
            self._say(str(error))
            longest_s = min(PAUSE_MOST_S, self._poll_s * 2.0 ** min(self._failure_count, 16))
            return max(self._poll_s, longest_s * self._chance())
        self._failure_count = 0
        if is_new:
            self._etag = etag
            await self._in_thread(partial(self._load, data))
        self._say(self._fault)
        return self._poll_s

    # --- what came -----------------------------------------------------------------------------

    def _load(self, data: bytes) -> None:
        """In a thread: have what it says, if that is new and good."""
        digest = hashlib.sha256(data).digest()
        if digest == self._digest:
            return
        self._digest, self._fault = digest, ""
        try:
            if len(data) > self._limit_bytes:
                raise ValueError(f"it has more than {self._limit_bytes} bytes")
            chunks = parse_assignment(data)
        except ValueError as error:
            self._fault = str(error)
            return
        self._desire(chunks)
        self.count = len(chunks)

    def _say(self, error: str) -> None:
        error = redacted(error)
        if error and error != self.error:
            stays = "the last good one" if self.count is not None else "what is there"
            self._note(f"assignment {self.source}: {error}; {stays} stays")
        elif self.error and not error:
            self._note(f"assignment {self.source}: it is good, and in force")
        self.error = error


def parse_assignment(data: bytes) -> list[DataChunk]:
    """The chunks of an assignment.

    Read chunk by chunk, so that in a thread it doesn't keep others from running for long.

    Raises:
        ValueError: names the chunk and the field that is wrong, and how.
    Cost: 40 us a chunk.
    """
    chunks: dict[bytes, DataChunk] = {}
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("expected JSON in UTF-8") from None
    for index, row in enumerate(_rows(text)):
        try:
            chunk = parse_chunk(row)
        except ValueError as error:
            raise ValueError(f"chunks[{index}]: {error}") from None
        if chunk.id in chunks:
            raise ValueError(f"chunks[{index}]: id: {chunk.id.hex()} is there twice")
        chunks[chunk.id] = chunk
    return list(chunks.values())


def _rows(text: str) -> Iterator[object]:
    """The elements of its list."""
    opening = _OPENING.match(text)
    if opening is None:
        raise ValueError(_FORM)
    position, index = opening.end(), 0
    while (closing := _CLOSING.match(text, position)) is None:
        if index:
            comma = _COMMA.match(text, position)
            if comma is None:
                raise ValueError(f"{_FORM}: behind chunks[{index - 1}] something else comes")
            position = comma.end()
        try:
            row, position = DECODER.raw_decode(text, position)
        except ValueError as error:
            raise ValueError(f"chunks[{index}]: {error}") from None
        except RecursionError:
            raise ValueError(f"chunks[{index}]: it is nested too deeply") from None
        yield row
        index += 1
    if closing.end() != len(text):
        raise ValueError(f"{_FORM}, and nothing behind it")
