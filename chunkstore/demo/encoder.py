"""ffmpeg as a child process: a moving picture with a clock, PUT as LL-DASH in real time."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Sequence

import imageio_ffmpeg
import trio

from chunkstore.errors import ChunkstoreError

__all__ = ["FRAMES_PER_S", "Encoder", "EncoderError", "ffmpeg_command"]

GRACE_S = 3.0
"""How long ffmpeg may take to end its uploads after SIGTERM; then it is killed."""
LAST_LINES = 3
LINE_BYTES = 300
"""What is kept of its stderr: the last lines, and so much of each."""

FRAMES_PER_S = 25
_SEGMENT_S = 2
FRAMES_PER_SEGMENT = FRAMES_PER_S * _SEGMENT_S


class EncoderError(ChunkstoreError):
    """The encoder could not be started, ended, or sends nothing.

    Args:
        detail: what happened, with the encoder's last words if it had any.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def ffmpeg_command(mpd_url: str) -> list[str]:
    """The command line of ffmpeg that encodes video and sound and PUTs them as LL-DASH.

    The picture is small and the preset the cheapest one, since the players want the other core. A
    fragment, and with it an HTTP chunk, is a frame.

    The inputs keep their own pace (the filters `realtime` and `arealtime`). `-re` would hand out
    half a second of them at once, and then be that much ahead of the manifest's clock for good: a
    player that counts from `availabilityStartTime` would call its picture half a second younger
    than it is. What stays is what the first frame takes until it is encoded, 25 to 40 ms.

    Raises:
        EncoderError: there is no ffmpeg for this machine.
    """
    try:
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise EncoderError(str(error)) from error
    picture = f"testsrc2=size=640x360:rate={FRAMES_PER_S},realtime"
    sound = "sine=frequency=220:beep_factor=4:sample_rate=48000,volume=0.2,arealtime"
    gop = str(FRAMES_PER_SEGMENT)
    command = [ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin"]
    command += ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    command += ["-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-tune", "zerolatency", "-pix_fmt", "yuv420p", "-threads", "1"]
    command += ["-b:v", "800k", "-maxrate", "800k", "-bufsize", "400k"]
    command += ["-g", gop, "-keyint_min", gop, "-sc_threshold", "0", "-c:a", "aac", "-b:a", "64k"]
    command += ["-f", "dash", "-ldash", "1", "-streaming", "1", "-frag_type", "every_frame"]
    command += ["-use_template", "1", "-use_timeline", "0", "-seg_duration", str(_SEGMENT_S)]
    command += ["-adaptation_sets", "id=0,streams=v id=1,streams=a"]
    # A minute can be rewound; what is older is DELETEd by the encoder.
    command += ["-window_size", "30", "-extra_window_size", "5"]
    command += ["-http_persistent", "1", "-method", "PUT", "-timeout", "10", mpd_url]
    return command


class Encoder:
    """A child process that encodes until it is stopped.

    It has a session of its own: an interrupt from the terminal reaches only its parent, which then
    lets it finish its uploads. If the parent is killed, its next upload fails and it ends.

    Args:
        command: program and arguments.

    Attributes:
        ended: set when the process is gone.
        exit_code: how it ended, as `subprocess` tells it; None before.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.ended = trio.Event()
        self.exit_code: int | None = None
        self._command = command
        self._scope = trio.CancelScope()
        self._last_lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._process: trio.Process | None = None

    async def run(self) -> None:
        """Run the process to its end, or until `stop`. Never leaves it behind.

        Raises:
            EncoderError: it can't be started.
        Cancellation: as `stop`.
        """
        try:
            process = self._process = await trio.lowlevel.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            with self._scope:
                await self._keep_last_lines(process)
                await process.wait()
        except OSError as error:
            raise EncoderError(f"can't start {self._command[0]}: {error.strerror}") from error
        finally:
            with trio.CancelScope(shield=True):
                await self._end()
            self.ended.set()

    def stop(self) -> None:
        """Have it end its uploads and exit, and killed if that takes long; `ended` tells."""
        self._scope.cancel()

    def kill(self) -> None:
        """End it at once, uploads cut."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    @property
    def last_words(self) -> str:
        """The end of its stderr, as one line."""
        lines = [line.decode("utf-8", "replace").strip() for line in self._last_lines]
        return " | ".join(line for line in lines if line)

    async def _keep_last_lines(self, process: trio.Process) -> None:
        assert process.stderr is not None
        line = b""
        async for data in process.stderr:
            *whole, line = (line + data).split(b"\n")
            self._last_lines.extend(one[:LINE_BYTES] for one in whole)
            line = line[:LINE_BYTES]
        self._last_lines.append(line)

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(GRACE_S):
                await process.wait()
        if process.returncode is None:
            process.kill()
        self.exit_code = await process.wait()
        if process.stderr is not None:
            await process.stderr.aclose()
