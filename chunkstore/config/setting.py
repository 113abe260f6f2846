"""One setting: what is declared of it, how a value of it is checked and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from chunkstore.auth import MAX_TOKENS
from chunkstore.config.listen import parse_listen
from chunkstore.errors import SettingsError
from chunkstore.units import format_duration, format_size

__all__ = ["ENVIRONMENT_PREFIX", "YEAR_S", "Kind", "Setting", "declare", "format_value"]

ENVIRONMENT_PREFIX = "CHUNKSTORE_"
YEAR_S = 365 * 86400.0

_MAX_ROWS = 1_000
_MAX_LISTENERS = 64

Kind = Literal[
    "listen", "switch", "size", "count", "duration", "choice", "path", "url", "policies", "tokens"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as people meet it; `SETTINGS` has them all, in order.

    Args:
        name: field of Settings.
        key: its name in a file; its flag and its variable are made from it.
        kind: how its value is written.
        default: the value where nobody says otherwise; None: unset.
        minimum: smallest value, in the unit of its name.
        maximum: largest value, in the unit of its name.
        choices: the words allowed for kind "choice".
        is_flag: the commands have a flag for it.
        commands: which servers take it.
        reason: what it is for, one sentence.
    """

    name: str
    key: str
    kind: Kind
    default: Any
    minimum: float
    maximum: float
    choices: tuple[str, ...]
    is_flag: bool
    commands: tuple[str, ...]
    reason: str

    @property
    def flag(self) -> str:
        """The name of its flag."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """The name of its variable in the environment."""
        return ENVIRONMENT_PREFIX + self.key.upper()

    @property
    def is_rows(self) -> bool:
        """It is made of rows, which only a settings file can have."""
        return self.kind in ("policies", "tokens")

    def check(self, value: Any, where: str) -> None:  # noqa: ANN401 - its type follows from `kind`
        """Hold a value of the right type against the bounds.

        Raises:
            SettingsError: out of bounds; `where` is its place.
        """
        if self.kind == "listen":
            if not self.minimum <= len(value) <= _MAX_LISTENERS:
                raise SettingsError(
                    where, f"expected {self.minimum:g} to {_MAX_LISTENERS} addresses"
                )
            for text in value:
                try:
                    parse_listen(text)
                except ValueError as error:
                    raise SettingsError(where, str(error)) from None
        elif self.kind == "choice" and value not in self.choices:
            raise SettingsError(where, f"expected one of {', '.join(self.choices)}, got {value!r}")
        elif self.is_rows:
            count = _MAX_ROWS if self.kind == "policies" else MAX_TOKENS
            if len(value) > count:
                raise SettingsError(where, f"expected at most {count} rows, got {len(value)}")
        elif self.maximum and value is not None and not self.minimum <= value <= self.maximum:
            least, most = format_value(self, self.minimum), format_value(self, self.maximum)
            got = format_value(self, value)
            raise SettingsError(where, f"expected {least} to {most}, got {got}")


def declare(
    kind: Kind,
    default: object,
    reason: str,
    *,
    least: float = 0,
    most: float = 0,
    choices: tuple[str, ...] = (),
    key: str | None = None,
    is_flag: bool = False,
    commands: tuple[str, ...] = ("serve", "node", "gateway", "worker"),
) -> Any:  # noqa: ANN401 - a dataclass field stands for a value of the annotated type
    """A field of `Settings`; arguments as `Setting` has them."""
    metadata = {
        "kind": kind,
        "reason": reason,
        "minimum": least,
        "maximum": most,
        "choices": choices,
        "key": key,
        "is_flag": is_flag,
        "commands": commands,
    }
    return field(default=default, metadata=metadata)


def format_value(setting: Setting, value: Any) -> str:  # noqa: ANN401 - its type follows from `kind`
    """A single value as a person would write it, exact: "1GiB", "10s", "none", "true"."""
    if value is None:
        return "none"
    if setting.kind == "size":
        return format_size(int(value))
    if setting.kind == "duration":
        return format_duration(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
