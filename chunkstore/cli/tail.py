"""`chunkstore tail`: watch an object being written, chunk by chunk."""

from __future__ import annotations

import json
from datetime import datetime
from urllib.parse import unquote

import click

from chunkstore.cli.columns import ARRIVAL_HEAD, arrival_line, printable, seconds
from chunkstore.cli.remote import URL, Remote, note, remote_options, run, say
from chunkstore.client import Client, Url, expect
from chunkstore.errors import FetchError
from chunkstore.transfer import Arrival, Arrivals, Entry, Lister, follow
from chunkstore.wire import parse_http_date

__all__ = ["tail"]


@click.command(short_help="Print when each chunk of an object comes.")
@click.argument("url", type=URL, metavar="URL")
@click.option(
    "--wait",
    type=click.IntRange(0, 3600),
    metavar="SECONDS",
    default=0,
    help="Ask the server to wait so long for an object that isn't there yet.",
)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each chunk.")
@remote_options
def tail(url: Url, wait: int, as_json: bool, remote: Remote) -> int:
    """Follow the object at URL, and print when each of its chunks came whole.

    The gap is the time since the chunk before. What had been written before this joined comes at
    once, and is marked as caught up. When a chunk reached the server isn't on the wire, so its own
    age can't be told; "open for" is how long the object had been written by then, to the second,
    by the server's listing and clock.
    """
    return run(_Tailing(remote, url, wait, as_json).run)


class _Tailing:
    def __init__(self, remote: Remote, url: Url, wait_s: int, as_json: bool) -> None:
        self._remote = remote
        self._url = url
        self._wait_s = wait_s
        self._as_json = as_json
        self._open_for_s: float | None = None

    async def run(self) -> int:
        async with self._remote.client(self._url) as client:
            found = await self._look(client)
            wish = [("Prefer", f"wait={self._wait_s}")] if self._wait_s else []
            answer = await client.request("GET", self._url.target, wish, hold_s=self._wait_s)
            await expect(answer, 200)
            is_open = answer.length is None
            there_bytes = found.size if found and is_open and found.size else answer.length or 0
            arrivals = Arrivals(there_bytes)
            if not self._as_json:
                state = "open" if is_open else "complete, so its chunks can't be told apart"
                say(f"{printable(str(self._url))}: {state}, {there_bytes} bytes so far")
                say(ARRIVAL_HEAD)
            try:
                await follow(answer, arrivals, self._show)
            finally:
                self._summarize(arrivals)
        return 0

    async def _look(self, client: Client) -> Entry | None:
        """What the listing says of the object; None if it says nothing."""
        retrying = self._remote.retrying(note)
        lister = Lister(client, self._url.path, retrying, recursive=True, page_count=1)
        try:
            page = await lister.page()
        except FetchError:
            return None  # another server, or no right to list: the GET will say what is wrong
        for entry in page or ():
            if unquote(entry.path) == unquote(self._url.path) and entry.state == "open":
                created, now_s = entry.members.get("created"), parse_http_date(lister.date)
                if isinstance(created, (int, float)) and now_s is not None:
                    self._open_for_s = max(0.0, now_s - created)
                return entry
        return None

    def _show(self, arrival: Arrival) -> None:
        open_for_s = self._open_for_s
        if open_for_s is not None:
            open_for_s += arrival.since_s
        if not self._as_json:
            say(arrival_line(arrival, datetime.now(), open_for_s))
            return
        members = {
            "chunk": arrival.number,
            "arrived": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "size": arrival.size_bytes,
            "end": arrival.end,
            "gap_ms": None if arrival.gap_s is None else round(arrival.gap_s * 1000, 3),
            "live": arrival.is_live,
            "open_for_s": None if open_for_s is None else round(open_for_s),
        }
        say(json.dumps(members))

    def _summarize(self, arrivals: Arrivals) -> None:
        p50, p99 = seconds(arrivals.gap_s(0.5)), seconds(arrivals.gap_s(0.99))
        line = (
            f"{arrivals.count} chunks, {arrivals.end} bytes; {arrivals.live_count} live,"
            f" gap p50 {p50}, p99 {p99}"
        )
        if self._as_json:
            click.echo(line, err=True)
        else:
            say(line)
