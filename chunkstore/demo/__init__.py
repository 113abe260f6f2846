"""`chunkstore demo`: an origin, a real encoder and players in one command, and how fast bytes pass.

    session.py    starts the parts, watches them, ends them all
    encoder.py    ffmpeg as a child process that encodes a test picture and PUTs it as it goes
    manifest.py   the little of an MPD that a player needs to find the next segment
    player.py     follows every representation, each segment from before it exists to its end
    arrivals.py   when the encoder's bytes reached the origin
    figures.py    what was counted and how long chunks took
    links.py      the addresses of stream, console and watch view, and a browser for them
    display.py    the live table, plain lines, or one line of JSON

Origin and players share a process and a clock, so a chunk's latency is a difference of two readings
of it. They also share its event loop: what the players cost is in the figures, not beside them.
"""

from __future__ import annotations

from chunkstore.demo.display import Display, JsonDisplay, LinesDisplay, TableDisplay
from chunkstore.demo.encoder import EncoderError
from chunkstore.demo.figures import Report
from chunkstore.demo.links import Links
from chunkstore.demo.session import run

__all__ = [
    "Display",
    "EncoderError",
    "JsonDisplay",
    "LinesDisplay",
    "Links",
    "Report",
    "TableDisplay",
    "run",
]
