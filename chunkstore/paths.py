"""Object keys and LIST prefixes: one normal form, and nothing is ever repaired into it.

A *key* is what a request's path names, percent-decoded once: it begins with "/", is valid UTF-8 of
at most 1024 bytes, has no control characters, no backslash, no "%2F", no "." or ".." segment and no
empty segment but a trailing slash. "/" alone names no object. A *prefix* obeys the same rules about
characters, but may be "/" and may end in mid-segment, so its last segment is held to no rule about
whole segments. Python compares keys as strings in the order of their UTF-8 bytes, which is LIST's.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from chunkstore.errors import PathError

__all__ = ["MAX_KEY_BYTES", "encode_key", "parent", "parse_key", "parse_prefix"]

MAX_KEY_BYTES = 1024

# What RFC 3986 section 3.3 lets a segment carry as itself; `quote` adds letters, digits and "-._~".
_SAFE = "/!$&'()*+,;=:@"
# A key that is its own encoding: nearly every path an encoder or player sends.
_PLAIN_KEY = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[-\w.~!$&'()*+,;=:@]+)+/?", re.ASCII)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Besides what a key can't hold, characters that the request line or the query would have claimed.
_NEVER_RAW = re.compile(r"[^\x21-\x7e]|[?#]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def parse_key(path: str) -> str:
    """The object key that a path names.

    Args:
        path: a request's path as sent, percent-encoded, without query.
    Returns:
        the key in normal form, beginning with "/".
    Raises:
        PathError: the path isn't in normal form, or is "/", which names no object.
    Cost: one regular expression for a path in plain ASCII.
    Source: RFC 3986 sections 2.1 and 3.3; DESIGN.md section 5, Keys.
    """
    if len(path) <= MAX_KEY_BYTES and _PLAIN_KEY.fullmatch(path):
        return path
    key = _decode(path)
    if key == "/":
        raise PathError(path, "the path must name an object, and '/' alone names none")
    _check_segments(path, key.removesuffix("/"))
    return key


def parse_prefix(path: str) -> str:
    """The plain string prefix that a LIST asks for.

    Args:
        path: a request's path as sent, percent-encoded, without query.
    Returns:
        the prefix, decoded, beginning with "/"; it may end in mid-segment.
    Raises:
        PathError: no key could have been written this way.
    """
    if len(path) <= MAX_KEY_BYTES and _PLAIN_KEY.fullmatch(path):
        return path
    prefix = _decode(path)
    _check_segments(path, prefix[: prefix.rindex("/")])
    return prefix


def encode_key(key: str) -> str:
    """The path that names a key (or prefix) on the wire, so that `parse_key` gives the key back."""
    return key if _PLAIN_KEY.fullmatch(key) else quote(key, safe=_SAFE)


def parent(key: str) -> str:
    """The folder that a key lies in, with its trailing slash; the parent of "/a/" is "/"."""
    return key[: key.rindex("/", 0, -1) + 1]


def _decode(path: str) -> str:
    """Percent-decode once and apply the rules about single characters and length."""
    if not path.startswith("/"):
        raise PathError(path, "the path must begin with '/'")
    if len(path) > 3 * MAX_KEY_BYTES:
        raise PathError(path, f"the path must be at most {MAX_KEY_BYTES} bytes once decoded")
    if raw := _NEVER_RAW.search(path):
        raise PathError(path, f"the character U+{ord(raw[0]):04X} must be percent-encoded")
    if broken := _BROKEN_ESCAPE.search(path):
        escape = path[broken.start() : broken.start() + 3]
        raise PathError(path, f"'%' must be followed by two hexadecimal digits, not {escape!r}")
    if "%2F" in path or "%2f" in path:
        raise PathError(path, "'%2F' is not allowed, since a key can't tell it from '/'")
    octets = unquote_to_bytes(path)
    if len(octets) > MAX_KEY_BYTES:
        raise PathError(
            path, f"the path must be at most {MAX_KEY_BYTES} bytes once decoded, not {len(octets)}"
        )
    try:
        decoded = octets.decode()
    except UnicodeDecodeError:
        raise PathError(path, "the path must be valid UTF-8 once decoded") from None
    if control := _CONTROL.search(decoded):
        raise PathError(path, f"the control character U+{ord(control[0]):04X} is not allowed")
    if "\\" in decoded:
        raise PathError(path, "a backslash is not allowed")
    return decoded


def _check_segments(path: str, whole: str) -> None:
    """Apply the rules about segments to those of `whole`, each of which is complete."""
    for segment in whole.split("/")[1:]:
        if not segment:
            raise PathError(path, "an empty segment ('//') is not allowed")
        if segment in (".", ".."):
            raise PathError(path, f"a segment {segment!r} is not allowed")
