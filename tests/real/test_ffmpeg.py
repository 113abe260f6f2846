"""A real encoder against a real origin: what it sends is what readers get, chunk by chunk."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest
import trio

from tests.encoders.recording import Sent
from tests.real.parts import (
    MPD_PATH,
    Relay,
    client_of,
    get,
    read_segment,
    real_encoder,
    running_origin,
    segment_path,
    until_live,
)

pytest.importorskip("imageio_ffmpeg")

from chunkstore.client import Client
from chunkstore.demo.encoder import Encoder
from chunkstore.errors import CutError

pytestmark = pytest.mark.real

SECONDS = 10
SEGMENTS = 5
TRACKS = 2
READERS = 3
"""Of each track, beside a late one that comes in the middle of a segment."""
SPLITS_SHARE = 0.05
"""Chunks that may have an additional boundary: bytes that pause for 20 ms are shown at once."""
DEADLINE_S = 90


class Audience:
    """Readers of every segment, and what each of them got."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.got: dict[str, list[tuple[bytes, list[int]]]] = {}

    async def follow(self, track: int) -> None:
        """Follow a track with several readers, each asking for a segment before it exists."""
        async with trio.open_nursery() as nursery:
            for index in range(READERS):
                nursery.start_soon(self._follow, track, nursery if index == 0 else None)

    async def _follow(self, track: int, late: trio.Nursery | None) -> None:
        async with client_of(self._port) as client:
            for number in range(1, SEGMENTS + 1):
                path = segment_path(track, number)

                def on_chunk(count: int, path: str = path) -> None:
                    if late is not None and count == 10:
                        late.start_soon(self._come_late, path)

                await self._read(client, path, on_chunk)

    async def _come_late(self, path: str) -> None:
        async with client_of(self._port) as client:
            await self._read(client, path)

    async def _read(
        self, client: Client, path: str, on_chunk: Callable[[int], None] = lambda count: None
    ) -> None:
        status, body, ends = await read_segment(client, path, on_chunk)
        assert status == 200, path
        self.got.setdefault(path, []).append((body, ends))


@pytest.mark.parametrize("is_persistent", [True, False], ids=["persistent", "not persistent"])
async def test_what_ffmpeg_sends_is_what_readers_get(is_persistent: bool) -> None:
    manifests: list[bytes] = []

    async def look_at_manifest() -> None:
        status, text = await get(port, MPD_PATH)
        assert status == 200 or not manifests
        if status == 200:
            ElementTree.fromstring(text)
            manifests.append(text)

    with trio.fail_after(DEADLINE_S):
        async with running_origin() as port:
            relay = Relay(port, look_at_manifest)
            audience = Audience(port)
            async with trio.open_nursery() as relaying:
                relay_port: int = await relaying.start(relay.run)
                encoder = real_encoder(relay_port, is_persistent=is_persistent, seconds=SECONDS)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(encoder.run)
                    await until_live(port)
                    for track in range(TRACKS):
                        nursery.start_soon(audience.follow, track)
                assert encoder.exit_code == 0, encoder.last_words
                await relay.finish()
            assert relay.statuses() <= {200, 201}
            last = {one.path: one for one in relay.sent() if one.method == "PUT"}
            await hold_against_origin(port, last)
    hold_against_readers(audience, last)
    assert len(manifests) > TRACKS * SEGMENTS  # seen in the midst of each overwrite


async def hold_against_origin(port: int, last: dict[str, Sent]) -> None:
    """The origin has what was sent, all of it and nothing else."""
    _, listed = await get(port, "/?list")
    assert sorted(last) == listed.decode().split()
    for track in range(TRACKS):
        assert f"/live/init-stream{track}.m4s" in last
    for path, sent in last.items():
        assert await get(port, path) == (200, sent.body), path


def hold_against_readers(audience: Audience, last: dict[str, Sent]) -> None:
    """Every reader had every segment whole, in the chunks that the encoder made."""
    names = [segment_path(track, 1 + n) for track in range(TRACKS) for n in range(SEGMENTS)]
    assert sorted(audience.got) == names
    tails = {segment_path(track, 1 + SEGMENTS) for track in range(TRACKS)}
    # Sound may have a few frames more than the picture, in a segment that nobody waited for.
    assert {path for path in last if "chunk" in path} - set(names) <= tails
    chunk_count = split_count = live_count = 0
    for path, readings in audience.got.items():
        assert len(readings) >= READERS, path
        for body, ends in readings:
            assert body == last[path].body, path
            if ends:  # else it came late and got the complete object, with its length
                assert not set(last[path].ends) - set(ends), "a boundary was lost"
                live_count += 1
                chunk_count += len(last[path].ends)
                split_count += len(set(ends) - set(last[path].ends))
    assert live_count >= READERS * (SEGMENTS - 1) * TRACKS
    assert split_count <= chunk_count * SPLITS_SHARE


@pytest.mark.parametrize("is_persistent", [True, False], ids=["persistent", "not persistent"])
async def test_a_killed_ffmpeg_is_seen_as_a_cut(is_persistent: bool) -> None:
    first, second = segment_path(0, 1), segment_path(0, 2)
    with trio.fail_after(DEADLINE_S):
        async with running_origin() as port:
            encoder = real_encoder(port, is_persistent=is_persistent, seconds=60)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(encoder.run)
                await until_live(port)
                async with client_of(port) as client:
                    _, body, _ = await read_segment(client, first)
                assert await kill_while_reading(encoder, port, second) == 2
                await encoder.ended.wait()
            assert encoder.exit_code == -9
            # What was cut is gone, and what was whole is still there.
            assert (await get(port, second))[0] == 404
            assert await get(port, first) == (200, body)
            _, listed = await get(port, "/live/?list")
            assert not re.search(rb"-00002|-00003", listed)


async def kill_while_reading(encoder: Encoder, port: int, path: str) -> int:
    """Kill ffmpeg while two readers follow a segment; how many saw that it was cut."""
    cut_count = 0

    async def read(on_chunk: Callable[[int], None]) -> None:
        nonlocal cut_count
        async with client_of(port) as client:
            with pytest.raises(CutError) as caught:
                await read_segment(client, path, on_chunk)
        # A reset: some clients take a plain close for the end.
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        cut_count += 1

    async with trio.open_nursery() as nursery:

        def on_early_chunk(count: int) -> None:
            if count == 5:
                nursery.start_soon(read, on_late_chunk)

        def on_late_chunk(count: int) -> None:
            if count == 10:
                encoder.kill()

        nursery.start_soon(read, on_early_chunk)
    return cut_count
