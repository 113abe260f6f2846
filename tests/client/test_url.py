"""URLs taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.client import check_token, parse_url


@pytest.mark.parametrize(
    ("text", "authority", "target"),
    [
        ("http://a", "a", "/"),
        ("http://a:80/b?c#d", "a", "/b?c"),
        ("https://a:443/b", "a", "/b"),
        ("https://a:80/b", "a:80", "/b"),
        ("http://[::1]:8080/b/", "[::1]:8080", "/b/"),
        ("http://u:p@a/b c/%20/é?x=ü", "a", "/b%20c/%20/%C3%A9?x=%C3%BC"),
    ],
)
def test_what_is_asked_where(text: str, authority: str, target: str) -> None:
    url = parse_url(text)
    assert (url.authority, url.target) == (authority, target)
    assert "u:p" not in str(url)
    assert parse_url(str(url)).target == target


@pytest.mark.parametrize(
    "text",
    ["", "a", "/a", "a:8080/b", "ftp://a/b", "http:///b", "http://a:b/", "http://a:99999/"]
    + ["http://[::1/", "http://é/", "http://a/\udcff", "http://a..b/", "https://.a/"]
    + [f"http://{'a' * 64}.b/"],
)
def test_what_is_no_url_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a URL such as http://127"):
        parse_url(text)


@pytest.mark.parametrize(
    "text",
    ["ftp://user:secret@a/b", "http://user:secret@a:99999/", "http://user:secret@[::1/"]
    + ["http://user:secret/@a/", "http://user:12/secret@a/\udcff", "http://user:secret?@a/"],
)
def test_a_message_does_not_repeat_a_password(text: str) -> None:
    with pytest.raises(ValueError, match="expected a URL") as caught:
        parse_url(text)
    assert "secret" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_a_value_error(text: str) -> None:
    try:
        url = parse_url("http://a/" + text)
    except ValueError:
        return
    assert url.target.isascii()
    assert url.target.isprintable()
    assert " " not in url.target


@pytest.mark.parametrize("token", ["", "a b", "a\r\nb", "é"])
def test_tokens_fit_in_a_field(token: str) -> None:
    with pytest.raises(ValueError, match="expected a token"):
        check_token(token)
    assert check_token("a.b-c") == "a.b-c"
