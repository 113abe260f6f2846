"""A camera and ffmpeg behind it: frames with a clock, in real time, encoded and PUT as LL-DASH.

The camera is a thread that paints a frame when it is due and writes it to ffmpeg's pipe. The time
in the picture is the time at which the frame was *due*: if the camera or the encoder is late, that
is part of the latency and never hidden; how late the camera was is reported beside it. So frame n
always belongs n frame times after the first, and no clock drifts against another.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.build import BenchError
from bench.interrupts import hold_signals
from bench.studio.clock import HEIGHT, WIDTH, paint

__all__ = ["FRAMES_PER_S", "Encoder", "dash_command", "encode", "pipe_command"]

FRAMES_PER_S = 30
LAST_LINES = 20
LINE_CHARS = 300
GRACE_S = 3.0
"""How long ffmpeg may take to end its uploads once the camera is off; then it is killed."""
BACKLOG_S = 2.0
"""An encoder that is further behind than this won't catch up."""
_ERROR = re.compile(r"\[(error|fatal|panic)\]")
_HARMLESS = "Cannot use rename on non file protocol"  # said once by every ffmpeg that PUTs DASH


def dash_command(mpd_url: str, segment_s: float) -> list[str]:
    """The command line of ffmpeg that takes the camera's frames and PUTs them as LL-DASH.

    A fragment, and with it an HTTP chunk, is a frame. There is no sound: with it the players
    wait for two buffers, and the clock is in the picture alone.

    Raises:
        BenchError: there is no ffmpeg for this machine.
    """
    command = [*_encode_command(segment_s), "-f", "dash", "-ldash", "1", "-streaming", "1"]
    command += ["-frag_type", "every_frame", "-use_template", "1", "-use_timeline", "0"]
    command += ["-seg_duration", f"{segment_s:g}", "-window_size", "20"]
    command += ["-extra_window_size", "20"]
    command += ["-http_persistent", "1", "-method", "PUT", "-timeout", "10"]
    # One that ends when a connection breaks tells nothing about what its readers see.
    command += ["-ignore_io_errors", "1", mpd_url]
    return command


def pipe_command(segment_s: float) -> list[str]:
    """... that writes a fragmented MP4 to its standard output, a fragment a frame."""
    command = [*_encode_command(segment_s), "-f", "mp4", "-flush_packets", "1"]
    return [*command, "-movflags", "frag_every_frame+empty_moov+default_base_moof", "pipe:1"]


def _encode_command(segment_s: float) -> list[str]:
    try:
        import imageio_ffmpeg
    except ImportError:
        raise BenchError("imageio-ffmpeg is missing (it comes with the extra `bench`)") from None
    try:
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise BenchError(f"no ffmpeg: {error}") from error
    gop = str(round(segment_s * FRAMES_PER_S))
    command = [ffmpeg, "-hide_banner", "-loglevel", "level+warning", "-nostats"]
    # It knows all it must: to look at the first frames before it begins would only be late.
    command += ["-probesize", "32", "-analyzeduration", "0"]
    command += ["-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", f"{WIDTH}x{HEIGHT}"]
    command += ["-framerate", str(FRAMES_PER_S), "-i", "pipe:0"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0"]
    command += ["-threads", "1", "-b:v", "1000k", "-maxrate", "1000k", "-bufsize", "250k"]
    command += ["-g", gop, "-keyint_min", gop, "-sc_threshold", "0"]
    return command


@dataclass
class Encoder:
    """A camera and the ffmpeg that it feeds.

    Attributes:
        began_ms: when the first frame was taken, in ms since 1970; once `has_begun`.
        frames: handed over up to now.
        late_ms: of each frame, how long after it was due it was handed over.
        lines: the last ones of ffmpeg's stderr.
        errors: those of them that say more than a warning.
    """

    process: subprocess.Popen[bytes]
    frames: int = 0
    late_ms: list[float] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    failure: str = ""
    began_ms: float = 0.0
    has_begun: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def seconds(self) -> float:
        """How long the stream is by now."""
        return self.frames / FRAMES_PER_S

    def check(self) -> None:
        """Raises BenchError if the camera or ffmpeg has ended."""
        code = self.process.poll()
        if code is not None or self.failure:
            said = self.lines[-1] if self.lines else "nothing"
            what = self.failure or f"ended with code {code}"
            raise BenchError(f"the encoder {what}, its last line: {said}")

    def film(self) -> None:
        """Hand over frames, each when it is due, until it is over."""
        pipe = self.process.stdin
        assert pipe is not None
        try:
            # ffmpeg takes it once it has started: from then on the camera's clock runs.
            pipe.write(paint(_now_ms(), 0))
            pipe.flush()
            began_s, self.began_ms = time.perf_counter(), time.time() * 1000
            self.has_begun.set()
            for index in range(1, 1 << 40):
                due_s = index / FRAMES_PER_S
                left_s = began_s + due_s - time.perf_counter()
                if self.is_over.wait(max(0.0, left_s)):
                    break
                pipe.write(paint(int(self.began_ms + due_s * 1000), index))
                pipe.flush()
                self.frames = index
                late_s = time.perf_counter() - began_s - due_s
                self.late_ms.append(late_s * 1000)
                if late_s > BACKLOG_S:
                    self.failure = f"is {late_s:.1f} s behind the camera"
                    break
        except OSError:
            pass  # it has ended, or was ended: `check` says so
        finally:
            with contextlib.suppress(OSError):
                pipe.close()

    def listen(self) -> None:
        """Keep what ffmpeg says, until it has ended."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            text = line.decode("utf-8", "replace").strip()[:LINE_CHARS]
            self.lines.append(text)
            if _ERROR.search(text) and _HARMLESS not in text:
                self.errors.append(text)


@contextlib.contextmanager
def encode(command: Sequence[str], *, is_piped: bool = False) -> Iterator[Encoder]:
    """Films and encodes for the length of the block.

    Args:
        command: argv of an ffmpeg that takes raw frames from its standard input.
        is_piped: what it writes is read from `process.stdout`; whoever does so reads to its end.
    Raises:
        BenchError: it can't be started.
    """
    with contextlib.ExitStack() as stack:
        with hold_signals():
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE if is_piped else subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C ends the run, and the run ends the encoder
                )
            except OSError as error:
                raise BenchError(f"can't start {command[0]}: {error.strerror}") from error
            encoder = Encoder(process)
            threads = [
                threading.Thread(target=job, daemon=True) for job in (encoder.film, encoder.listen)
            ]
            for thread in threads:
                thread.start()
            stack.callback(_end, encoder, threads)
        yield encoder


def _end(encoder: Encoder, threads: Sequence[threading.Thread]) -> None:
    with hold_signals():
        encoder.is_over.set()
        try:
            encoder.process.wait(GRACE_S)  # its standard input has ended
        except subprocess.TimeoutExpired:
            encoder.process.kill()
            encoder.process.wait()
        for thread in threads:
            thread.join()
        for pipe in (encoder.process.stdout, encoder.process.stderr):
            if pipe is not None:
                pipe.close()


def _now_ms() -> int:
    return int(time.time() * 1000)
