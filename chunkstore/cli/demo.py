"""`chunkstore demo`: see it run, with a real encoder, before anything is set up."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from chunkstore.errors import SettingsError

if TYPE_CHECKING:
    from chunkstore.demo import Display

__all__ = ["demo"]

_EXTRA = ("imageio_ffmpeg", "rich")
_PLAYERS_MAX = 1000


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=86400),
    metavar="N",
    help="End after so many seconds of stream.  [default: not before Ctrl-C]",
)
@click.option(
    "--players",
    type=click.IntRange(1, _PLAYERS_MAX),
    metavar="N",
    default=1,
    show_default=True,
    help="How many players follow the stream.",
)
@click.option(
    "--open/--no-open",
    "opens_browser",
    default=None,
    help="Show it in the browser, or don't.  [default: on a terminal of a desktop]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON at the end.")
def demo(seconds: float | None, players: int, opens_browser: bool | None, as_json: bool) -> int:
    """Encode a test picture, serve it, follow it, and show how fast bytes pass.

    Starts an origin on a free port and ffmpeg, which PUTs low-latency DASH to it in real time;
    players read every segment while it is written. Latency is from a chunk's last byte arriving at
    the origin to a player having the chunk. The operator's console, and the picture in it, open in
    the browser; with --json nothing opens.
    """
    try:
        from chunkstore import demo as room
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        detail = f"{package} is not installed: pip install 'chunkstore[demo]'"
        raise SettingsError("demo", detail) from error

    display: Display
    if as_json:
        display = room.JsonDisplay(click.echo, lambda line: click.echo(line, err=True))
    elif sys.stdout.isatty():
        display = room.TableDisplay()
    else:
        display = room.LinesDisplay(click.echo)
    if opens_browser is None:
        opens_browser = sys.stdout.isatty() and _has_screen(sys.platform, os.environ)
    room.run(
        seconds=seconds,
        player_count=players,
        display=display,
        opens_browser=opens_browser and not as_json,
    )
    return 0


def _has_screen(platform: str, environ: Mapping[str, str]) -> bool:
    """Whether a browser would have where to show its window."""
    if platform in ("darwin", "win32"):
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
