"""`chunkstore worker`: an assigned set of data chunks on local disk, served over HTTP."""

from __future__ import annotations

import click

from chunkstore.cli.options import load_settings, load_sign_keys, settings_options
from chunkstore.cli.worker_demo import demo
from chunkstore.cli.worker_folder import gc, verify
from chunkstore.cli.worker_remote import find, ls, status
from chunkstore.client import parse_url
from chunkstore.errors import SettingsError

__all__ = ["worker"]


@click.group(invoke_without_command=True, short_help="Keep assigned data chunks, and serve them.")
@settings_options("worker")
@click.pass_context
def worker(context: click.Context, /, config_file: str | None, **flags: object) -> None:
    """Download the chunks that are assigned to --data, and serve them, until SIGTERM or SIGINT.

    Which ones, --assignment says, a file that is watched or a URL that is asked for; or whoever
    does PUT and DELETE /chunks/ID. Prints "listening on http://HOST:PORT" on stderr. At the first
    signal running requests finish, and downloads end where they are: they go on when the next life
    is asked for the same.
    """
    if context.invoked_subcommand is not None:
        return
    settings, _ = load_settings(flags, config_file, command="worker")
    if settings.data is None:
        raise SettingsError("data", "a worker takes --data")
    source = settings.assignment or ""
    if source.startswith(("http://", "https://")):
        try:
            parse_url(source)
        except ValueError as error:
            raise SettingsError("assignment", str(error)) from None
    elif "://" in source:
        raise SettingsError("assignment", "expected a file, or a URL of http or https")
    sign_keys = load_sign_keys(settings)
    from chunkstore import process

    try:
        process.run_worker(settings, sign_keys, announce=lambda line: click.echo(line, err=True))
    except OSError as error:
        # The only one that leaves it: an address that can't be had, named in the text.
        raise SettingsError("listen", error.strerror or str(error)) from error


for _command in (ls, find, status, verify, gc, demo):
    worker.add_command(_command)
