"""`chunkstore sign`: a URL that may be read by whoever has it, until a time."""

from __future__ import annotations

import secrets
import time
from urllib.parse import urlsplit

import click

from chunkstore.auth import SECRET_BYTES, covers, make_secret, signed_query
from chunkstore.cli.options import load_settings, load_sign_keys
from chunkstore.cli.token import life_s
from chunkstore.config import ENVIRONMENT_PREFIX
from chunkstore.errors import PathError, SettingsError
from chunkstore.paths import parse_key, parse_prefix

__all__ = ["sign"]


@click.command()
@click.argument("url", required=False)
@click.option("--expires", metavar="TIME", default="1h", show_default=True, help="How long.")
@click.option(
    "--prefix",
    metavar="/FOLDER/",
    help="What may be read with its signature.  [default: what the URL names, alone]",
)
@click.option("--sign-key-file", metavar="FILE", help="Keys, the first of which signs.")
@click.option("--new-key", is_flag=True, help="Make a key for such a file instead.")
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    envvar=f"{ENVIRONMENT_PREFIX}CONFIG",
    help="Settings file that says where the keys are.",
)
def sign(
    url: str | None,
    expires: str,
    prefix: str | None,
    sign_key_file: str | None,
    new_key: bool,
    config_file: str | None,
) -> None:
    """Print URL with a signature: GET and HEAD of it need no token until it expires.

    A first key: (umask 077; chunkstore sign --new-key > sign.keys)
    """
    if new_key:
        click.echo(make_secret(secrets.token_bytes(SECRET_BYTES), "csk_"))
        return
    if url is None:
        raise click.UsageError("Missing argument 'URL'.")
    life = life_s(expires, "--expires")
    try:
        parts = urlsplit(url)
        key = parse_key(parts.path)
        scope = None if prefix is None else parse_prefix(prefix)
    except (PathError, ValueError) as error:
        raise SettingsError("URL", str(error)) from None
    if scope is not None and not covers(scope, key):
        raise SettingsError(
            "--prefix", f"{prefix} is not a folder (with a '/' at its end) of {url}"
        )
    settings, _ = load_settings({"sign_key_file": sign_key_file}, config_file)
    keys = load_sign_keys(settings)
    if not keys:
        raise SettingsError("sign_key_file", "there is none: make one with --new-key and name it")
    query = signed_query(parts.query, keys[0], key, scope, int(time.time()) + life)
    click.echo(parts._replace(query=query).geturl())
