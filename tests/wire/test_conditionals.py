"""Preconditions against RFC 9110's prose, written down as a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.wire import Fields, http_date, if_range_matches, precondition

ETAG = '"a"'
NOW_S = 1_795_442_580
DATES = {"before": http_date(NOW_S - 1), "same": http_date(NOW_S), "after": http_date(NOW_S + 1)}

# Value of a list -> whether it holds ETAG by strong and by weak comparison.
LISTS = {
    "*": (True, True),
    '"a"': (True, True),
    'W/"a"': (False, True),
    '"b"': (False, False),
    '"b", W/"a"': (False, True),
    ', "b" ,, "a",': (True, True),
    '"b,c", "a"': (True, True),
    'w/"a"': (False, False),
    "a": (False, False),
    '"a" "b"': (False, False),
    '"a", b': (False, False),
    '"a", *': (False, False),
    '"a': (False, False),
    "": (False, False),
}


def _model(
    fields: dict[str, str], method: str, *, exists: bool, dated: bool, is_open: bool
) -> int | None:
    """RFC 9110 section 13.2.2, step by step."""
    reads = method in ("GET", "HEAD")
    seconds = {
        text: NOW_S + offset for text, offset in zip(DATES.values(), (-1, 0, 1), strict=True)
    }
    since = seconds.get(fields.get("if-unmodified-since", ""))
    if "if-match" in fields:
        if not (exists and LISTS[fields["if-match"]][0]):
            return 412
    elif since is not None and dated and since < NOW_S:
        return 412
    if "if-none-match" in fields:
        if exists and LISTS[fields["if-none-match"]][1]:
            if not reads:
                return 412
            return None if is_open else 304
        return None
    since = seconds.get(fields.get("if-modified-since", ""))
    if reads and not is_open and dated and since is not None and since >= NOW_S:
        return 304
    return None


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "if-match": st.sampled_from(sorted(LISTS)),
            "if-none-match": st.sampled_from(sorted(LISTS)),
            "if-unmodified-since": st.sampled_from([*DATES.values(), "yesterday"]),
            "if-modified-since": st.sampled_from([*DATES.values(), "yesterday"]),
        },
    ),
    st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
    st.booleans(),
    st.booleans(),
)
def test_as_the_standard_says(
    fields: dict[str, str], method: str, exists: bool, is_open: bool
) -> None:
    status = precondition(
        Fields(fields),
        method=method,
        etag=ETAG if exists else None,
        modified_s=NOW_S if exists else None,
        is_open=is_open,
    )
    assert status == _model(fields, method, exists=exists, dated=exists, is_open=is_open)


def test_open_generation_exists_but_is_never_unmodified() -> None:
    fields = Fields({"if-none-match": "*"})
    for method, is_open, etag, expected in [
        ("PUT", True, ETAG, 412),
        ("PUT", False, None, None),
        ("GET", True, ETAG, None),
        ("GET", False, ETAG, 304),
    ]:
        assert (
            precondition(fields, method=method, etag=etag, modified_s=None, is_open=is_open)
            == expected
        )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"a"', True),
        ('"b"', False),
        ('W/"a"', False),
        ('"a", "a"', False),
        ("*", False),
        (DATES["same"], True),
        (DATES["before"], False),
        (DATES["after"], False),
        ("yesterday", False),
    ],
)
def test_if_range_is_exact(value: str, expected: bool) -> None:
    assert if_range_matches(Fields({"if-range": value}), etag=ETAG, modified_s=NOW_S) is expected
    assert if_range_matches(Fields({}), etag=ETAG, modified_s=NOW_S)


def test_weak_tag_of_ours_never_matches_if_range() -> None:
    assert not if_range_matches(Fields({"if-range": 'W/"a"'}), etag='W/"a"', modified_s=NOW_S)


def test_long_malformed_list_is_judged_in_linear_time() -> None:
    # Without a bound in time: quadratic work on 64 KiB would take minutes.
    for value in ('"' * 65536, "," * 65536 + "x", " \t," * 20000 + "x", '"a",' * 16000 + "x"):
        fields = Fields({"if-match": value})
        assert precondition(fields, method="PUT", etag=ETAG, modified_s=0, is_open=False) == 412
