"""`chunkstore put`: store a file, what comes on stdin, or all files of a folder."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click

from chunkstore.cli.progress import Progress, show_progress
from chunkstore.cli.remote import SIZE, URL, Remote, remote_options, run, stdin_fd
from chunkstore.client import Client, Url
from chunkstore.errors import FetchError, PathError
from chunkstore.transfer import (
    FileSource,
    Found,
    Pace,
    Receipt,
    Source,
    StreamSource,
    for_each,
    path_below,
    read_fd,
    upload,
    walk,
)

__all__ = ["put"]

PARALLEL = 4


@click.command()
@click.argument("source", metavar="FILE|-|DIR", type=click.Path(exists=True, allow_dash=True))
@click.argument("url", type=URL, metavar="URL")
@click.option("--rate", type=SIZE, metavar="SIZE/s", help="Send so much a second, in chunks.")
@click.option(
    "--chunk",
    type=SIZE,
    metavar="SIZE",
    help="Send a file in chunks of so much, without its length.  [with --rate: ten a second]",
)
@click.option("--all", "hidden", is_flag=True, help="Take names of DIR that begin with a dot, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipts, a line of JSON each.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but what is wrong.")
@remote_options
def put(
    source: str,
    url: Url,
    rate: int | None,
    chunk: int | None,
    hidden: bool,
    as_json: bool,
    quiet: bool,
    remote: Remote,
) -> int:
    """Store FILE, stdin or all files below DIR.

    With "-", each read of stdin that gave bytes becomes a chunk at once: readers of URL have them
    while more is written. It is tried again only as long as less than 8 MiB were read.

    A FILE goes with its length; to a URL that ends with "/" its name is added. Files of a DIR are
    stored below URL, four at a time; links out of it, links to folders and names that begin with a
    dot are left out.
    """
    if source == "-" and url.path.endswith("/"):
        raise click.UsageError("stdin has no name: URL must not end with '/'.")
    if source == "-" and chunk is not None:
        raise click.UsageError("--chunk is for files: of stdin, each read is a chunk.")
    if source != "-" and not (Path(source).is_dir() or Path(source).is_file()):
        raise click.UsageError(f"{source} is neither a file nor a folder; try 'put - < {source}'.")
    pace = None if rate is None else Pace(rate)

    def file_source(path: Path) -> Source:
        return FileSource(path, chunk_bytes=chunk, pace=pace)

    with show_progress(quiet=quiet) as progress:
        storing = _Storing(remote, url, progress, as_json=as_json, quiet=quiet)
        job: Callable[[], Awaitable[int]]
        if source == "-":
            stdin = stdin_fd()
            job = partial(storing.one, StreamSource(lambda: read_fd(stdin), pace=pace), url.target)
        elif Path(source).is_dir():
            job = partial(storing.tree, Path(source), hidden, file_source)
        else:
            path = Path(source)
            is_folder = url.path.endswith("/")
            target = path_below(url.path, path.name) if is_folder else url.target
            job = partial(storing.one, file_source(path), target)
        return run(job)


class _Storing:
    """Uploads to one server, and what is said of them."""

    def __init__(
        self, remote: Remote, url: Url, progress: Progress, *, as_json: bool, quiet: bool
    ) -> None:
        self._remote = remote
        self._url = url
        self._progress = progress
        self._as_json = as_json
        self._quiet = quiet
        self._failed = self._done = 0

    async def one(self, source: Source, target: str) -> int:
        async with self._remote.client(self._url) as client:
            await self._store(client, source, target)
        return 0

    async def tree(self, root: Path, hidden: bool, source_of: Callable[[Path], Source]) -> int:
        files = walk(root, hidden=hidden)

        async def next_file() -> Found | None:
            return next(files, None)

        async def store(client: Client, found: Found) -> None:
            if found.why_not:
                self._failed += found.is_fault
                if found.is_fault or not self._quiet:
                    self._progress.note(f"left out {found.path}: {found.why_not}")
                return
            try:
                target = path_below(self._url.path, found.name)
                await self._store(client, source_of(found.path), target)
            except (FetchError, PathError) as error:
                self._failed += 1
                self._progress.note(f"{found.path}: {error}")
            except BrokenPipeError:
                raise  # of our own stdout
            except OSError as error:
                self._failed += 1
                self._progress.note(f"{found.path}: {error.strerror or error}")

        clients = [self._remote.client(self._url) for _ in range(PARALLEL)]
        try:
            await for_each(next_file, store, clients)
        finally:
            for client in clients:
                await client.aclose()
        if self._failed:
            self._progress.note(f"{self._failed} of {self._failed + self._done} not stored")
        return 1 if self._failed else 0

    async def _store(self, client: Client, source: Source, target: str) -> None:
        advance, end = self._progress.bar(target)
        total = source.length
        tell = (lambda text: None) if self._quiet else self._progress.note
        try:
            receipt = await upload(
                client,
                target,
                source,
                self._remote.retrying(tell),
                lambda sent: advance(sent, total),
            )
        finally:
            end()
        self._done += 1
        if self._as_json:
            self._progress.out(_json(target, receipt))
        elif not self._quiet:
            how = "new" if receipt.is_new else "replaced"
            self._progress.out(f"{target} {receipt.size_bytes} bytes, {how}")


def _json(target: str, receipt: Receipt) -> str:
    own = {"path": target, "etag": receipt.etag, "bytes": receipt.size_bytes}
    return json.dumps({**own, **receipt.members, "new": receipt.is_new})
