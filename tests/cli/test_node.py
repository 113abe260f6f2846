"""What is wrong with the input of `chunkstore node` is one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkstore.cli import main

GATEWAY = "--join http://127.0.0.1:1"
ALL = f"--data data {GATEWAY} --secret-file secret --listen 127.0.0.1:0"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Secrets, good and bad; the current folder."""
    for name, text, mode in [
        ("secret", "0123456789abcdef\n", 0o640),
        ("short", "0123456789abcde\n", 0o600),
        ("readable", "0123456789abcdef", 0o644),
        ("writable", "0123456789abcdef", 0o602),
    ]:
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "holiday.jpg").touch()
    (tmp_path / "node.toml").write_text('ttl = "1h"\n')
    (tmp_path / "policies.toml").write_text('[[policies]]\nmatch = "*"\natomic = true\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


CASES = [
    ("", "data: a node takes --data, --join and --secret-file"),
    ("--data data", "join: a node takes"),
    (f"--data data {GATEWAY}", "secret_file: a node takes"),
    (f"{ALL} --join gateway:1", "--join: expected a URL such as"),
    (f"{ALL} --join http://", "join: expected a URL such as"),
    (f"--listen unix:n {ALL}", "listen: a gateway comes over the network"),
    (f"{ALL} --secret-file missing", "missing: No such file or directory"),
    (f"{ALL} --secret-file .", ".: Is a directory"),
    (f"{ALL} --secret-file short", "short: expected a secret of 16 to 4096 bytes, got 15"),
    (f"{ALL} --secret-file readable", "readable: everybody may read or write it"),
    (f"{ALL} --secret-file writable", "writable: everybody may read or write it"),
    (f"{ALL} --data strange", "strange: not empty, and no data dir"),
    (
        f"{ALL} --config node.toml",
        "ttl: it is for `chunkstore serve` and `chunkstore gateway`, and comes from file node.toml",
    ),
    (f"{ALL} --config policies.toml", "policies: it is for `chunkstore serve`"),
    (f"{ALL} --open-writes", "No such option"),
]


@pytest.mark.parametrize(("flags", "expected"), CASES, ids=[flags for flags, _ in CASES])
def test_one_line_and_exit_code_2(
    folder: Path, flags: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["node", *flags.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("chunkstore: ")
    assert expected in err
    assert err.count("\n") == 1
    assert "0123456789" not in err


@pytest.mark.parametrize("flags", ["--join http://h", "--secret-file secret"])
def test_serve_has_no_such_flags(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *flags.split()]) == 2
    assert "No such option" in capsys.readouterr().err


def test_nor_takes_it_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHUNKSTORE_JOIN", "http://127.0.0.1:1")
    assert main(["serve", "--listen", "0.0.0.0:0"]) == 2
    expected = "join: it is for `chunkstore node`, and comes from environment CHUNKSTORE_JOIN"
    assert expected in capsys.readouterr().err
