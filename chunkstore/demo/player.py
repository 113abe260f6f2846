"""A player without a screen: follows every representation, each segment as it is written."""

from __future__ import annotations

import time

import trio

from chunkstore.client import Answer, Client, parse_url
from chunkstore.demo.arrivals import Arrivals
from chunkstore.demo.figures import Figures
from chunkstore.demo.manifest import Track, parse_manifest
from chunkstore.errors import FetchError

__all__ = ["Player"]

MANIFEST_EVERY_S = 1.0
"""How often the MPD is read again, as players do: representations may be added."""
MANIFEST_WAIT_S = 5
RETRY_S = 0.1
"""Pause after an answer that is no segment, if it came without a wait."""


class Player:
    """Reads what a player would, when it would, and throws it away.

    Args:
        mpd_url: of the stream; http only.
        figures: counts here.
        arrivals: knows when the origin had a chunk.
    """

    def __init__(self, mpd_url: str, figures: Figures, arrivals: Arrivals) -> None:
        self._url = parse_url(mpd_url)
        self._figures = figures
        self._arrivals = arrivals
        self._tracks: dict[str, Track] = {}
        self._is_ending = False

    def end_soon(self) -> None:
        """The stream ends: what the server cuts or doesn't have from now on is no fault."""
        self._is_ending = True

    async def run(self) -> None:
        """Follow the stream until `end_soon` and the end of what is being read.

        Raises:
            ValueError: the MPD is not one: a half one must never be shown.
        """
        async with trio.open_nursery() as nursery, Client(self._url) as client:
            while not self._is_ending:
                for track in await self._read_manifest(client):
                    if track.id not in self._tracks:
                        nursery.start_soon(self._follow, track)
                    self._tracks[track.id] = track
                await trio.sleep(MANIFEST_EVERY_S if self._tracks else RETRY_S)

    async def _read_manifest(self, client: Client) -> list[Track]:
        try:
            wait = [("Prefer", f"wait={MANIFEST_WAIT_S}")]
            answer = await client.request("GET", self._url.path, wait, hold_s=MANIFEST_WAIT_S)
            text = await answer.body()
        except FetchError:
            return []
        return parse_manifest(text, self._url.path) if answer.status == 200 else []

    async def _follow(self, track: Track) -> None:
        """Read a representation: its initialization segment, then one segment after the other."""
        self._figures.readers += 1
        async with Client(self._url) as client:
            if not await self._read(client, track.init_path) and not self._is_ending:
                self._figures.missed += 1
            number = track.number_at(time.time())
            while not self._is_ending:
                # Asked for as soon as the one before has ended: the origin holds the request until
                # the encoder begins the segment.
                path = track.path_of(number)
                asked_s = time.perf_counter()
                if await self._read(client, path):
                    self._figures.whole(path)
                    number += 1
                elif not self._is_ending:
                    number = self._after_missing(track, number)
                    if time.perf_counter() - asked_s < RETRY_S:
                        await trio.sleep(RETRY_S)

    def _after_missing(self, track: Track, number: int) -> int:
        """What to ask for next: the same again as long as it can still come."""
        if number >= track.number_at(time.time()):
            return number
        self._figures.missed += 1
        return number + 1

    async def _read(self, client: Client, path: str) -> bool:
        """Read a segment; whether it came, whole."""
        asked_s = time.perf_counter()
        try:
            answer = await client.request("GET", path)
        except FetchError:
            return False
        try:
            if answer.status != 200:
                await answer.body()
                return False
            await self._read_body(answer, asked_s)
        except FetchError:
            if not self._is_ending:
                self._figures.cut += 1
            return False
        return True

    async def _read_body(self, answer: Answer, asked_s: float) -> None:
        size_bytes = 0
        while (piece := await answer.piece()) is not None:
            size_bytes += len(piece.data)
            now_s = self._figures.received(len(piece.data), is_chunk_end=piece.is_chunk_end)
            if piece.is_chunk_end:
                arrived_s = self._arrivals.arrived_s(answer.etag, size_bytes)
                if arrived_s is not None and arrived_s >= asked_s:
                    self._figures.latencies.add(now_s - arrived_s)
