"""Preconditions: whether a request still applies to what is there now.

Entity tags are given and compared as they stand in an ETag field, quotes included.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from chunkstore.wire.dates import parse_http_date

if TYPE_CHECKING:
    from chunkstore.wire.fields import Fields

__all__ = ["if_range_matches", "precondition"]

_TAG: Final = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_GAP: Final = re.compile(r"[ \t]*(?:,[ \t]*)*")
_NO_TAGS: Final[tuple[tuple[bool, str], ...]] = ()


def _parse_tags(value: str) -> tuple[tuple[bool, str], ...]:
    """Split a list of entity tags into (weak, opaque tag); a malformed one is empty."""
    tags: list[tuple[bool, str]] = []
    gap = _GAP.match(value)
    while gap is not None and gap.end() < len(value):
        if tags and "," not in gap[0]:
            return _NO_TAGS
        tag = _TAG.match(value, gap.end())
        if tag is None:
            return _NO_TAGS
        tags.append((tag[1] is not None, tag[2]))
        gap = _GAP.match(value, tag.end())
    return tuple(tags)


def _matches(value: str, etag: str | None, *, strong: bool) -> bool:
    if etag is None:
        return False
    if value.strip(" \t") == "*":
        return True
    if strong:
        return (False, etag) in _parse_tags(value)
    opaque = etag.removeprefix("W/")
    return any(tag == opaque for _, tag in _parse_tags(value))


def _modified_after(value: str, modified_s: int | None) -> bool | None:
    """Say whether the object is newer than a date field; None where the field must be ignored."""
    if modified_s is None or (date_s := parse_http_date(value)) is None:
        return None
    return modified_s > date_s


def precondition(
    fields: Fields, *, method: str, etag: str | None, modified_s: int | None, is_open: bool
) -> int | None:
    """Evaluate If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since, in this order.

    Args:
        fields: the request's fields.
        method: the request's method; GET and HEAD read, every other one writes.
        etag: the current generation's entity tag with its quotes; None if nothing is there.
        modified_s: its modification time in whole seconds since 1970; None if it has none.
        is_open: it is still being written; it exists, but a reader's copy of it can't be whole, so
            that it never gives 304.
    Returns:
        None to go on, else the status to answer with: 304 or 412. A malformed list of entity tags
        matches nothing; a date that isn't one is ignored.
    Source: RFC 9110 section 13.2.2.
    """
    reads = method in ("GET", "HEAD")
    if (value := fields.get("if-match")) is not None:
        if not _matches(value, etag, strong=True):
            return 412
    elif (value := fields.get("if-unmodified-since")) is not None:
        if _modified_after(value, modified_s):
            return 412
    if (value := fields.get("if-none-match")) is not None:
        if not _matches(value, etag, strong=False):
            return None
        if not reads:
            return 412
        return None if is_open else 304
    if reads and not is_open and (value := fields.get("if-modified-since")) is not None:
        if _modified_after(value, modified_s) is False:
            return 304
    return None


def if_range_matches(fields: Fields, *, etag: str, modified_s: int) -> bool:
    """Say whether the Range field may be honoured.

    Args:
        fields: the request's fields.
        etag: the current generation's entity tag with its quotes.
        modified_s: its modification time in whole seconds since 1970.
    Returns:
        True without an If-Range, for a strong match of its entity tag, or for exactly our date.
    Source: RFC 9110 section 13.1.5.
    """
    value = fields.get("if-range")
    if value is None:
        return True
    if _TAG.fullmatch(value):
        return value == etag and not value.startswith("W/")
    return parse_http_date(value) == modified_s
