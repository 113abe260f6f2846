"""The player against a real origin and a writer that is moved by hand."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from chunkstore.demo.figures import Figures
from chunkstore.demo.player import Player
from tests.demo.stage import MPD_PATH, Stage, manifest, until


def has_chunks(figures: Figures, count: int) -> bool:
    """Whether players had so many."""
    return figures.chunks == count


async def test_it_has_every_chunk_as_it_comes_and_asks_for_the_next_segment_before_it_is() -> None:
    async with Stage.running() as stage, trio.open_nursery() as nursery:
        figures, metrics = stage.figures, stage.origin.metrics
        player = Player(stage.mpd_url, figures, stage.arrivals)
        nursery.start_soon(player.run)
        await stage.put("/live/i.m4s", b"init")
        await stage.put(MPD_PATH, manifest())
        await until(lambda: figures.readers == 1)
        async with stage.writer("/live/1.m4s") as first:
            for count in (1, 2, 3):
                await first.send_all(b"5\r\nabcde\r\n")
                await until(partial(has_chunks, figures, count))
            assert figures.report().segments == 0
            await first.send_all(b"0\r\n\r\n")
            await until(lambda: figures.report().segments == 1)
        held = metrics.holds_met
        async with stage.writer("/live/2.m4s") as second:
            await second.send_all(b"2\r\nfg\r\n")
            await until(lambda: figures.chunks == 4)
            assert metrics.holds_met == held + 1
            await second.send_all(b"0\r\n\r\n")
            await until(lambda: figures.report().segments == 2)
        report = figures.report()
        assert (report.bytes, report.chunks, report.cut) == (len(b"init") + 17, 4, 0)
        # All but the first were sent when the player was there for sure.
        assert report.timed >= 3
        assert report.p50_ms is not None
        nursery.cancel_scope.cancel()


async def test_a_segment_whose_writer_dies_is_cut_and_not_counted() -> None:
    async with Stage.running() as stage, trio.open_nursery() as nursery:
        figures = stage.figures
        await stage.put("/live/i.m4s", b"")
        await stage.put(MPD_PATH, manifest())
        nursery.start_soon(Player(stage.mpd_url, figures, stage.arrivals).run)
        async with stage.writer("/live/1.m4s") as writer:
            await writer.send_all(b"5\r\nabcde\r\n")
            await until(lambda: figures.chunks == 1)
        await until(lambda: figures.cut == 1)
        assert (figures.report().segments, figures.report().aborted) == (0, 1)
        nursery.cancel_scope.cancel()


async def test_segments_that_never_come_are_missed_up_to_the_one_of_now() -> None:
    async with Stage.running() as stage, trio.open_nursery() as nursery:
        figures = stage.figures
        await stage.put("/live/i.m4s", b"")
        # Names that no policy holds for, of which one more should be there each millisecond.
        await stage.put(MPD_PATH, manifest(segment_s=0.001, age_s=1, extension="bin"))
        nursery.start_soon(Player(stage.mpd_url, figures, stage.arrivals).run)
        await until(lambda: figures.missed >= 2)
        assert figures.report().segments == 0
        nursery.cancel_scope.cancel()


async def test_it_ends_when_the_stream_does() -> None:
    async with Stage.running() as stage, trio.open_nursery() as nursery:
        figures = stage.figures
        await stage.put("/live/i.m4s", b"")
        await stage.put(MPD_PATH, manifest())
        player = Player(stage.mpd_url, figures, stage.arrivals)
        nursery.start_soon(player.run)
        async with stage.writer("/live/1.m4s") as writer:
            await writer.send_all(b"1\r\na\r\n")
            await until(lambda: figures.chunks == 1)
            player.end_soon()
            await writer.send_all(b"1\r\nb\r\n0\r\n\r\n")
            await until(lambda: figures.report().segments == 1)
        # The nursery ends: nothing is asked for any more, and nothing of it was a fault.
    assert (figures.chunks, figures.cut, figures.missed) == (2, 0, 0)


async def test_a_manifest_that_is_none_is_an_error() -> None:
    async with Stage.running() as stage:
        await stage.put(MPD_PATH, manifest()[:-10])
        player = Player(stage.mpd_url, stage.figures, stage.arrivals)
        with pytest.raises(ExceptionGroup) as caught:
            await player.run()
        assert caught.group_contains(ValueError, match="the MPD is no XML document")
