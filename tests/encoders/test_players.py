"""Players at the live edge of what ffmpeg sends, in the time it takes, by a clock that jumps."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio

from tests.encoders.recording import Recording, Sent, parse
from tests.encoders.replay import Encoder, ends_of
from tests.origin.drive import Answer, Site, frame

pytestmark = pytest.mark.real

FRAME_S = 0.04


async def encode(encoder: Encoder) -> None:
    """Send each request's chunks in the time that the frames in them take."""
    for one in parse(encoder.raw):
        at = one.body_start
        for chunk in one.chunks:
            at += len(frame(chunk))
            await encoder.send(at)
            await trio.sleep(FRAME_S)
        await encoder.send(one.end)


@pytest.mark.parametrize("early_s", [0.0, 0.05, 0.5, 1.5])
async def test_the_next_segment_asked_for_early_is_held_and_comes_chunk_by_chunk(
    recordings: Mapping[str, Recording], site: Site, early_s: float
) -> None:
    encoder = Encoder(site, recordings["persistent"].connections[0])
    _, *segments = parse(encoder.raw)
    got: dict[str, Answer] = {}

    async def ask(one: Sent, due_s: float) -> None:
        await trio.sleep_until(due_s)
        got[one.path] = await site.get(one.path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(encode, encoder)
        await trio.sleep(FRAME_S)  # the init segment is there, and the first one begins
        began_s = now_s = trio.current_time()
        for one in segments:
            nursery.start_soon(ask, one, max(began_s - early_s, now_s))
            began_s += len(one.chunks) * FRAME_S
    for one in segments:
        answer = got[one.path]
        assert (answer.status, answer.is_whole, answer.body) == (200, True, one.body)
        assert ends_of(answer) == one.ends
    assert not site.origin.metrics.responses[404]
