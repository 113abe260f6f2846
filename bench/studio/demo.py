"""`chunkstore demo` with a clock in its picture: `python -m bench.studio.demo`.

All else is the demo's own: its pace, its encoder, its origin, its players. What its page measures
can so be held against what the picture shows.
"""

from __future__ import annotations

import sys

from bench.studio.clock import painting
from chunkstore.demo import JsonDisplay, run
from chunkstore.demo.encoder import ffmpeg_command

__all__ = ["clocked_command"]


def clocked_command(mpd_url: str) -> list[str]:
    """The demo's command line for its encoder, with the clock painted where the pace is kept."""
    command = ffmpeg_command(mpd_url)
    at = command.index("-i") + 1  # the picture comes first
    command[at] += "," + painting()
    return command


def _main() -> None:
    display = JsonDisplay(print, lambda line: print(line, file=sys.stderr, flush=True))
    run(seconds=None, player_count=1, display=display, command_for=clocked_command)


if __name__ == "__main__":
    _main()
