"""Sizes, durations and switches as people write them, read strictly and written back exactly.

The values of flags and of the environment are always text; a settings file may also hold TOML's own
numbers and booleans. Each reader takes both and raises ValueError with a sentence that says what
was expected; whoever knows the place of the value turns it into a SettingsError. What a `format_`
function writes, its `parse_` function reads back as the same value.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

__all__ = [
    "format_duration",
    "format_size",
    "parse_count",
    "parse_duration",
    "parse_size",
    "parse_switch",
]

_NUMBER_AND_UNIT = re.compile(r"(\d{1,18}(?:\.\d{1,30})?) ?([a-z]*)", re.ASCII | re.IGNORECASE)

_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, **_BINARY}
_SIZE_NAMES = {2**10: "KiB", 2**20: "MiB", 2**30: "GiB", 2**40: "TiB"}

_DURATION_UNITS = {
    "": Decimal(1),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

_MAX_DURATION_S = 10**6 * 86400
"""Beyond every bound that a setting has, and short enough to be written exactly."""

_SWITCHES = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def parse_count(value: object) -> int:
    """A whole number, from an int or its text; underscores may group the digits.

    Raises:
        ValueError: not a whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d[\d_]{0,24}", value, re.ASCII):
        return int(value.replace("_", ""))
    raise ValueError(f"expected a whole number such as 1000, got {value!r}")


def parse_size(value: object) -> int:
    """A size in bytes, from an int or text such as "256MiB", "1.5GiB", "1GB" (10^9) or "65536".

    Raises:
        ValueError: no size, or not a whole number of bytes.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _NUMBER_AND_UNIT.fullmatch(value.strip())):
        number, unit = match.groups()
        if unit.lower() in _SIZE_UNITS:
            size_bytes = Decimal(number) * _SIZE_UNITS[unit.lower()]
            if size_bytes == int(size_bytes):
                return int(size_bytes)
    raise ValueError(f"expected a size such as 256MiB, 1GB or 65536, got {value!r}")


def parse_duration(value: object) -> float:
    """A duration in seconds, from a number or text such as "10", "10s", "500ms", "2m", "1h", "1d".

    Raises:
        ValueError: no duration, or one of more than a million days.
    """
    seconds: float | Decimal = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (match := _NUMBER_AND_UNIT.fullmatch(value.strip())):
        number, unit = match.groups()
        if unit in _DURATION_UNITS:
            seconds = Decimal(number) * _DURATION_UNITS[unit]
    if seconds > _MAX_DURATION_S or seconds < -_MAX_DURATION_S:
        at_most = format_duration(_MAX_DURATION_S)
        raise ValueError(f"expected a duration of at most {at_most}, got {value!r}")
    if math.isnan(seconds):
        raise ValueError(f"expected a duration such as 10s, 500ms or 2m, got {value!r}")
    return float(seconds)


def parse_switch(value: object) -> bool:
    """On or off, from a bool or the text 1, 0, true, false, yes, no, on, off.

    Raises:
        ValueError: none of these.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _SWITCHES:
        return _SWITCHES[value.lower()]
    raise ValueError(f"expected true or false, got {value!r}")


def format_size(size_bytes: int) -> str:
    """The shortest exact text of a size: 1073741824 is "1GiB", 1000 is "1000"."""
    for factor in sorted(_SIZE_NAMES, reverse=True):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{_SIZE_NAMES[factor]}"
    return str(size_bytes)


def format_duration(duration_s: float) -> str:
    """The shortest exact text of a duration: 120.0 is "2m", 75.0 is "75s", 0.5 is "500ms"."""
    seconds = Decimal(str(duration_s))
    if 0 < seconds < 1 and seconds * 1000 == int(seconds * 1000):
        return f"{int(seconds * 1000)}ms"
    for unit in ("d", "h", "m"):
        if seconds and seconds % _DURATION_UNITS[unit] == 0:
            return f"{int(seconds / _DURATION_UNITS[unit])}{unit}"
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{seconds:f}s"
