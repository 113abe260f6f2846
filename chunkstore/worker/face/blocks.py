"""Who asks for blocks: the chunk that has one, and its files."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from chunkstore.errors import DamagedError
from chunkstore.metrics import Ending
from chunkstore.objects import FileRange
from chunkstore.server import Exchange
from chunkstore.store.disk.resident import is_resident
from chunkstore.wire import (
    Slice,
    Unsatisfiable,
    content_range,
    field_block,
    if_range_matches,
    parse_range,
    precondition,
    resolve_complete,
)
from chunkstore.worker.descriptor import FileFacts
from chunkstore.worker.face.described import Described
from chunkstore.worker.face.shown import block_members, encode
from chunkstore.worker.face.target import Target
from chunkstore.worker.manager import ChunkManager
from chunkstore.worker.reference import ChunkRef

__all__ = ["Blocks"]

SLICE_BYTES = 1 << 20
"""So much is looked for in memory, and sent, at a time."""
_COMMON = [("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")]
_JSON = field_block([("Content-Type", "application/json"), *_COMMON])
_NEVER_S = -1
"""Files of chunks have no date: none is theirs."""


class Blocks:
    """The handlers.

    Args:
        manager: has the chunks.
        in_thread: calls what waits for the disk, in a thread.
    """

    def __init__(
        self, manager: ChunkManager, in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
    ) -> None:
        self._manager = manager
        self._in_thread = in_thread
        self._described = Described(in_thread)

    async def chunk(self, exchange: Exchange, target: Target) -> None:
        """Answer with the chunk that has a block: what it is, and where its files are."""
        reference = await self._find(exchange, target)
        if reference is None:
            return
        with reference:
            try:
                descriptor = await self._described.of(reference)
            except DamagedError as error:
                await _damaged(exchange, error)
                return
        await exchange.respond(200, _JSON, encode(block_members(descriptor, target.block)))

    async def file(self, exchange: Exchange, target: Target) -> None:
        """Answer with a file of the chunk that has a block; it is held to the last byte.

        Source: RFC 9110 sections 13 and 14; RFC 9530 section 3 for the digest.
        """
        reference = await self._find(exchange, target)
        if reference is None:
            return
        with reference:
            try:
                descriptor = await self._described.of(reference)
                facts = descriptor.files.get(target.name)
                if facts is None:
                    names = ", ".join(descriptor.files)
                    await exchange.refuse(404, f"the chunk has no such file; it has {names}")
                    return
                await self._answer(exchange, reference.path / target.name, facts)
            except DamagedError as error:
                await _damaged(exchange, error)

    async def _find(self, exchange: Exchange, target: Target) -> ChunkRef | None:
        reference = self._manager.find_chunk(target.id, target.block)
        if reference is None:
            detail = f"no chunk that is wholly here has block {target.block} of this dataset"
            await exchange.refuse(404, detail)
        return reference

    async def _answer(self, exchange: Exchange, path: Path, facts: FileFacts) -> None:
        request, etag, size = exchange.request, f'"{facts.sha256.hex()}"', facts.size_bytes
        digest = b64encode(facts.sha256).decode("ascii")
        fields = field_block(
            [
                ("Content-Type", "application/octet-stream"),
                ("ETag", etag),
                ("Accept-Ranges", "bytes"),
                ("Repr-Digest", f"sha-256=:{digest}:"),
                *_COMMON,
            ]
        )
        status = precondition(
            request.fields, method=request.method, etag=etag, modified_s=None, is_open=False
        )
        if status == 304:
            await exchange.respond(304, fields)
            return
        if status is not None:
            await exchange.refuse(status, "the request's condition does not hold for this file")
            return
        if request.method == "HEAD":  # for which no range is defined
            await exchange.send([exchange.head(200, fields, size)])
            exchange.finish()
            return
        spec = None
        if if_range_matches(request.fields, etag=etag, modified_s=_NEVER_S):
            spec = parse_range(request.fields.get("range"))
        part = resolve_complete(spec, size)
        if isinstance(part, Unsatisfiable):
            detail = f"the range begins at or behind the file's end; it has {size} bytes"
            block = field_block([("Content-Range", content_range(part, size)), ("ETag", etag)])
            await exchange.refuse(416, detail, block)
        elif isinstance(part, Slice):
            fields += field_block([("Content-Range", content_range(part, size))])
            await self._send(exchange, path, facts, 206, fields, part)
        else:
            await self._send(exchange, path, facts, 200, fields, Slice(0, size))

    async def _send(
        self,
        exchange: Exchange,
        path: Path,
        facts: FileFacts,
        status: int,
        fields: bytes,
        part: Slice,
    ) -> None:
        """Send some of a file, without the loop ever waiting for the disk.

        Raises:
            DamagedError: the file isn't what it was.
        """
        fd: int = await self._in_thread(partial(_open, path, facts.size_bytes))
        try:
            start = part.start
            head = b""
            while start < part.stop or not exchange.status:
                size = min(SLICE_BYTES, part.stop - start)
                if size and not is_resident(fd, start, size):
                    await self._in_thread(partial(_warm, path, fd, start, size))
                if not exchange.status:  # only now: it may not be readable
                    head = exchange.head(status, fields, part.stop - part.start)
                if size:
                    await exchange.send_file(head, FileRange(fd, start, size))
                else:
                    await exchange.send([head])
                start, head = start + size, b""
                await trio.lowlevel.checkpoint()
            exchange.finish()
        finally:
            os.close(fd)  # it is held: nothing is deleted by this


def _open(path: Path, size_bytes: int) -> int:
    """In a thread."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise DamagedError(path.parent.name, f"{path.name}: {error.strerror}") from error
    found_bytes = os.fstat(fd).st_size
    if found_bytes != size_bytes:
        os.close(fd)
        detail = f"{path.name} has {found_bytes} bytes, expected {size_bytes}"
        raise DamagedError(path.parent.name, detail)
    return fd


def _warm(path: Path, fd: int, position: int, size: int) -> None:
    """In a thread: have some of a file in memory."""
    try:
        os.pread(fd, size, position)
    except OSError as error:
        raise DamagedError(path.parent.name, f"{path.name}: {error.strerror}") from error


async def _damaged(exchange: Exchange, error: DamagedError) -> None:
    exchange.connection.server.log.note(f"{exchange.request.path}: {error}")
    if exchange.status:
        exchange.ending = Ending.DAMAGED
    else:
        await exchange.refuse(500, "the chunk's bytes can't be read; the log says why")
