"""Where the demo can be seen, and how that gets into the user's browser."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath

__all__ = ["Links", "open_in_browser"]

_OF_TEXT = frozenset(("www-browser", "links", "elinks", "lynx", "w3m"))
"""Browsers that would draw over the figures."""


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses that a demo has while it runs.

    Attributes:
        mpd_url: of the stream, for any player.
        console_url: of the page that shows what the origin does.
        watch_url: of the same page, with the stream playing.
    """

    mpd_url: str
    console_url: str
    watch_url: str


def open_in_browser(links: Links) -> None:
    """Open console and watch view, the latter in front, if there is a browser with a window.

    Blocks while the browser starts, and with some until it is closed. That there is none is no
    failure: the addresses are printed anyway.
    """
    with suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        if PurePath(browser.name).name not in _OF_TEXT:
            browser.open(links.console_url)
            browser.open(links.watch_url)
