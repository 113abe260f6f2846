"""HTTP dates: one written form, three that are read. No locale and no clock of its own."""

from __future__ import annotations

import calendar
import re
import time
from typing import Final

__all__ = ["http_date", "parse_http_date"]

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS: Final = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_DAY: Final = f"(?:{'|'.join(_DAYS)})"
_CLOCK: Final = r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_FORMS: Final = (
    re.compile(rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT"),
    re.compile(
        rf"(?:{_LONG_DAYS}), (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT"
    ),
    re.compile(rf"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})"),
)
# RFC 9110 places two-digit years within 50 years of now; without a clock, this century's first 70.
_CENTURY_PIVOT: Final = 70

_last: tuple[int, str] = (0, "Thu, 01 Jan 1970 00:00:00 GMT")


def http_date(unix_s: float) -> str:
    """Write a time as an IMF-fixdate; the last second asked for is remembered.

    Args:
        unix_s: seconds since 1970 in UTC; fractions are cut off.
    Source: RFC 9110 section 5.6.7.
    """
    global _last
    second = int(unix_s)
    memo = _last
    if memo[0] == second:
        return memo[1]
    at = time.gmtime(second)
    text = (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    )
    _last = (second, text)
    return text


def parse_http_date(text: str) -> int | None:
    """Read a date in any of the three forms.

    Returns:
        seconds since 1970 in UTC, or None for anything else (callers then ignore the field). The
        name of the day is not checked against the date.
    Source: RFC 9110 section 5.6.7.
    """
    for form in _FORMS:
        if match := form.fullmatch(text):
            break
    else:
        return None
    year, month, day = int(match["year"]), _MONTHS.index(match["month"]) + 1, int(match["day"])
    if len(match["year"]) == 2:
        year += 1900 if year >= _CENTURY_PIVOT else 2000
    if year < 1 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    clock = int(match["hour"]), int(match["minute"]), int(match["second"])
    return calendar.timegm((year, month, day, *clock))
