"""`chunkstore rm`: delete an object, or all below a prefix."""

from __future__ import annotations

import sys
from collections import deque

import click

from chunkstore.cli.remote import URL, Remote, is_terminal, note, remote_options, run, say
from chunkstore.client import Client, Url, expect
from chunkstore.errors import FetchError, StatusError
from chunkstore.transfer import Entry, Lister, for_each

__all__ = ["rm"]

PARALLEL = 4


@click.command(short_help="Delete an object, or all below a folder.")
@click.argument("url", type=URL, metavar="URL")
@click.option("-r", "--recursive", is_flag=True, help="All that is below URL, which ends with '/'.")
@click.option("-f", "--force", is_flag=True, help="Don't ask, and don't mind what isn't there.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but what is wrong.")
@remote_options
def rm(url: Url, recursive: bool, force: bool, quiet: bool, remote: Remote) -> int:
    """Delete the object at URL: its readers are cut, its writer is told.

    -r deletes all below a prefix, four at a time, and asks first where it is run by hand.
    """
    deleting = _Deleting(remote, url, force, quiet)
    if not recursive:
        return run(deleting.one)
    if not url.path.endswith("/"):
        raise click.UsageError("-r deletes what is below a folder: URL must end with '/'.")
    if not force and is_terminal(sys.stdin):
        count = run(deleting.count)
        many = f"{count - 1} or more" if count > deleting.asked_count else str(count)
        if not click.confirm(f"Delete {many} objects below {url}?", err=True):
            note("nothing was deleted")
            return 1
    return run(deleting.all)


class _Deleting:
    asked_count = 1000
    """So many are counted before asking."""

    def __init__(self, remote: Remote, url: Url, force: bool, quiet: bool) -> None:
        self._remote = remote
        self._url = url
        self._force = force
        self._quiet = quiet
        self._failed = 0

    async def one(self) -> int:
        async with self._remote.client(self._url) as client:
            await self._delete(client, self._url.path, may_be_gone=self._force)
        return 0

    async def count(self) -> int:
        """How many there are; at most one more than `asked_count`."""
        async with self._remote.client(self._url) as client:
            page = await self._lister(client, self.asked_count + 1).page()
        return len(page or ())

    async def all(self) -> int:
        clients = [self._remote.client(self._url) for _ in range(PARALLEL + 1)]
        lister = self._lister(clients[0], 1000)
        found: deque[Entry] = deque()

        async def next_entry() -> Entry | None:
            while not found:
                page = await lister.page()
                if page is None:
                    return None
                found.extend(page)
            return found.popleft()

        async def delete(client: Client, entry: Entry) -> None:
            try:
                # What went by itself meanwhile is gone as wished.
                await self._delete(client, entry.path, may_be_gone=True)
            except FetchError as error:
                self._failed += 1
                note(str(error))

        try:
            await for_each(next_entry, delete, clients[1:])
        finally:
            for client in clients:
                await client.aclose()
        return 1 if self._failed else 0

    def _lister(self, client: Client, count: int) -> Lister:
        retrying = self._remote.retrying(note)
        return Lister(client, self._url.path, retrying, recursive=True, page_count=count)

    async def _delete(self, client: Client, path: str, *, may_be_gone: bool) -> None:
        retrying = self._remote.retrying(note)
        while True:
            try:
                answer = await client.request("DELETE", path)
                await expect(answer, 200, 202, 204)
                await answer.body()
                break
            except StatusError as error:
                if error.status == 404 and (may_be_gone or retrying.failures):
                    return  # perhaps by the try before, whose answer was lost
                await retrying.pause(error)
            except FetchError as error:
                await retrying.pause(error)
        if not self._quiet:
            say(f"deleted {path}")
