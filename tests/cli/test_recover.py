"""What is wrong with the input of `chunkstore cluster recover` is one line, and touches nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.cli import main

ALL = "--data new --secret-file secret --nodes 1 --cluster-listen 127.0.0.1:0"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A secret, and a folder with something in it; the current folder."""
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "meta.sqlite").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def taken() -> Iterator[str]:
    """An address where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


CASES = [
    ("", 2, "Missing option"),
    (f"{ALL} --nodes 0", 2, "--nodes"),
    (f"{ALL} --timeout soon", 2, "expected a duration such as"),
    (f"{ALL} --timeout 0", 2, "expected more than 0"),
    (f"{ALL} --secret-file missing", 2, "missing: No such file or directory"),
    (f"{ALL} --cluster-listen here", 2, "cluster_listen: expected HOST:PORT"),
    (f"{ALL} --cluster-listen unix:n", 2, "cluster_listen: nodes come over the network"),
    (f"{ALL} --cluster-listen TAKEN", 2, "cluster_listen: "),
    (f"{ALL} --data full", 2, "full: expected a new or an empty folder"),
    (f"{ALL} --data secret", 2, "secret: expected a new or an empty folder"),
    (f"{ALL} --data secret/new", 2, "secret/new: "),
    (f"{ALL} --timeout 200ms", 1, "0 of 1 storage servers came within 0.2 s"),
]


@pytest.mark.parametrize(("flags", "code", "expected"), CASES, ids=[case[0] for case in CASES])
def test_one_line_and_a_code(
    folder: Path,
    taken: str,
    flags: str,
    code: int,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = flags.replace("TAKEN", taken).split()
    assert main(["cluster", "recover", *words]) == code
    *said, last = capsys.readouterr().err.splitlines()
    assert last.startswith("chunkstore: ")
    assert expected in last
    assert all("nodes at" in line or "waiting for" in line for line in said)
    assert sorted(one.name for one in folder.iterdir()) == ["full", "secret"]
