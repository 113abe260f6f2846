"""PUT, again until it is stored."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

from chunkstore.client import Answer, Client, expect
from chunkstore.errors import FetchError
from chunkstore.transfer.retry import Retrying
from chunkstore.transfer.source import Source

__all__ = ["Receipt", "upload"]

RECEIPT_BYTES = 64 * 1024


class Receipt(NamedTuple):
    """What a server said of an upload.

    Attributes:
        is_new: nothing had the path before.
        size_bytes: as sent.
        etag: of the object, or "".
        members: the JSON object of the answer; empty if there was none.
    """

    is_new: bool
    size_bytes: int
    etag: str
    members: dict[str, Any]


async def upload(
    client: Client,
    target: str,
    source: Source,
    retrying: Retrying,
    on_bytes: Callable[[int], None] = lambda sent: None,
) -> Receipt:
    """Store `source` under a path.

    A try that failed is followed by one from the first byte, at once: an origin lets those who read
    the broken one go on in it.

    Args:
        on_bytes: told how many bytes the present try has handed over.
    Raises:
        FetchError: it is not stored, and isn't going to be.
        OSError: the source can't be read.
    Cancellation: the connection is closed; the server aborts the upload.
    """
    while True:
        body = _Counted(source.chunks(), on_bytes)
        try:
            async with aclosing(body.chunks):
                answer = await client.request("PUT", target, body=body, length=source.length)
                await expect(answer, 200, 201, 204)
                return await _receipt(answer, body.sent_bytes)
        except FetchError as error:
            await retrying.pause(error, source.why_not_again)
            on_bytes(0)


class _Counted(AsyncIterator[bytes]):
    """Chunks, counted as they are taken."""

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], on_bytes: Callable[[int], None]
    ) -> None:
        self.chunks = chunks
        self.sent_bytes = 0
        self._on_bytes = on_bytes

    async def __anext__(self) -> bytes:
        self._on_bytes(self.sent_bytes)
        data = await anext(self.chunks)
        self.sent_bytes += len(data)
        return data


async def _receipt(answer: Answer, sent_bytes: int) -> Receipt:
    try:
        members = json.loads(await answer.body(RECEIPT_BYTES))
    except (ValueError, RecursionError):
        members = {}  # another server than ours: its status must do
    if not isinstance(members, dict):
        members = {}
    stored = members.get("bytes", sent_bytes)
    if stored != sent_bytes:
        raise FetchError(
            f"{answer.asked}: {sent_bytes} bytes were sent, {stored!r:.100} are stored"
        )
    return Receipt(answer.status == 201, sent_bytes, answer.etag, members)
