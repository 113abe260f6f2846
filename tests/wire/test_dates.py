"""HTTP dates: written as the standard library writes them, read in three forms."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.wire import http_date, parse_http_date

UNIX_S = 784111777  # RFC 9110's own example


@given(st.integers(0, 253402300799), st.floats(0, 0.999))
def test_written_dates_are_read_back(second: int, fraction: float) -> None:
    text = http_date(second)
    assert text == email.utils.formatdate(second, usegmt=True)
    assert parse_http_date(text) == second
    if second < 2**40:
        assert http_date(second + fraction) == text


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_three_forms_are_read(text: str) -> None:
    assert parse_http_date(text) == UNIX_S


def test_two_digit_years_are_of_the_last_or_this_century() -> None:
    assert parse_http_date("Monday, 23-Nov-26 14:03:00 GMT") == 1795442580
    assert parse_http_date("Thursday, 01-Jan-70 00:00:00 GMT") == 0


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "yesterday",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 6 Nov 1994 08:49:37 GMT",
        ),
        *("Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT"),
        *("Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT"),
        *("Sun, 29 Feb 1900 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT"),
        *("sun, 06 nov 1994 08:49:37 gmt", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov 1994"),
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
    ],
)
def test_anything_else_is_no_date(text: str) -> None:
    assert parse_http_date(text) is None
