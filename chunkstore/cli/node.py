"""`chunkstore node`: a storage server of a cluster."""

from __future__ import annotations

import click

from chunkstore.cli.options import load_secret, load_settings, settings_options
from chunkstore.client import parse_url
from chunkstore.errors import SettingsError

__all__ = ["node"]


@click.command(short_help="Run a storage server of a cluster.")
@settings_options("node")
def node(config_file: str | None, **flags: object) -> None:
    """Keep parts of a cluster's objects until SIGTERM or SIGINT.

    Takes --data, --join and --secret-file. It registers with the gateway and says that it is there;
    while that is away it goes on serving. Its port is the cluster's alone: what isn't signed with
    the secret is refused. Ends with code 2 where the gateway refuses it, and says why.
    """
    settings, _ = load_settings(flags, config_file, command="node")
    for key in ("data", "join", "secret_file"):
        if getattr(settings, key) is None:
            raise SettingsError(key, "a node takes --data, --join and --secret-file")
    if settings.addresses[0].unix_path:
        raise SettingsError("listen", "a gateway comes over the network: expected HOST:PORT first")
    assert settings.join is not None
    assert settings.secret_file is not None
    try:
        gateway = parse_url(settings.join)
    except ValueError as error:
        raise SettingsError("join", str(error)) from None
    secret = load_secret(settings.secret_file)
    from chunkstore import process

    try:
        process.run_node(
            settings, secret, gateway, announce=lambda line: click.echo(line, err=True)
        )
    except OSError as error:
        # The only one that leaves it: an address that can't be had, named in the text.
        raise SettingsError("listen", error.strerror or str(error)) from error
