"""`chunkstore get`: bring an object, following it while it is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import click
import trio

from chunkstore.cli.progress import show_progress
from chunkstore.cli.remote import URL, Remote, is_terminal, remote_options, run, stdout_fd
from chunkstore.client import Url
from chunkstore.errors import FetchError
from chunkstore.transfer import FileSink, Sink, StreamSink, download

__all__ = ["get"]


@click.command()
@click.argument("url", type=URL, metavar="URL")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help='Where to; a folder gets a file of the object\'s name.  [default: "-", stdout]',
)
@click.option(
    "--wait",
    type=click.IntRange(0, 3600),
    metavar="SECONDS",
    default=0,
    help="Ask the server to wait so long for an object that isn't there yet.",
)
@click.option("-q", "--quiet", is_flag=True, help="No bar and no notes.")
@remote_options
def get(url: Url, output: Path | None, wait: int, quiet: bool, remote: Remote) -> int:
    """Bring the object at URL, to its end.

    An object that is being written is followed as it grows. After a cut it goes on where it ended,
    if the object is still the same; else a FILE begins anew, and stdout is an error. Until it is
    whole, FILE has the name FILE.part; after a failure what came stays there.
    """
    if output is not None and output.is_dir():
        name = unquote(url.path).rpartition("/")[2]
        if not name or name in (".", "..") or "\0" in name:
            raise click.UsageError(f"-o {output} is a folder, and {url.path} has no name for it.")
        output = output / name
    # What isn't a regular file, such as /dev/null or a pipe, must not be replaced by one.
    is_stream = output is None or str(output) == "-" or (output.exists() and not output.is_file())
    bar_is_in_the_way = is_stream and is_terminal(sys.stdout)
    with show_progress(quiet=quiet or bar_is_in_the_way) as progress:
        advance, _ = progress.bar(url.path)
        tell = (lambda text: None) if quiet else progress.note

        async def job() -> int:
            if output is None or str(output) == "-":
                await bring(StreamSink(stdout_fd()))
            elif is_stream:
                # A named pipe waits for who reads it, and a Ctrl-C must not wait for that.
                opening = partial(os.open, output, os.O_WRONLY)
                fd = await trio.to_thread.run_sync(opening, abandon_on_cancel=True)
                try:
                    await bring(StreamSink(fd))
                finally:
                    os.close(fd)
            else:
                await _bring_file(output, bring)
            return 0

        async def bring(sink: Sink) -> None:
            async with remote.client(url) as client:
                retrying = remote.retrying(tell)
                await download(client, url.target, sink, retrying, wait_s=wait, on_bytes=advance)

        return run(job)


async def _bring_file(output: Path, bring: Callable[[Sink], Awaitable[None]]) -> None:
    sink = FileSink(output)
    try:
        await bring(sink)
        sink.finish()
    except FetchError as error:
        if kept := sink.leave():
            raise FetchError(f"{error}; {kept} bytes that came are in {sink.part}") from error
        raise
    finally:
        sink.leave()
