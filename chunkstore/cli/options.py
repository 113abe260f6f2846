"""Flags made from the table of settings, and the settings they lead to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from chunkstore.auth import parse_sign_keys
from chunkstore.cluster.sign import SECRET_BYTES_MAX, parse_secret
from chunkstore.config import (
    ENVIRONMENT_PREFIX,
    SETTINGS,
    Setting,
    Settings,
    format_value,
    resolve,
)
from chunkstore.errors import SettingsError

__all__ = ["load_secret", "load_settings", "load_sign_keys", "secret_option", "settings_options"]

_F = TypeVar("_F", bound=Callable[..., object])

_OTHERS = stat.S_IROTH | stat.S_IWOTH
_METAVARS = {
    "size": "SIZE",
    "duration": "TIME",
    "count": "N",
    "listen": "ADDRESS",
    "path": "FILE",
    "url": "URL",
}


def settings_options(command: str) -> Callable[[_F], _F]:
    """Give a command `--config` and a flag for each setting of `command` that has one.

    The command gets them as keyword arguments by the settings' keys, and hands them on to
    `load_settings`.
    """

    def decorate(function: _F) -> _F:
        for setting in reversed([s for s in SETTINGS if s.is_flag and command in s.commands]):
            function = _option(setting)(function)
        return click.option(
            "--config",
            "config_file",
            metavar="FILE",
            envvar=f"{ENVIRONMENT_PREFIX}CONFIG",
            help="Settings file in TOML; flags and the environment win over it.",
        )(function)

    return decorate


def _option(setting: Setting) -> Callable[[_F], _F]:
    default = setting.default
    shown = (
        " ".join(default) or "none" if setting.kind == "listen" else format_value(setting, default)
    )
    is_switch = setting.kind == "switch"
    return click.option(
        setting.flag,
        setting.key,
        is_flag=is_switch,
        multiple=setting.kind == "listen",
        default=None,
        metavar=None if is_switch else _METAVARS.get(setting.kind, "|".join(setting.choices)),
        help=f"{setting.reason}  [{setting.variable}; default: {shown}]",
    )


def secret_option(*, is_required: bool) -> Callable[[_F], _F]:
    """`--secret-file` for a command that is no server; it takes the servers' environment."""
    variable = f"{ENVIRONMENT_PREFIX}SECRET_FILE"
    return click.option(
        "--secret-file",
        metavar="FILE",
        envvar=variable,
        required=is_required,
        help=f"File with the secret of the cluster.  [{variable}]",
    )


def load_settings(
    flags: dict[str, object], config_file: str | None, *, command: str | None = None
) -> tuple[Settings, dict[str, str]]:
    """The settings in force for flags as click parsed them, and where each came from.

    Args:
        command: the server that is to run with them; None: none is.
    Raises:
        SettingsError: the file can't be read, or something in it, in the environment or in the
            flags is wrong, or is for another server.
    """
    if config_file:
        text = _read(config_file, "expected TOML, which is UTF-8")
        settings, sources = resolve(flags, os.environ, text, file_name=config_file)
    else:
        settings, sources = resolve(flags, os.environ, None)
    for setting in SETTINGS:
        source = sources[setting.name]
        if command and command not in setting.commands and source != "default":
            others = " and ".join(f"`chunkstore {one}`" for one in setting.commands)
            raise SettingsError(setting.key, f"it is for {others}, and comes from {source}")
    return settings, sources


def load_sign_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys of signed URLs, the first of which signs; none where no file is set.

    Raises:
        SettingsError: the file can't be read, or has what is no key.
    """
    path = settings.sign_key_file
    if path is None:
        return ()
    return parse_sign_keys(_read(path, "expected keys, which are ASCII"), path)


def load_secret(path: str) -> bytes:
    """The secret of a cluster.

    Raises:
        SettingsError: the file can't be read, others may read or write it, or it is none.
    """
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS:
                raise SettingsError(path, "everybody may read or write it: chmod o-rw, at least")
            return parse_secret(file.read(SECRET_BYTES_MAX + 2), path)
    except OSError as error:
        raise SettingsError(path, error.strerror or str(error)) from error


def _read(path: str, expected: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise SettingsError(path, expected) from error
