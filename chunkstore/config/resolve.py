"""Which value of a setting holds, and where it came from.

Flags win over the environment, the environment over the file, the file over the defaults. Nothing
is read here: the texts come in as arguments.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from chunkstore.auth import parse_token
from chunkstore.config.setting import ENVIRONMENT_PREFIX, Setting
from chunkstore.config.settings import SETTINGS, Settings
from chunkstore.errors import SettingsError
from chunkstore.policy import parse_row
from chunkstore.units import parse_count, parse_duration, parse_size, parse_switch

__all__ = ["resolve"]

# Variables that aren't settings: the one that names the file, the client's token, and those that
# Kubernetes puts into every container for a service that happens to be called "chunkstore".
_NOT_SETTINGS = re.compile(r"CONFIG|TOKEN|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?")


def resolve(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    file_text: str | None,
    *,
    file_name: str = "settings file",
) -> tuple[Settings, dict[str, str]]:
    """The settings in force, and where each of them came from.

    Args:
        flags: key -> value as typed; None and () mean that the flag wasn't given.
        environ: the environment; names without the prefix CHUNKSTORE_ don't matter.
        file_text: a settings file in TOML, or None.
        file_name: what to call that file in messages.
    Returns:
        the settings, and field name -> "default", "file NAME", "environment VARIABLE" or
        "flag --NAME".
    Raises:
        SettingsError: a key that doesn't exist or a bad value, with its place.
    """
    given = {**_from_file(file_text, file_name), **_from_environment(environ), **_from_flags(flags)}
    values: dict[str, object] = {}
    sources = {setting.name: "default" for setting in SETTINGS}
    for setting in SETTINGS:
        if setting.key in given:
            value, source = given[setting.key]
            sources[setting.name] = source
            values[setting.name] = _parse(setting, value, _place(setting, source))
    return Settings(**values), sources  # type: ignore[arg-type]  # _parse gives what `kind` says


def _from_file(text: str | None, file_name: str) -> dict[str, tuple[object, str]]:
    try:
        table = tomllib.loads(text or "")
    except (ValueError, RecursionError) as error:
        # Besides TOMLDecodeError: numbers of too many digits, lists in too many lists.
        raise SettingsError(file_name, f"no valid TOML: {error}") from None
    keys = {setting.key for setting in SETTINGS}
    for key in table:
        if key not in keys:
            raise SettingsError.unknown(file_name, key, keys)
    return {key: (value, f"file {file_name}") for key, value in table.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    by_variable = {s.variable: s for s in SETTINGS if not s.is_rows}
    given: dict[str, tuple[object, str]] = {}
    for name, text in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        if name in by_variable:
            setting = by_variable[name]
            value = re.split(r"[\s,]+", text.strip()) if setting.kind == "listen" else text
            given[setting.key] = (value, f"environment {name}")
        elif not _NOT_SETTINGS.fullmatch(name.removeprefix(ENVIRONMENT_PREFIX)):
            raise SettingsError.unknown("environment", name, by_variable)
    return given


def _from_flags(flags: Mapping[str, object]) -> dict[str, tuple[object, str]]:
    by_key = {setting.key: setting for setting in SETTINGS if setting.is_flag}
    return {
        key: (value, f"flag {by_key[key].flag}")
        for key, value in flags.items()
        if value is not None and value != ()
    }


def _place(setting: Setting, source: str) -> str:
    """Where to look for a bad value: "--memory", "CHUNKSTORE_MEMORY" or "FILE: memory"."""
    kind, _, name = source.partition(" ")
    return f"{name}: {setting.key}" if kind == "file" else name


def _parse(setting: Setting, value: object, where: str) -> object:
    """Turn what somebody wrote into the setting's type, within its bounds."""
    try:
        parsed = _read(setting, value, where)
    except ValueError as error:
        raise SettingsError(where, str(error)) from None
    setting.check(parsed, where)
    return parsed


def _read(setting: Setting, value: object, where: str) -> object:
    if setting.default is None and value == "none":
        return None
    match setting.kind:
        case "switch":
            return parse_switch(value)
        case "size":
            return parse_size(value)
        case "count":
            return parse_count(value)
        case "duration":
            return parse_duration(value)
        case "listen":
            return _read_texts(value)
        case "choice":
            return value
        case "path":
            return _read_path(value)
        case "url":
            return _read_url(value)
        case "policies":
            return tuple(parse_row(row, place) for row, place in _rows(setting, value, where))
        case "tokens":
            return tuple(parse_token(row, place) for row, place in _rows(setting, value, where))


def _read_texts(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"expected a text or a list of texts, got {value!r}")
    return tuple(texts)


def _read_path(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"expected the path of a file, got {value!r}")
    return value


def _read_url(value: object) -> str:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise ValueError(f"expected a URL such as http://127.0.0.1:9000, got {value!r}")
    return value


def _rows(setting: Setting, value: object, where: str) -> list[tuple[object, str]]:
    """The rows, and where each of them stands."""
    if not isinstance(value, list):
        raise ValueError(f"expected rows, each under [[{setting.key}]]")
    return [(row, f"{where}[{index}]") for index, row in enumerate(value)]
