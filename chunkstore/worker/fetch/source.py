"""One answer to a GET, wherever redirects lead; on connections that are kept for the next."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urljoin

import trio

from chunkstore.client import Answer, Client, Connect, Timeouts, Url, parse_url
from chunkstore.errors import FetchError

__all__ = ["REDIRECTS_MAX", "Sources"]

REDIRECTS_MAX = 5
REDIRECT_BYTES = 64 * 1024
"""Of the body of a redirect, which nobody reads, so much is for keeping the connection."""
IDLE_MAX = 16
"""Connections that are kept although they carry nothing, of all hosts together."""
IDLE_S = 15.0
_AS_IT_IS = ("Accept-Encoding", "identity")
"""Nothing here undoes a compression; without the field any would do (RFC 9110 section 12.5.3)."""
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class Sources(trio.abc.AsyncResource):
    """Asks servers.

    Args:
        connect: makes a connection.
        timeouts: how long to wait for something to move.
    """

    def __init__(self, connect: Connect, timeouts: Timeouts) -> None:
        self._connect = connect
        self._timeouts = timeouts
        self._idle: deque[tuple[float, tuple[str, str, int], Client]] = deque()

    @asynccontextmanager
    async def get(
        self, url: Url, fields: Sequence[tuple[str, str]]
    ) -> AsyncGenerator[Answer, None]:
        """Have an answer that is no redirect, for as long as the context lasts.

        Args:
            fields: sent to whoever is asked.
        Raises:
            FetchError: too many redirects, or one that leads where none may; as `Client.request`.
        Cancellation: its connection is closed, and no other one is touched.
        """
        asked = url
        for _ in range(REDIRECTS_MAX + 1):
            client = await self._client(url)
            try:
                answer = await client.request("GET", url.target, [_AS_IT_IS, *fields])
                if answer.status not in _REDIRECTS:
                    yield answer
                    return
                location = answer.fields.get("location", "")
                with suppress(FetchError):  # then its connection is of no more use
                    await answer.body(REDIRECT_BYTES)
            finally:
                await self._put_back(url, client)
            url = _followed(url, location)
        raise FetchError(f"GET {asked}: more than {REDIRECTS_MAX} redirects, the last to {url}")

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.popleft()[2].aclose()

    async def _client(self, url: Url) -> Client:
        while self._idle and self._idle[0][0] < trio.current_time() - IDLE_S:
            await self._idle.popleft()[2].aclose()
        for row in reversed(self._idle):
            if row[1] == (url.scheme, url.host, url.port) and not url.authorization:
                self._idle.remove(row)
                if row[2].is_ready:
                    return row[2]
                await row[2].aclose()
                break
        return Client(url, timeouts=self._timeouts, connect=self._connect)

    async def _put_back(self, url: Url, client: Client) -> None:
        if client.is_ready and not url.authorization and len(self._idle) < IDLE_MAX:
            host = url.scheme, url.host, url.port
            self._idle.append((trio.current_time(), host, client))
        else:
            await client.aclose()


def _followed(url: Url, location: str) -> Url:
    """Where a redirect leads (RFC 9110 section 10.2.2); credentials stay behind."""
    try:
        target = parse_url(urljoin(str(url), location))
    except ValueError as error:
        raise FetchError(f"GET {url}: a redirect to {location[:200]!r}: {error}") from None
    if url.scheme == "https" and target.scheme != "https":
        raise FetchError(f"GET {url}: a redirect from https to http, {target}")
    return target
