"""`chunkstore ls`: what a server has under a prefix."""

from __future__ import annotations

import sys
from shutil import get_terminal_size

import click
import trio

from chunkstore.cli.columns import entry_json, entry_line, printable
from chunkstore.cli.remote import URL, Remote, is_terminal, note, remote_options, run, say
from chunkstore.client import Client, Url
from chunkstore.errors import FetchError
from chunkstore.transfer import Entry, Lister, changes

__all__ = ["ls"]

WATCH_EVERY_S = 1.0
WATCHED_COUNT = 100_000
"""Names held to see what changed; a prefix with more can't be watched without a terminal."""
_CLEAR = "\x1b[H\x1b[2J"


@click.command(short_help="List what begins with a path.")
@click.argument("url", type=URL, metavar="URL")
@click.option("-r", "--recursive", is_flag=True, help="All names, not only up to the next '/'.")
@click.option("-l", "--long", is_flag=True, help="Columns, also where stdout is no terminal.")
@click.option(
    "--json", "as_json", is_flag=True, help="A line of JSON for each, as the server says."
)
@click.option(
    "--watch", is_flag=True, help="Each second anew; where stdout is no terminal, changes."
)
@remote_options
def ls(url: Url, recursive: bool, long: bool, as_json: bool, watch: bool, remote: Remote) -> int:
    """List what begins with URL's path, in byte order; end it with "/" for what is in a folder.

    On a terminal: size, state, time of the last change, path. Into a pipe: percent-encoded paths
    alone, which may be appended to the server's URL. --watch into a pipe prints "+" for what is
    new, "-" for what is gone and "~" for what changed.
    """
    is_watched_by_eye = is_terminal(sys.stdout)
    listing = _Listing(remote, url, recursive, long or is_watched_by_eye, as_json)
    if not watch:
        return run(listing.once)
    return run(listing.redraw if is_watched_by_eye and not as_json else listing.watch)


class _Listing:
    def __init__(
        self, remote: Remote, url: Url, recursive: bool, columns: bool, as_json: bool
    ) -> None:
        self._remote = remote
        self._url = url
        self._recursive = recursive
        self._columns = columns
        self._as_json = as_json

    def _lister(self, client: Client, count: int | None = None) -> Lister:
        retrying = self._remote.retrying(note)
        path, recursive = self._url.path, self._recursive
        if count is None:
            return Lister(client, path, retrying, recursive=recursive)
        return Lister(client, path, retrying, recursive=recursive, page_count=count)

    def _show(self, entry: Entry, change: str = "") -> None:
        if self._as_json:
            say(entry_json(entry, change))
            return
        line = entry_line(entry) if self._columns else printable(entry.path)
        say(f"{change} {line}" if change else line)

    async def once(self) -> int:
        async with self._remote.client(self._url) as client:
            lister = self._lister(client)
            while (page := await lister.page()) is not None:
                for entry in page:
                    self._show(entry)
        return 0

    async def redraw(self) -> int:
        """As many lines as the terminal has, drawn anew each second."""
        async with self._remote.client(self._url) as client:
            while True:
                lines = max(2, get_terminal_size().lines - 2)
                page = await self._lister(client, lines).page() or []
                shown = [entry_line(entry) for entry in page]
                if len(page) == lines:
                    shown[-1] = "..."
                say(_CLEAR + "\n".join([printable(str(self._url)), *shown]))
                await trio.sleep(WATCH_EVERY_S)

    async def watch(self) -> int:
        """What is there at first, then what changes."""
        before: dict[str, Entry] = {}
        async with self._remote.client(self._url) as client:
            while True:
                after: dict[str, Entry] = {}
                lister = self._lister(client)
                while (page := await lister.page()) is not None:
                    after.update((entry.path, entry) for entry in page)
                    if len(after) > WATCHED_COUNT:
                        raise FetchError(f"more than {WATCHED_COUNT} names: watch a longer prefix")
                for change, entry in changes(before, after):
                    self._show(entry, change)
                sys.stdout.flush()
                before = after
                await trio.sleep(WATCH_EVERY_S)
