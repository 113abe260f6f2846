"""The runs of ffmpeg that are recorded: each says something about encoders that no other does."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import pytest
import trio

from tests.encoders.recording import Recording, Sink, parse

__all__ = ["LOW_LATENCY_DASH", "RUNS", "Run", "ffmpeg_or_skip", "record", "record_all"]

DEADLINE_S = 60
"""All of them take two seconds; what hangs fails."""
AMID_CHUNKS = 15
"""In the midst of a segment, which has 25 frames: frames come in real time then."""
FRAMES_PER_SEGMENT = 25

_DASH = ["-f", "dash", "-ldash", "1", "-streaming", "1", "-frag_type", "every_frame"]
_DASH += ["-use_template", "1", "-use_timeline", "0", "-seg_duration", "1"]
_DASH += ["-adaptation_sets", "id=0,streams=v id=1,streams=a"]
_HLS = ["-f", "hls", "-hls_time", "1", "-method", "PUT"]
_ENDLESS_MP4 = ["-movflags", "empty_moov+default_base_moof+frag_every_frame"]
_PUT = ["-method", "PUT"]
_PERSISTENT = [*_PUT, "-http_persistent", "1"]
_FORGETTING = ["-window_size", "1", "-extra_window_size", "1"]
# Noise, so that a frame has more bytes than ffmpeg's buffer.
_LARGE = ["-vf", "noise=alls=90:allf=t", "-qp", "8"]


class Run(NamedTuple):
    """How ffmpeg is run.

    Attributes:
        output: the options of the output.
        name: of its file.
        seconds: of media.
        picture: the source of it.
        user: credentials in the URL.
        status: what the sink answers; None: nothing.
        amid: what befalls it in the midst of its first video segment.
    """

    output: Sequence[str]
    name: str = "live.mpd"
    seconds: float = 3
    picture: str = "testsrc2"
    user: str = ""
    status: int | None = 201
    amid: signal.Signals | Literal["closed connection"] | None = None

    def command(self, ffmpeg: str, port: int, *, in_real_time: bool = False) -> list[str]:
        """The command line."""
        pace = ["-re"] if in_real_time else []
        command = [ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin"]
        command += [*pace, "-f", "lavfi", "-i", f"{self.picture}=size=320x180:rate=25"]
        command += [*pace, "-f", "lavfi", "-i", "sine=frequency=220:sample_rate=48000"]
        command += ["-map", "0:v", "-map", "1:a", "-t", str(self.seconds)]
        command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"]
        command += ["-pix_fmt", "yuv420p", "-threads", "1", "-b:v", "300k", "-sc_threshold", "0"]
        command += ["-g", str(FRAMES_PER_SEGMENT), "-keyint_min", str(FRAMES_PER_SEGMENT)]
        command += ["-c:a", "aac", "-b:a", "48k", *self.output]
        return [*command, f"http://{self.user}127.0.0.1:{port}/live/{self.name}"]


LOW_LATENCY_DASH = [*_DASH, *_PERSISTENT]
"""The options of the output that the others are variants of."""
RUNS = {
    "persistent": Run(LOW_LATENCY_DASH),
    "forgetful": Run([*_DASH, *_PERSISTENT, *_FORGETTING], seconds=4),
    "single": Run([*_DASH, *_PUT]),
    "single forgetful": Run([*_DASH, *_PUT, *_FORGETTING], seconds=4),
    "POST": Run(_DASH, seconds=2),
    "credentials": Run(LOW_LATENCY_DASH, seconds=2, user="user:word@"),
    "large frames": Run([*_LARGE, *_DASH, *_PERSISTENT], seconds=0.4),
    "HLS": Run([*_HLS, "-hls_segment_type", "fmp4"], "live.m3u8"),
    "HLS of TS": Run(_HLS, "live.m3u8"),
    "endless TS": Run(["-f", "mpegts", *_PUT], "live.ts"),
    "endless MP4": Run(["-f", "mp4", *_ENDLESS_MP4, *_PUT], "live.mp4"),
    "unanswered": Run(LOW_LATENCY_DASH, status=None),
    "answered 500": Run(LOW_LATENCY_DASH, status=500),
    "closed": Run(LOW_LATENCY_DASH, seconds=60, amid="closed connection"),
    "single closed": Run([*_DASH, *_PUT], seconds=2, amid="closed connection"),
    "SIGINT": Run(LOW_LATENCY_DASH, seconds=60, amid=signal.SIGINT),
    "SIGTERM": Run(LOW_LATENCY_DASH, seconds=60, amid=signal.SIGTERM),
    "SIGKILL": Run(LOW_LATENCY_DASH, seconds=60, amid=signal.SIGKILL),
}
"""By the name that tests know each recording by."""


def ffmpeg_or_skip() -> str:
    """The path of ffmpeg; the test is skipped where there is none."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    try:
        path: str = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        pytest.skip(f"no ffmpeg: {error}")
    return path


def is_amid(raw: bytearray) -> bool:
    """Whether a connection is in the midst of the first video segment."""
    last = parse(raw)[-1:]
    return any(
        one.path.endswith("chunk-stream0-00001.m4s") and len(one.chunks) >= AMID_CHUNKS
        for one in last
    )


async def record(ffmpeg: str, run: Run) -> Recording:
    """What ffmpeg sends in one run, to its end.

    Faster than in real time, which changes no byte but the times in the manifests; only where
    something is to befall it in the midst, it is given the time.
    """
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    process: trio.Process | None = None

    has_befallen = False

    def look(raw: bytearray) -> bool:
        nonlocal has_befallen
        # Once: after a few more signals ffmpeg ends at once.
        if run.amid is None or has_befallen or process is None or not is_amid(raw):
            return True
        has_befallen = True
        if isinstance(run.amid, signal.Signals):
            process.send_signal(run.amid)
            return True
        return False

    sink = Sink(listener, run.status, look)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.run)
        command = run.command(ffmpeg, sink.port, in_real_time=run.amid is not None)
        quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = await nursery.start(partial(trio.run_process, command, check=False, **quiet))
        sink.recording.exit_code = await process.wait()
        await sink.finish()
    return sink.recording


async def record_all(ffmpeg: str) -> dict[str, Recording]:
    """Every run, one beside the other."""
    recordings: dict[str, Recording] = {}

    async def keep(name: str) -> None:
        recordings[name] = await record(ffmpeg, RUNS[name])

    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            for name in RUNS:
                nursery.start_soon(keep, name)
    return recordings
