"""`chunkstore config`: the settings in force, written as a settings file that would set them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime

import click

from chunkstore.auth import RIGHTS, Token
from chunkstore.cli.options import load_settings, settings_options
from chunkstore.config import SETTINGS, Settings, format_value
from chunkstore.errors import SettingsError
from chunkstore.policy import ROW_KEYS, Policy, PolicyRow
from chunkstore.units import format_duration, format_size

__all__ = ["config", "render_settings", "render_token"]


@click.command()
@settings_options("serve")
def config(config_file: str | None, **flags: object) -> None:
    """Print every setting in force and where it came from.

    Takes the flags of `chunkstore serve`. What it prints is itself a settings file.
    """
    click.echo(render_settings(*load_settings(flags, config_file)), nl=False)


def render_settings(settings: Settings, sources: Mapping[str, str]) -> str:
    """The settings as TOML, with a comment that says where each came from.

    Args:
        settings: what is in force.
        sources: field name -> origin, as `resolve` gives it.
    """
    rows: list[tuple[str, str]] = []
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        if setting.is_rows:
            continue
        if setting.kind == "listen":
            text = f"[{', '.join(_toml(address) for address in value)}]"
        elif setting.kind in ("switch", "count"):
            text = format_value(setting, value)
        else:
            text = _toml(format_value(setting, value))
        rows.append((f"{setting.key} = {text}", sources[setting.name]))
    width = max(len(line) for line, _ in rows)
    lines = ["# The settings in force. Where each came from: default, file, environment, flag."]
    lines += [f"{line:<{width}}  # {source}" for line, source in rows]
    for token in settings.tokens:
        lines += ["", *render_token(token, sources["tokens"])]
    lines += ["", "# What holds for which names: for each key, the first row that has it wins."]
    for row in settings.policies:
        lines += ["", *_render_row(row, sources["policies"])]
    table = settings.policy_table()
    for row in (*table.rows[len(settings.policies) :], _last_row(table.base)):
        lines += ["", *(f"# {line}" for line in _render_row(row, "built-in"))]
    return "\n".join(lines) + "\n"


def render_token(token: Token, source: str) -> list[str]:
    """A row of [[token]]: with the hash of its secret, from which nobody gets the secret back.

    Args:
        token: what it says.
        source: goes into a comment.
    """
    rights = [right for right in RIGHTS if right in token.rights]
    lines = [
        f"[[token]]  # {source}",
        f"name = {_toml(token.name)}",
        f"hash = {_toml('sha256:' + token.digest.hex())}",
        f"methods = [{', '.join(map(_toml, rights))}]",
        f"prefixes = [{', '.join(map(_toml, token.prefixes))}]",
    ]
    if token.expires_s is not None:
        moment = datetime.fromtimestamp(token.expires_s, UTC)
        lines.append(f"expires = {moment:%Y-%m-%dT%H:%M:%SZ}")
    return lines


def _last_row(base: Policy) -> PolicyRow:
    """The defaults of Policy as the row for every other name, without those left to the server."""
    values = {item.name: item.default for item in fields(Policy)}
    values["cache_complete"] = base.cache_complete
    return PolicyRow(("*",), {name: value for name, value in values.items() if value is not None})


def _render_row(row: PolicyRow, source: str) -> list[str]:
    patterns = ", ".join(_toml(pattern) for pattern in row.match)
    lines = [f"[[policies]]  # {source}", f"match = [{patterns}]"]
    for key, (name, _) in ROW_KEYS.items():
        if name in row.sets:
            lines.append(f"{key} = {_row_value(name, row.sets[name])}")
    return lines


def _row_value(name: str, value: object) -> str:
    if value is None:
        return _toml("none")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _toml(format_duration(value))
    if isinstance(value, int):
        return _toml(format_size(value))
    return _toml(str(value))


def _toml(text: str) -> str:
    """A basic string: JSON's escapes are among TOML's, but for DEL, which TOML wants escaped.

    Raises:
        SettingsError: it has bytes that are no UTF-8, as paths may; a settings file can't say it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SettingsError(ascii(text), "a settings file is UTF-8, and this is not") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
