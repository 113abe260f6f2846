"""`chunkstore token`: a secret for a client, and its row for the settings."""

from __future__ import annotations

import re
import secrets
import time

import click

from chunkstore.auth import RIGHTS, SECRET_BYTES, make_secret, parse_token, secret_hash
from chunkstore.cli.config import render_token
from chunkstore.errors import SettingsError
from chunkstore.units import parse_duration

__all__ = ["life_s", "token"]

MAX_LIFE_S = 10 * 365 * 86400


def life_s(text: str, flag: str) -> int:
    """How long something is good, in whole seconds.

    Raises:
        SettingsError: no duration, or one under a second or over ten years.
    """
    try:
        duration_s = parse_duration(text)
    except ValueError as error:
        raise SettingsError(flag, str(error)) from None
    if not 1 <= duration_s <= MAX_LIFE_S:
        raise SettingsError(flag, f"expected a duration from 1s to 3650d, got {text!r}")
    return int(duration_s)


@click.command()
@click.option("--name", metavar="NAME", default="token", show_default=True, help="What to call it.")
@click.option(
    "--methods",
    metavar="LIST",
    help=f"Some of {','.join(RIGHTS)} (HEAD goes with GET, POST with PUT)"
    "  [default: all but ADMIN]",
)
@click.option(
    "--prefix",
    "prefixes",
    metavar="/FOLDER/",
    multiple=True,
    help="Where it holds; may be repeated; without a slash at its end, one key.  [default: /]",
)
@click.option("--expires", metavar="TIME", help="How long it is good, as 30d.  [default: for ever]")
def token(name: str, methods: str | None, prefixes: tuple[str, ...], expires: str | None) -> None:
    """Make a token: its row on stdout, for the settings file; its secret on stderr, once.

    chunkstore token --name encoder --methods PUT,DELETE --prefix /live/ >> chunkstore.toml
    """
    secret = make_secret(secrets.token_bytes(SECRET_BYTES))
    row: dict[str, object] = {"name": name, "hash": secret_hash(secret)}
    if methods is not None:
        row["methods"] = re.findall(r"[^\s,]+", methods)
    if prefixes:
        row["prefixes"] = list(prefixes)
    made = parse_token(row, "token")
    if expires is not None:
        moment = time.gmtime(time.time() + life_s(expires, "--expires"))
        row["expires"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
        made = parse_token(row, "token")
    click.echo("\n" + "\n".join(render_token(made, "its secret is not kept anywhere")))
    click.echo(f"the secret, which is shown only now: {secret}", err=True)
