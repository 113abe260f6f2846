"""Who asks for chunks, and says which are wanted."""

from __future__ import annotations

from itertools import islice
from urllib.parse import parse_qsl

import trio

from chunkstore.metrics import Ending
from chunkstore.ring import LAST_CHUNK
from chunkstore.server import Exchange
from chunkstore.wire import (
    NO_LENGTH,
    Closed,
    Data,
    Refusal,
    cross_site_reason,
    field_block,
)
from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.descriptor import parse_chunk
from chunkstore.worker.face.shown import chunk_members, encode, lines
from chunkstore.worker.face.target import Target, parse_id
from chunkstore.worker.manager import ChunkManager
from chunkstore.worker.strict import parse_json

__all__ = ["Chunks"]

STEP_COUNT = 500
"""Chunks that are listed before others may run."""
BODY_BYTES = 128 * 1024
"""Ten URLs of 8 KiB, and their names."""
_NO_STORE = ("Cache-Control", "no-store")
_JSON = field_block([("Content-Type", "application/json"), _NO_STORE])
_LINES = field_block([("Content-Type", "application/x-ndjson"), _NO_STORE])


class Chunks:
    """The handlers.

    Args:
        manager: has the chunks.
    """

    def __init__(self, manager: ChunkManager) -> None:
        self._manager = manager

    async def list(self, exchange: Exchange) -> None:
        """Answer with those that are wholly here, a line of JSON each, as they are now.

        `?dataset=ID`: those of one dataset.
        """
        request = exchange.request
        try:
            dataset_id = _dataset(request.query)
        except ValueError as error:
            await exchange.refuse(400, str(error))
            return
        if request.method == "HEAD":
            await exchange.send([exchange.head(200, _LINES, NO_LENGTH)])
            exchange.finish()
            return
        if request.http_1_0:
            await exchange.refuse(400, "the list is a stream: GET it with HTTP/1.1")
            return
        await exchange.send([exchange.head(200, _LINES, None)])
        found = iter(self._manager.list_chunks())
        while step := list(islice(found, STEP_COUNT)):
            piece = lines(one for one in step if dataset_id in (None, one.dataset_id))
            if piece:
                await exchange.send([b"%x\r\n%b\r\n" % (len(piece), piece)])
            await trio.lowlevel.checkpoint()
        await exchange.send([LAST_CHUNK])
        exchange.finish()

    async def state(self, exchange: Exchange, target: Target) -> None:
        """Answer with how it stands with one."""
        status = self._manager.chunk_status(target.id)
        if status is None:
            await exchange.refuse(404, "nobody wants a chunk of this id")
        else:
            await exchange.respond(200, _JSON, encode(chunk_members(status)))

    async def put(self, exchange: Exchange, target: Target) -> None:
        """Have a chunk, which the body describes; it comes behind the answer."""
        if reason := cross_site_reason(exchange.request.fields):
            await exchange.refuse(403, reason)
            return
        body = None
        if (exchange.request.fields.content_length or 0) <= BODY_BYTES:
            await exchange.continue_if_asked()
            body = await _body(exchange)
        if body is None:
            await exchange.refuse(413, f"a chunk is described in {BODY_BYTES} bytes at most")
            return
        try:
            chunk = _described(body, target.id)
        except ValueError as error:
            await exchange.refuse(400, str(error))
            return
        self._manager.download_chunk(chunk)
        status = self._manager.chunk_status(target.id)
        members = {"id": target.id.hex()} if status is None else chunk_members(status)
        await exchange.respond(202, _JSON, encode(members))

    async def delete(self, exchange: Exchange, target: Target) -> None:
        """Have a chunk no more: it isn't found from now on, and goes behind the answer."""
        if reason := cross_site_reason(exchange.request.fields):
            await exchange.refuse(403, reason)
            return
        self._manager.delete_chunk(target.id)
        await exchange.respond(202, _JSON, encode({"id": target.id.hex()}))


def _dataset(query: str) -> bytes | None:
    """The dataset that a query asks for; None: all.

    Raises:
        ValueError: with a sentence for the client.
    """
    pairs = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=100))
    text = pairs.get("dataset")
    return None if text is None else parse_id(text, "a dataset's id")


def _described(body: bytes, chunk_id: bytes) -> DataChunk:
    """The chunk that a body describes.

    Raises:
        ValueError: names the field that is wrong, and how.
    """
    chunk = parse_chunk(parse_json(body))
    if chunk.id != chunk_id:
        raise ValueError("id: the path has another one")
    return chunk


async def _body(exchange: Exchange) -> bytes | None:
    """The request's body; None: it is too long.

    Raises:
        trio.BrokenResourceError: it came too late, or not whole.
    """
    connection, body = exchange.connection, b""
    connection.arm(connection.server.settings.header_timeout_s, Ending.TIMEOUT)
    while connection.protocol.has_body and len(body) <= BODY_BYTES:
        events = await exchange.receive()
        body += b"".join(one.data for one in events if isinstance(one, Data))
        if isinstance(events[-1], Closed | Refusal):
            raise trio.BrokenResourceError("the body isn't whole")
    connection.disarm()
    return body if len(body) <= BODY_BYTES else None
