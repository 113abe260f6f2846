"""ffmpeg killed in the midst of a segment and started again, with readers at the live edge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.encoders.ffmpeg import LOW_LATENCY_DASH, Run, ffmpeg_or_skip, record
from tests.encoders.recording import Recording, Sent
from tests.real.parts import MPD_PATH, client_of, get, running_origin, segment_path, until_live

pytest.importorskip("imageio_ffmpeg")

from chunkstore.demo.encoder import Encoder
from chunkstore.errors import CutError

pytestmark = pytest.mark.real

DEADLINE_S = 90
KILL_AFTER_CHUNKS = 15
SEGMENTS = 3
BEFORE = Run(LOW_LATENCY_DASH, "test.mpd", seconds=60)
AFTER = Run(LOW_LATENCY_DASH, "test.mpd", seconds=SEGMENTS)
SETTINGS = """
hold_cap = "30s"
[[policies]]
match = "/live/"
hold = "30s"
abort_grace = "30s"
"""
"""However long ffmpeg takes to start on a busy machine: nothing here is about how fast it does."""


class Reader:
    """Reads one object to its end, or to where it is cut.

    Attributes:
        path: of the object.
        status: of the answer, which is asked for once.
        body: what came of it.
        ending: how it ended: "whole", "reset" or "closed", which some clients take for whole.
    """

    def __init__(self, port: int, path: str) -> None:
        self.path = path
        self.status = 0
        self.body = b""
        self.ending = ""
        self._port = port

    @property
    def has_ended(self) -> bool:
        """Nothing more comes."""
        return self.ending != ""

    async def read(self, on_chunk: Callable[[int], None] = lambda count: None) -> None:
        """Read; `on_chunk` is called with the number of chunks after each."""
        count = 0
        async with client_of(self._port) as client:
            answer = await client.request("GET", self.path)
            self.status = answer.status
            try:
                while (piece := await answer.piece()) is not None:
                    self.body += piece.data
                    count += piece.is_chunk_end
                    on_chunk(count)
                self.ending = "whole"
            except CutError as error:
                was_reset = isinstance(error.__cause__, trio.BrokenResourceError)
                self.ending = "reset" if was_reset else "closed"


async def first_of(ffmpeg: str, run: Run) -> Recording:
    """What a run sends in its first seconds; the same each time, but for the manifests."""
    return await record(ffmpeg, run._replace(seconds=SEGMENTS))


def named(recording: Recording, path: str) -> Sent:
    """The last request for a path."""
    return [one for one in recording.sent if one.path == path][-1]


@pytest.mark.parametrize("picture", ["testsrc2", "testsrc"], ids=["same bytes", "other bytes"])
async def test_killed_and_started_again_in_mid_segment(tmp_path: Path, picture: str) -> None:
    ffmpeg = ffmpeg_or_skip()
    after = AFTER._replace(picture=picture)
    config = tmp_path / "settings.toml"
    config.write_text(SETTINGS, encoding="utf-8")
    path = segment_path(0, 1)
    with trio.fail_after(DEADLINE_S):
        broken = named(await first_of(ffmpeg, BEFORE), path)
        sent = await first_of(ffmpeg, after)
        retried = named(sent, path)
        assert (broken.body == retried.body) is (picture == BEFORE.picture)
        async with running_origin("--config", str(config)) as port:
            reader = Reader(port, path)
            # Of the retry: one who comes while nothing is there, and goes from segment to segment.
            newcomers = [Reader(port, segment_path(0, 1 + n)) for n in range(SEGMENTS)]
            first = Encoder(BEFORE.command(ffmpeg, port, in_real_time=True))
            second = Encoder(after.command(ffmpeg, port, in_real_time=True))

            def on_chunk(count: int) -> None:
                if count == KILL_AFTER_CHUNKS:
                    first.kill()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.run)
                await until_live(port)
                nursery.start_soon(reader.read, on_chunk)
                await first.ended.wait()
                assert first.exit_code == -9
                while path in await listed(port):  # until the origin knows, too
                    pass
                assert not reader.has_ended  # it waits for the retry
                nursery.start_soon(second.run)
                for newcomer in newcomers:
                    await newcomer.read()
            assert second.exit_code == 0, second.last_words
            await hold_against_origin(port, sent)
    if picture == BEFORE.picture:
        assert (reader.ending, reader.body) == ("whole", retried.body)
    else:
        assert reader.ending == "reset"
        assert broken.body.startswith(reader.body)  # and not a byte of the retry
        assert len(reader.body) >= broken.ends[KILL_AFTER_CHUNKS - 1]
    for newcomer in newcomers:
        assert (newcomer.status, newcomer.ending) == (200, "whole")
        assert newcomer.body == named(sent, newcomer.path).body


async def hold_against_origin(port: int, sent: Recording) -> None:
    """The origin has what the second run sent, and of the first one nothing."""
    paths = {one.path for one in sent.sent}
    assert await listed(port) == sorted(paths)
    for path in paths - {MPD_PATH}:  # its times are those of another run
        assert await get(port, path) == (200, named(sent, path).body)


async def listed(port: int) -> list[str]:
    """What there is."""
    _, lines = await get(port, "/live/?list")
    return lines.decode().split()
