"""Keys and prefixes against a naive model that follows DESIGN.md section 5 rule by rule."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chunkstore.errors import PathError
from chunkstore.paths import MAX_KEY_BYTES, encode_key, parent, parse_key, parse_prefix

# What the rules turn on, more often than chance would bring it.
PIECES = st.sampled_from(
    ["/", "//", ".", "..", "...", "%2e", "%2E%2e", "%2f", "%2F", "%252F", "%", "%4", "%zz", "\\"]
    + ["%5c", "%00", "%7f", "%C2%85", "%c3%a9", "%ff", "%F0%9F%8E%A5", "é", " ", "%20", "?", "#"]
    + ["a", "seg-1.m4s", "live", "x" * 300, "%41" * 150, "\x00", "~", "*", "+", "[", "'", "%25"]
)
PATHS = st.lists(PIECES, max_size=8).map(lambda parts: "/" + "".join(parts)) | st.text()

SEGMENTS = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"),
    min_size=1,
    max_size=12,
).filter(lambda segment: segment not in (".", ".."))
KEYS = st.builds(
    lambda segments, slash: "/" + "/".join(segments) + slash,
    st.lists(SEGMENTS, min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)


def model(path: str, *, is_prefix: bool) -> str | None:
    """The key or prefix in normal form, None if there is none: slow, one rule a line."""
    if not path.startswith("/") or any(not "!" <= c <= "~" or c in "?#\\" for c in path):
        return None
    for after in path.split("%")[1:]:
        if len(after) < 2 or not all(c in "0123456789abcdefABCDEF" for c in after[:2]):
            return None
        if after[:2].upper() == "2F":
            return None
    try:
        text = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return None
    if len(text.encode()) > 1024 or "\\" in text:
        return None
    if any(unicodedata.category(c) == "Cc" for c in text):
        return None
    segments = text[1:].split("/")
    if is_prefix or segments[-1] == "":
        last = segments.pop()
        if not is_prefix and not segments and not last:
            return None
    if any(segment in ("", ".", "..") for segment in segments):
        return None
    return text


@given(PATHS)
@example("/")
@example("//")
@example("/" + "x" * (MAX_KEY_BYTES - 1))
@example("/" + "x" * MAX_KEY_BYTES)
@example("/" + "%41" * (MAX_KEY_BYTES - 1))
@example("/" + "%41" * MAX_KEY_BYTES)
@example("/a/..")
@example("/a/./b")
@example("/a\n")
def test_normal_form(path: str) -> None:
    for parse, is_prefix in ((parse_key, False), (parse_prefix, True)):
        expected = model(path, is_prefix=is_prefix)
        if expected is None:
            with pytest.raises(PathError) as caught:
                parse(path)
            assert caught.value.path == path
            assert caught.value.reason
        else:
            assert parse(path) == expected


@given(KEYS)
def test_a_key_comes_back_from_its_encoding(key: str) -> None:
    encoded = encode_key(key)
    assert encoded.isascii()
    assert parse_key(encoded) == key
    assert encode_key(parse_prefix(encoded)) == encoded


@given(KEYS)
def test_a_path_encoded_more_than_needed_names_the_same_key(key: str) -> None:
    eager = "".join(c if c == "/" else "".join(f"%{b:02x}" for b in c.encode()) for c in key)
    assert parse_key(eager) == key
    assert parse_key(quote(key)) == key


@given(KEYS, KEYS)
def test_keys_sort_as_their_bytes_do(one: str, other: str) -> None:
    assert (one < other) == (one.encode() < other.encode())


@given(KEYS, st.data())
def test_every_prefix_of_a_key_can_be_asked_for(key: str, data: st.DataObject) -> None:
    prefix = key[: data.draw(st.integers(1, len(key)))]
    assert parse_prefix(encode_key(prefix)) == prefix


@given(KEYS)
def test_the_parent_is_the_folder_a_key_lies_in(key: str) -> None:
    folder = parent(key)
    assert folder.endswith("/")
    assert key.startswith(folder)
    assert "/" not in key.removeprefix(folder).removesuffix("/")
    assert key.removeprefix(folder)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/", "names none"),
        ("live/a.mpd", "must begin with '/'"),
        ("/live//a.mpd", "empty segment"),
        ("/live/../a.mpd", "segment '..'"),
        ("/live/%2e%2E/a.mpd", "segment '..'"),
        ("/live%2Fa.mpd", "'%2F'"),
        ("/live%2", "two hexadecimal digits, not '%2'"),
        ("/caf%e9", "valid UTF-8"),
        ("/a%0d%0aX:y", "control character U+000D"),
        ("/a%5Cb", "backslash"),
        ("/a b", "U+0020 must be percent-encoded"),
        ("/" + "x" * 1024, "at most 1024 bytes once decoded, not 1025"),
    ],
)
def test_a_refusal_says_which_rule(path: str, reason: str) -> None:
    with pytest.raises(PathError) as caught:
        parse_key(path)
    assert reason in str(caught.value)
