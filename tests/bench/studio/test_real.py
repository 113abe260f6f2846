"""A real ffmpeg: its stream packaged and published, and its uploads cut."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from bench.studio.fmp4 import Cutter, Fragment
from bench.studio.packager import Form, Packager
from bench.studio.proxy import CuttingProxy, Kind
from bench.studio.publisher import carry, publishing
from chunkstore.client import Client, Url
from chunkstore.playlist import parse_playlist
from tests.bench.studio.shelf import Shelf, parts_of
from tests.real.parts import MPD_PATH, read_segment, running_origin

pytest.importorskip("imageio_ffmpeg")

import imageio_ffmpeg

from chunkstore.demo.encoder import Encoder, ffmpeg_command

pytestmark = pytest.mark.real

DEADLINE_S = 60
WAIT = [("Prefer", "wait=5")]
FRAMES, GOP, RATE = 75, 25, 25
START = datetime(2030, 1, 2, tzinfo=UTC)


def ffmpeg(flags: str, *, is_live: bool = False) -> list[str]:
    """The command line of an encoder that writes a fragmented MP4 to its stdout."""
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        pytest.skip(f"no ffmpeg: {error}")
    command = [program, "-hide_banner", "-loglevel", "error", "-nostdin"]
    command += ["-re"] if is_live else []
    command += ["-f", "lavfi", "-i", f"testsrc2=size=160x90:rate={RATE}", "-frames:v", str(FRAMES)]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1"]
    command += ["-pix_fmt", "yuv420p", "-g", str(GOP), "-keyint_min", str(GOP)]
    command += ["-sc_threshold", "0", "-f", "mp4", "-movflags", flags, "pipe:1"]
    return command


def encoded(flags: str) -> bytes:
    """A whole stream."""
    return subprocess.run(ffmpeg(flags), capture_output=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("flags", "frames_each"),
    [
        ("frag_every_frame+empty_moov+default_base_moof", 1),
        ("cmaf+frag_every_frame", 1),
        ("frag_keyframe+empty_moov+default_base_moof", GOP),
    ],
)
def test_what_ffmpeg_writes_is_read(flags: str, frames_each: int) -> None:
    data = encoded(flags)
    cutter = Cutter()
    _, *fragments = cutter.feed(data)
    assert [type(one) for one in fragments] == [Fragment] * (FRAMES // frames_each)
    assert all(isinstance(one, Fragment) for one in fragments)
    found = [one for one in fragments if isinstance(one, Fragment)]
    assert [n for n, one in enumerate(found) if one.is_independent] == list(
        range(0, FRAMES // frames_each, GOP // frames_each)
    )
    assert all(b.decode_time == a.decode_time + a.duration for a, b in pairwise(found))


@pytest.mark.parametrize("form", Form)
def test_any_pieces_of_ffmpegs_stream_give_the_same_parts(form: Form) -> None:
    data = encoded("frag_every_frame+empty_moov+default_base_moof")
    whole = Packager(form, START, segment_s=1.0, part_s=0.2)
    steps = [*whole.feed(data), *whole.finish()]
    for size in (1, 7, 1000, 4096):
        cut = Packager(form, START, segment_s=1.0, part_s=0.2)
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        assert [*(step for piece in pieces for step in cut.feed(piece)), *cut.finish()] == steps
    shelf = Shelf()
    shelf.carry_out(steps)
    playlist, _ = shelf.versions[-1]
    read = parse_playlist(playlist)
    assert read is not None
    assert (read.part_counts, read.part_target_s, read.has_ended) == ((5, 5, 5), 0.2, True)
    independent = [part.is_independent for part in parts_of(playlist)]
    assert independent == [True, False, False, False, False] * 3


@pytest.mark.parametrize("kind", Kind)
async def test_a_live_stream_is_whole_in_spite_of_cuts(kind: Kind, tmp_path: Path) -> None:
    """ffmpeg's pipe, packaged and published through the proxy; a player follows by its playlist."""
    # Whether the retry comes within the default's second is the machine's business.
    patient = tmp_path / "chunkstore.toml"
    patient.write_text('[[policies]]\nmatch = "/live/"\nabort_grace = "20s"\n')
    packager = Packager(Form.RANGES, START, segment_s=1.0, part_s=0.2)
    command = ffmpeg("frag_every_frame+empty_moov+default_base_moof", is_live=True)
    with trio.fail_after(DEADLINE_S):
        options = ("--config", str(patient))
        async with running_origin(*options) as origin_port, trio.open_nursery() as nursery:
            proxy = CuttingProxy(origin_port)
            port: int = await nursery.start(proxy.run)
            process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
            try:
                assert process.stdout is not None
                async with process.stdout, publishing("127.0.0.1", port, "/live/") as publisher:
                    async with trio.open_nursery() as following:
                        got: list[bytes] = []
                        following.start_soon(follow, origin_port, got)
                        following.start_soon(cut_some, proxy, kind)
                        await carry(process.stdout, packager, publisher)
                assert await process.wait() == 0
            finally:
                with trio.CancelScope(shield=True):
                    if process.returncode is None:
                        process.kill()
                    await process.wait()
            assert publisher.tally.retries == len(proxy.cuts) == 3
            assert publisher.tally.given_up == []
            nursery.cancel_scope.cancel()
    cutter = Cutter()
    assert len(cutter.feed(b"".join(got))) == 1 + FRAMES


async def cut_some(proxy: CuttingProxy, kind: Kind) -> None:
    """Three cuts, at different places of segments."""
    for at in (1, 5_000, 20_000):
        await proxy.cut(kind, at=at)


async def follow(port: int, got: list[bytes]) -> None:
    """The init segment, and the segments while they are written; none of them may be cut."""
    async with Client(Url("http", "127.0.0.1", port, "/")) as client:
        for name in ("init.mp4", *(f"seg{n}.m4s" for n in range(FRAMES // GOP))):
            path = f"/live/{name}"
            while (answer := await client.request("GET", path, WAIT)).status != 200:
                await answer.body()
            got.append(await answer.body())


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("is_persistent", [True, False], ids=["persistent", "not persistent"])
async def test_ffmpegs_own_uploads_are_cut_and_it_goes_on(is_persistent: bool, kind: Kind) -> None:
    """It doesn't retry: what was cut is lost. What it sends on a new connection is whole.

    With persistent connections it sees the break only when it opens the next segment, and loses
    that one too.
    """
    next_whole = 3 if is_persistent else 2
    with trio.fail_after(DEADLINE_S):
        async with running_origin() as origin_port, trio.open_nursery() as nursery:
            proxy = CuttingProxy(origin_port, is_wanted=lambda path: "chunk-stream0" in path)
            port: int = await nursery.start(proxy.run)
            encoder = dash_encoder(port, is_persistent=is_persistent)
            nursery.start_soon(encoder.run)
            cut = await proxy.cut(kind, at=10_000)
            assert (cut.path, cut.kind) == ("/live/chunk-stream0-00001.m4s", kind)
            assert cut.offset >= 10_000
            async with Client(Url("http", "127.0.0.1", origin_port, "/")) as client:
                answer = await client.request("GET", "/live/init-stream0.m4s", WAIT)
                assert answer.status == 200
                head = await answer.body()
                _, body, _ = await read_segment(client, f"/live/chunk-stream0-0000{next_whole}.m4s")
            assert len(Cutter().feed(head + body)) == 1 + 2 * RATE
            assert not encoder.ended.is_set(), encoder.last_words
            encoder.stop()
            await encoder.ended.wait()
            nursery.cancel_scope.cancel()


def dash_encoder(port: int, *, is_persistent: bool) -> Encoder:
    """The demo's ffmpeg, that goes on when an upload broke."""
    command = ffmpeg_command(f"http://127.0.0.1:{port}{MPD_PATH}")
    command[command.index("-http_persistent") + 1] = str(int(is_persistent))
    return Encoder([*command[:-1], "-ignore_io_errors", "1", command[-1]])
