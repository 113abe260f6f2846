"""`chunkstore serve`: the live origin."""

from __future__ import annotations

import click

from chunkstore.cli.options import load_settings, load_sign_keys, settings_options
from chunkstore.errors import SettingsError

__all__ = ["serve"]


@click.command()
@settings_options("serve")
def serve(config_file: str | None, **flags: object) -> None:
    """Run the live origin until SIGTERM or SIGINT.

    Prints "listening on http://HOST:PORT" on stderr for each address once it takes connections. The
    first signal lets running requests finish, a second one ends at once. SIGHUP reads the
    certificate again.
    """
    settings, _ = load_settings(flags, config_file, command="serve")
    sign_keys = load_sign_keys(settings)
    from chunkstore import process

    try:
        process.run(settings, sign_keys, announce=lambda line: click.echo(line, err=True))
    except OSError as error:
        # The only one that leaves `run`: an address that can't be had, named in the text.
        raise SettingsError("listen", error.strerror or str(error)) from error
