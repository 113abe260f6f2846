"""The encoder's process: how it ends, what is kept of what it said, and that it never stays."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
import trio

from chunkstore.demo import encoder as encoder_module
from chunkstore.demo.encoder import Encoder, EncoderError, ffmpeg_command

STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", file=sys.stderr, flush=True)
signal.pause()
"""
POLITE = """
import signal, sys
def leave(*ignored):
    print("bye", file=sys.stderr)
    sys.exit(7)
signal.signal(signal.SIGTERM, leave)
print("ready", file=sys.stderr, flush=True)
signal.pause()
"""


def python(script: str) -> Encoder:
    """A Python script in the encoder's place."""
    return Encoder([sys.executable, "-c", script])


async def until_ready(encoder: Encoder) -> None:
    """Wait until the script has said that it is."""
    while "ready" not in encoder.last_words:
        await trio.lowlevel.checkpoint()


async def test_an_end_of_its_own_leaves_exit_code_and_last_words() -> None:
    encoder = python("import sys; sys.stderr.write('1\\n2\\n3\\n4' + 'x' * 10**6); sys.exit(3)")
    with trio.fail_after(20):
        await encoder.run()
    assert encoder.exit_code == 3
    assert encoder.ended.is_set()
    assert encoder.last_words == "2 | 3 | 4" + "x" * (encoder_module.LINE_BYTES - 1)


async def test_stop_lets_it_finish() -> None:
    encoder = python(POLITE)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(encoder.run)
            await until_ready(encoder)
            encoder.stop()
    assert encoder.exit_code == 7


@pytest.mark.parametrize("how", ["stop", "cancel", "kill"])
async def test_one_that_does_not_go_is_killed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "GRACE_S", 0.01)
    encoder = python(STUBBORN)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(encoder.run)
            await until_ready(encoder)
            if how == "stop":
                encoder.stop()
            elif how == "cancel":
                nursery.cancel_scope.cancel()
            else:
                encoder.kill()
    assert encoder.exit_code == -9


async def test_a_program_that_is_not_there() -> None:
    encoder = Encoder(["./no-such-program"])
    with pytest.raises(EncoderError, match="can't start ./no-such-program: No such file"):
        await encoder.run()
    assert encoder.ended.is_set()
    encoder.kill()  # harmless


def test_the_command_says_where_to_put() -> None:
    command = ffmpeg_command("http://127.0.0.1:1/live/a.mpd")
    assert command[-1] == "http://127.0.0.1:1/live/a.mpd"


def test_the_inputs_keep_the_pace_themselves() -> None:
    command = ffmpeg_command("http://127.0.0.1:1/live/a.mpd")
    inputs = [after for word, after in pairwise(command) if word == "-i"]
    assert [text.rpartition(",")[2] for text in inputs] == ["realtime", "arealtime"]
    assert "-re" not in command  # it would be half a second ahead of the manifest's clock


def test_no_ffmpeg_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("no ffmpeg here")

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", missing)
    with pytest.raises(EncoderError, match="no ffmpeg here"):
        ffmpeg_command("http://127.0.0.1:1/live/a.mpd")
