"""LL-HLS blocking reload: a GET of a playlist that waits for its next version.

The encoder PUTs plain playlists; what they contain says whether a request for a later one may wait.

Source: draft-pantos-hls-rfc8216bis section 6.2.5.2.
"""

from __future__ import annotations

from collections import OrderedDict
from urllib.parse import parse_qsl

from chunkstore.errors import PathError
from chunkstore.live import Catalog, Visit
from chunkstore.objects import Generation
from chunkstore.paths import parse_key
from chunkstore.playlist import PLAYLIST_BYTES, MediaPlaylist, parse_playlist
from chunkstore.server import Exchange
from chunkstore.wire import field_block

__all__ = ["BlockingReload"]

TARGETS = 3
"""A playlist that gets no new version for so many target durations has stopped: 503."""
HOLD_MAX_S = 60.0
"""Nobody waits longer, whatever the playlist says its target duration is."""
MEMO_COUNT = 256
"""Playlists whose reading is remembered: a thousand players ask for the same version."""
_RETRY = field_block([("Retry-After", "1")])


class BlockingReload:
    """Holds requests with `_HLS_msn` until the stored playlist has what they ask for.

    Args:
        catalog: where the playlists are.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._memo: OrderedDict[int, MediaPlaylist | None] = OrderedDict()

    async def admit(self, exchange: Exchange) -> bool:
        """Let a GET wait, if it is a blocking reload.

        Returns:
            whether it may be answered now with what is there; False if it was refused.
        Raises:
            StoreError: what is there can't be read.
        Cancellation: nothing remains.
        """
        try:
            key = parse_key(exchange.request.path)
        except PathError:
            return True  # refused by whoever answers
        generation = self._catalog.namespace.visible(key)
        if generation is not None and not generation.is_open:
            with Visit(self._catalog, generation):
                await self._catalog.fill(generation)
        playlist = self._blocking(generation)
        if playlist is None:
            return True
        try:
            asked = _asked(exchange.request.query)
        except ValueError as error:
            await exchange.refuse(400, str(error))
            return False
        if asked is None or playlist.has(*asked):
            return True
        if detail := playlist.why_too_far(*asked):
            await exchange.refuse(400, detail)
            return False
        hold_s = min(TARGETS * playlist.target_s, HOLD_MAX_S)
        if not await self._wait(key, asked, hold_s):
            detail = "the playlist got no such version in time; its encoder may have stopped"
            if not self._catalog.holds.can_wait:
                detail = self._catalog.holds.why_not_wait
            await exchange.refuse(503, detail, _RETRY)
            return False
        return True

    async def _wait(self, key: str, asked: tuple[int, int | None], hold_s: float) -> bool:
        def is_there() -> bool:
            generation = self._catalog.namespace.visible(key)
            if generation is not None and generation.is_open:
                return False  # a version that shows while it is written: wait for its end
            playlist = self._blocking(generation)
            return playlist is None or playlist.has(*asked)

        return self._catalog.holds.can_wait and await self._catalog.holds.wait_until(
            key, is_there, hold_s
        )

    def _blocking(self, generation: Generation | None) -> MediaPlaylist | None:
        """The playlist that a generation is, if it is one whose next version may be waited for."""
        if generation is None or generation.is_open:
            return None
        if generation.id not in self._memo:
            size = generation.ring.size_bytes
            is_short = size <= PLAYLIST_BYTES
            if is_short and generation.ring.base:
                return None  # memory has no room for it: nothing is known
            data = b"".join(generation.ring.views(0, size)) if is_short else b""
            self._memo[generation.id] = parse_playlist(data)
            if len(self._memo) > MEMO_COUNT:
                self._memo.popitem(last=False)
        playlist = self._memo[generation.id]
        is_blocking = playlist and playlist.can_block_reload and not playlist.has_ended
        return playlist if is_blocking else None


def _asked(query: str) -> tuple[int, int | None] | None:
    """The segment and the part that a query asks for; None if it asks for none.

    Raises:
        ValueError: with a sentence for the client.
    """
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    msn, part = (_index(pairs, name) for name in ("_HLS_msn", "_HLS_part"))
    if msn is None and part is not None:
        raise ValueError("_HLS_part needs _HLS_msn beside it")
    return None if msn is None else (msn, part)


def _index(pairs: dict[str, str], name: str) -> int | None:
    text = pairs.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ValueError(f"{name} must be a whole number below 2^63, not {text[:40]!r}")
    return int(text)
