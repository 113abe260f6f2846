"""An answer: its head, its body piece by piece, and what its status means."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple

import trio

from chunkstore.errors import FetchError, StatusError
from chunkstore.wire import REASONS, parse_http_date

__all__ = ["DETAIL_CHARS", "Answer", "Piece", "expect", "joined"]

BODY_BYTES = 16 * 2**20
"""Longest body that is read whole: a page of a listing, a receipt."""
PROBLEM_BYTES = 64 * 1024
PROBLEM_S = 30.0
"""So long a sentence may take, even if its bytes keep coming."""
DETAIL_CHARS = 300
"""Of a server's own words so much is shown."""


class Piece(NamedTuple):
    """Some of a body: at most one HTTP chunk, and whether it is the end of that chunk."""

    data: bytes
    is_chunk_end: bool


class Answer:
    """The head of an answer, and its body as it comes; to be read before the next request.

    Args:
        asked: method and target, for messages.
        status: of the answer.
        fields: lower-case names; several lines of one are joined with ", ".
        receive: gives the body's next piece, None at its end.
        receive_some: gives at most so many of its next bytes, none at its end; told of how many it
            is of use to wake up for.
        trailers: what the receiver fills in at the body's end.

    Attributes:
        trailers: as `fields`, of what came behind the body's last chunk; empty until `piece` has
            given None. A server may send some to who asks for them with `TE: trailers`.
    """

    def __init__(
        self,
        asked: str,
        status: int,
        fields: Mapping[str, str],
        receive: Callable[[], Awaitable[Piece | None]],
        receive_some: Callable[[int, int], Awaitable[bytes]],
        trailers: Mapping[str, str],
    ) -> None:
        self.asked = asked
        self.status = status
        self.fields = fields
        self.trailers = trailers
        self._receive = receive
        self._receive_some = receive_some

    @property
    def etag(self) -> str:
        """The ETag field, or ""."""
        return self.fields.get("etag", "")

    @property
    def length(self) -> int | None:
        """The Content-Length, or None."""
        text = self.fields.get("content-length")
        return None if text is None else int(text)

    @property
    def retry_after_s(self) -> float | None:
        """How long the server asks to wait, or None (RFC 9110 section 10.2.3)."""
        text = self.fields.get("retry-after", "")
        if text.isascii() and text.isdigit():
            return float(text[:9])
        when_s = parse_http_date(text)
        return None if when_s is None else max(0.0, when_s - time.time())

    async def piece(self) -> Piece | None:
        """The next piece of the body; None at its end, if it is whole.

        Raises:
            CutError: the connection ended first, or the body has no end but the connection's.
            StalledError: nothing came for as long as the client waits.
            FetchError: what came is not HTTP.
        Cancellation: the connection is closed.
        """
        return await self._receive()

    async def some(self, limit_bytes: int, *, least_bytes: int = 1) -> bytes:
        """The next bytes of a body whose length the head says; none at its end.

        It costs a third of `piece`, and leaves out where HTTP's chunks are. A body is read in
        one of both ways.

        Args:
            limit_bytes: most that are wanted, at least 1.
            least_bytes: it is of no use to wake up before so many are there, these and what follows
                them; fewer may be given all the same.
        Raises: as `piece`; FetchError also: the head says no length.
        Cancellation: as `piece`.
        """
        return await self._receive_some(limit_bytes, least_bytes)

    async def body(self, limit_bytes: int = BODY_BYTES) -> bytes:
        """The rest of the body, to its end. As `piece`; a longer one is a `FetchError`."""
        pieces: list[bytes] = []
        size_bytes = 0
        while (piece := await self._receive()) is not None:
            size_bytes += len(piece.data)
            if size_bytes > limit_bytes:
                raise FetchError(f"{self.asked}: the answer has more than {limit_bytes} bytes")
            pieces.append(piece.data)
        return b"".join(pieces)


async def expect(answer: Answer, *statuses: int) -> None:
    """Hold an answer's status against those that are good.

    Raises:
        StatusError: it has another one; its sentence is the server's, if that gave one.
    Cancellation: the connection is closed.
    """
    if answer.status in statuses:
        return
    body = b""
    with trio.move_on_after(PROBLEM_S), suppress(FetchError):
        body = await answer.body(PROBLEM_BYTES)  # the status is what matters, and it has come
    phrase = REASONS.get(answer.status) or _PHRASES.get(answer.status, "")
    words = [f"{answer.status} {phrase}".strip(), _detail(body)]
    if 300 <= answer.status < 400:
        place = answer.fields.get("location", "?")[:DETAIL_CHARS]
        words.append(f"redirects are not followed, here to {place!r}")
    sentence = ": ".join([answer.asked, *filter(None, words)])
    raise StatusError(answer.status, sentence, answer.retry_after_s)


# Of the statuses that this program never answers with.
_PHRASES = {int(status): status.phrase for status in HTTPStatus}


def _detail(body: bytes) -> str:
    """The sentence of a problem document (RFC 9457), fit to be shown on a terminal."""
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    detail = members.get("detail") if isinstance(members, dict) else None
    if not isinstance(detail, str):
        return ""
    return "".join(c if c.isprintable() else "?" for c in detail[:DETAIL_CHARS])


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Fields by name; several lines of one are joined."""
    names: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        names[key] = f"{names[key]}, {text}" if key in names else text
    return names
