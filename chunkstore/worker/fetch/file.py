"""One file of a chunk, over as many answers as it takes.

What is joined is of one version: the strong ETag that it has, asked for with If-Range, and a
Content-Range that goes on where it ended. What all of it is is held against the size, from wherever
that is known, and the digest, if there is one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import trio

from chunkstore.client import Answer, Url, expect, parse_url
from chunkstore.errors import CutError, FetchError
from chunkstore.transfer import Resume, Step
from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.core.chunk import FileRecord
from chunkstore.worker.descriptor import FileFacts
from chunkstore.worker.disk.files import ChunkFiles
from chunkstore.worker.fetch.partial import Partial
from chunkstore.worker.fetch.retry import MismatchError, may_pass, pause_s
from chunkstore.worker.fetch.source import Sources

__all__ = ["FileFetch"]

WRITE_BYTES = 2**20
"""So much is received before a thread writes and hashes it, while more comes; to wake up for less
costs as much again."""
MISMATCHES_MAX = 2
"""So often may all of a file come and be another: then it is so, and not an accident."""


class FileFetch:
    """The download of one file.

    Args:
        path: what it is called when it is whole.
        record: where it comes from, and what is known of it.
        sources: ask servers.
        config: limits.
        files: the file system.
        in_thread: calls what blocks, in a thread.
        chance: gives numbers in [0, 1).
        moved: told of how many bytes are there, whenever that has changed.
        learned: told how many it will have at least, as servers say or send more; may raise what
            ends it.
    """

    def __init__(
        self,
        path: Path,
        record: FileRecord,
        sources: Sources,
        config: WorkerConfig,
        files: ChunkFiles,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        chance: Callable[[], float],
        *,
        moved: Callable[[int], None],
        learned: Callable[[int], Awaitable[None]],
    ) -> None:
        self._path = path
        self._record = record
        self._sources = sources
        self._config = config
        self._in_thread = in_thread
        self._chance = chance
        self._moved = moved
        self._learned = learned
        self._partial = Partial(files, path)
        self._failure_count = self._mismatch_count = self._most_bytes = 0
        self._learned_bytes = 0

    async def run(self) -> FileFacts:
        """Have it whole and right under its name, and synced.

        Raises:
            FetchError: it can't be had; `may_pass` says whether that may change.
            OSError: it can't be written.
        Cancellation: what came is saved, to go on from.
        """
        url = parse_url(self._record.url)
        is_open = False
        try:
            await self._in_thread(self._partial.open)
            is_open = True
            self._most_bytes = self._partial.offset
            while True:
                self._moved(self._partial.offset)
                try:
                    if not self._partial.is_whole:
                        await self._try(url)
                    return await self._finish()
                except FetchError as error:
                    await self._pause(error)
        finally:
            with trio.CancelScope(shield=True):  # a sync or two
                await self._in_thread(self._leave)
            if is_open:  # else what is there wasn't looked at
                self._moved(self._partial.offset)

    def _leave(self) -> None:
        """In a thread. What can't be saved is fetched again."""
        with suppress(OSError):
            self._partial.save()
        self._partial.close()

    async def _pause(self, error: FetchError) -> None:
        """Wait for the next try, or raise what makes it vain."""
        self._failure_count += 1
        if isinstance(error, MismatchError):
            self._mismatch_count += 1
            if self._mismatch_count >= MISMATCHES_MAX:
                raise error
        elif not may_pass(error):
            raise error
        wait_s = pause_s(self._failure_count, self._config.backoff_s, error, self._chance())
        if self._failure_count > self._config.retries or wait_s is None:
            raise error
        await trio.sleep(wait_s)

    async def _try(self, url: Url) -> None:
        """Ask until there is an answer that goes on, and take it."""
        resume = Resume(self._partial.offset, self._partial.etag)
        while True:
            goes_on = bool(resume.fields())
            async with self._sources.get(url, resume.fields()) as answer:
                step = resume.answered(answer.status, answer.fields)
                if step is None:
                    await expect(answer, 200)
                if step is Step.WHOLE:
                    return
                if step is Step.REPEAT:
                    await self._in_thread(self._partial.restart)
                    continue
                if step is Step.RESTART or not goes_on:
                    await self._in_thread(self._partial.restart)
                await self._check_head(answer, resume)
                self._partial.begin(resume.etag)
                await self._take(answer, resume)
                return

    async def _check_head(self, answer: Answer, resume: Resume) -> None:
        """Refuse what can't be the file before it comes.

        Raises:
            MismatchError: its size is another one.
            FetchError: nothing would tell its end from a cut, or the file from its compressed form.
        """
        coding = answer.fields.get("content-encoding", "identity").lower()
        if coding != "identity" and self._record.sha256 is None:
            detail = (
                f"it came as {coding[:40]}, and no SHA-256 was declared that tells whether it is so"
            )
            raise FetchError(f"{answer.asked}: {detail}")
        expected, total = self._record.size_bytes, resume.total
        is_chunked = "transfer-encoding" in answer.fields
        if total is None and not is_chunked and expected is None:
            raise FetchError(f"{answer.asked}: the answer says no size, and none was declared")
        if total is not None and expected is not None and total != expected:
            raise MismatchError(f"{answer.asked}: it has {total} bytes, expected {expected}")
        if total is not None:
            await self._learn(total)

    async def _learn(self, size_bytes: int) -> None:
        """It has so many bytes, or more: there has to be room for them."""
        if size_bytes > self._learned_bytes:
            self._learned_bytes = size_bytes
            await self._learned(size_bytes)

    async def _take(self, answer: Answer, resume: Resume) -> None:
        """Its body: received here, written and hashed in a thread meanwhile."""
        pieces: list[bytes] = []
        size_bytes = 0
        failure: Exception | None = None
        try:
            while data := await self._next(answer):
                data = resume.take(data)
                pieces.append(data)
                size_bytes += len(data)
                if size_bytes >= WRITE_BYTES:
                    pieces, size_bytes = await self._write(pieces), 0
        except FetchError as error:
            resume.cut()
            failure = error
        await self._write(pieces)
        if failure is not None:
            if self._is_all_without_an_end(answer):
                return
            raise failure
        if not resume.ended():
            raise CutError(f"{answer.asked}: the answer was a part of the file, not its end")

    def _is_all_without_an_end(self, answer: Answer) -> bool:
        """It ended with the connection, which tells nothing; but its size was declared."""
        has_end = answer.length is not None or "transfer-encoding" in answer.fields
        return not has_end and self._partial.offset == self._record.size_bytes

    async def _next(self, answer: Answer) -> bytes:
        if answer.length is not None:
            return await answer.some(WRITE_BYTES, least_bytes=WRITE_BYTES)
        piece = await answer.piece()
        return b"" if piece is None else piece.data

    async def _write(self, pieces: list[bytes]) -> list[bytes]:
        """Write them; a new list for the next ones."""
        if pieces:
            await self._in_thread(partial(self._partial.write, pieces))
            if self._partial.offset > self._most_bytes:  # further than ever: it will come to an end
                self._most_bytes, self._failure_count = self._partial.offset, 0
            self._moved(self._partial.offset)
            expected = self._record.size_bytes
            if expected is not None and self._partial.offset > expected:
                await self._in_thread(self._partial.restart)
                raise MismatchError(f"{self._path.name} has more than {expected} bytes")
            if expected is None:  # nor need a server say how many come
                await self._learn(self._partial.offset)
        return []

    async def _finish(self) -> FileFacts:
        """All of it came: hold it against what is known of it.

        Raises:
            MismatchError: it is another one; nothing of it is kept.
        """
        record, partial_file = self._record, self._partial
        size_bytes, sha256 = partial_file.offset, partial_file.sha256
        problem = ""
        if record.size_bytes not in (None, size_bytes):
            problem = f"it has {size_bytes} bytes, expected {record.size_bytes}"
        elif record.sha256 not in (None, sha256):
            problem = f"its SHA-256 is {sha256.hex()}, expected {(record.sha256 or b'').hex()}"
        if problem:
            await self._in_thread(partial_file.restart)
            raise MismatchError(f"{self._path.name} came whole and wrong: {problem}")
        etag = partial_file.etag
        await self._in_thread(partial_file.finish)
        source: Literal["declared", "computed"]
        source = "computed" if record.sha256 is None else "declared"
        return FileFacts(record.url, size_bytes, sha256, source, etag)
