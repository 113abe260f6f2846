"""`chunkstore gateway`: what clients of a cluster talk to."""

from __future__ import annotations

import click

from chunkstore.cli.options import load_secret, load_settings, load_sign_keys, settings_options
from chunkstore.errors import SettingsError

__all__ = ["gateway"]


@click.command(short_help="Run the gateway of a cluster.")
@settings_options("gateway")
def gateway(config_file: str | None, **flags: object) -> None:
    """Serve objects that are kept in parts on storage servers, until SIGTERM or SIGINT.

    Takes --data, for what it knows of objects, and --secret-file. Storage servers (`chunkstore
    node`) come to --cluster-listen; with fewer than five of them uploads are answered 503. Prints
    "nodes at URL" and "listening on URL" on stderr.
    """
    settings, _ = load_settings(flags, config_file, command="gateway")
    for key in ("data", "secret_file"):
        if getattr(settings, key) is None:
            raise SettingsError(key, "a gateway takes --data and --secret-file")
    if any(address.unix_path for address in settings.cluster_addresses):
        raise SettingsError("cluster_listen", "nodes come over the network: expected HOST:PORT")
    assert settings.secret_file is not None
    secret, sign_keys = load_secret(settings.secret_file), load_sign_keys(settings)
    from chunkstore import process

    try:
        process.run_gateway(
            settings, secret, sign_keys, announce=lambda line: click.echo(line, err=True)
        )
    except OSError as error:
        # The only one that leaves it: an address that can't be had, named in the text.
        raise SettingsError("listen", error.strerror or str(error)) from error
