"""`chunkstore token` and `chunkstore sign`: what they print is what the server takes."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from chunkstore.auth import Gate, parse_sign_keys, secret_hash
from chunkstore.cli import main
from chunkstore.config import Settings, resolve

Captured = pytest.CaptureFixture[str]


def make(capsys: Captured, *argv: str) -> tuple[Settings, str]:
    """The settings with a new token in them, and its secret."""
    assert main(["token", *argv]) == 0
    out, err = capsys.readouterr()
    secret = re.search(r"cs_[\w-]{43}\n", err)
    assert secret is not None
    assert "cs_" not in out
    return resolve({}, {}, out)[0], secret[0].strip()


def test_a_token_is_a_row_for_the_settings_and_a_secret_shown_once(capsys: Captured) -> None:
    settings, secret = make(capsys)
    [token] = settings.tokens
    assert f"sha256:{token.digest.hex()}" == secret_hash(secret)
    assert token.name == "token"
    assert token.rights == {"GET", "LIST", "PUT", "DELETE"}
    assert token.prefixes == ("/",)
    assert token.expires_s is None
    assert secret != make(capsys)[1]


def test_what_a_token_may_do(capsys: Captured) -> None:
    flags = ["--name", "enc", "--methods", "POST,DELETE", "--prefix", "/live/", "--prefix", "/a b/"]
    settings, _ = make(capsys, *flags, "--expires", "30d")
    [token] = settings.tokens
    assert token.name == "enc"
    assert token.rights == {"PUT", "DELETE"}
    assert token.prefixes == ("/live/", "/a b/")
    assert token.expires_s is not None
    assert abs(token.expires_s - time.time() - 30 * 86400) < 60


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["token", "--name", "a b"], "token.name: expected 1 to 64 letters"),
        (["token", "--methods", "GTE"], "token.methods: there is no 'GTE'"),
        (["token", "--methods", ""], "token.methods: expected some of GET, LIST"),
        (["token", "--prefix", "live"], "token.prefixes: expected 1 to 100 folders"),
        (["token", "--expires", "soon"], "--expires: expected a duration such as"),
        (["token", "--expires", "0"], "--expires: expected a duration from 1s to 3650d"),
        (["sign"], "Missing argument 'URL'"),
        (["sign", "/a", "--sign-key-file", "missing"], "missing: No such file or directory"),
        (["sign", "/a"], "sign_key_file: there is none: make one with --new-key"),
        (["sign", "a"], "URL: the path must begin with '/'"),
        (["sign", "http://[a/b"], "URL: "),
        (["sign", "/a//b"], "URL: an empty segment"),
        (["sign", "/a", "--prefix", "/b/"], "--prefix: /b/ is not a folder"),
        (["sign", "/live/a", "--prefix", "/live"], "--prefix: /live is not a folder"),
        (["sign", "/a", "--expires", "-1s"], "--expires: expected a duration"),
    ],
)
def test_wrong_input(argv: list[str], message: str, capsys: Captured) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


@pytest.mark.parametrize(
    ("url", "prefix", "good", "bad"),
    [
        ("https://o.example/live/a.mpd", None, "/live/a.mpd", "/live/b.mpd"),
        ("/live/a%20b/c?x=1", "/live/a%20b/", "/live/a b/d", "/live/a"),
        ("http://o.example:8080/live/a.mpd?x", "/", "/b", None),
    ],
)
def test_a_signed_url_opens_what_it_says(
    url: str,
    prefix: str | None,
    good: str,
    bad: str | None,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["sign", "--new-key"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "keys").write_text(text)
    monkeypatch.setenv("CHUNKSTORE_SIGN_KEY_FILE", str(tmp_path / "keys"))
    flags = [] if prefix is None else ["--prefix", prefix]
    assert main(["sign", url, "--expires", "2m", *flags]) == 0
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")
    assert out.startswith(url + ("&" if "?" in url else "?"))
    gate = Gate([], parse_sign_keys(text, "keys"), open_reads=False)
    query = out.strip().partition("?")[2]

    def opens(key: str, after_s: float) -> bool:
        now_s = time.time() + after_s
        return gate.judge("GET", key, authorization=None, query=query, now_s=now_s) is None

    assert opens(good, 100)
    assert not opens(good, 121)
    assert bad is None or not opens(bad, 0)


def test_what_was_signed_is_signed_anew(capsys: Captured, tmp_path: Path) -> None:
    """With the parameters of both signatures it was refused for having each twice."""
    keys = tmp_path / "keys"
    assert main(["sign", "--new-key"]) == 0
    keys.write_text(capsys.readouterr().out)
    sign = ["sign", "--sign-key-file", str(keys)]
    assert main([*sign, "/live/a?x=1", "--expires", "1s", "--prefix", "/live/"]) == 0
    assert main([*sign, capsys.readouterr().out.strip(), "--expires", "2m"]) == 0
    path, _, query = capsys.readouterr().out.strip().partition("?")
    gate = Gate([], parse_sign_keys(keys.read_text(), "keys"), open_reads=False)
    now_s = time.time() + 60
    assert gate.judge("GET", path, authorization=None, query=query, now_s=now_s) is None
    assert query.startswith("x=1&expires=")
    assert "prefix=" not in query
