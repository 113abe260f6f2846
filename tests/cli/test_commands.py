"""The client's commands against a real origin over sockets: what they do, say and exit with."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from chunkstore.cli import main
from tests.cli.server import chunkstore, serving

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of an origin."""
    with serving() as url:
        yield url


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """A folder of its own for each test."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return f"{server}/{name}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files."""
    root = tmp_path / "folder"
    for name in ("a.txt", "b/c d.txt", ".secret"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "link").symlink_to(__file__)
    return root


def path_of(url: str) -> str:
    """Its path."""
    return "/" + url.split("/", 3)[3]


def test_a_file_there_and_back(url: str, tmp_path: Path, capfd: Captured) -> None:
    data = bytes(range(256)) * 1000
    (tmp_path / "a b").write_bytes(data)
    assert main(["put", str(tmp_path / "a b"), f"{url}/"]) == 0
    assert capfd.readouterr() == (f"{path_of(url)}/a%20b 256000 bytes, new\n", "")
    assert main(["put", str(tmp_path / "a b"), f"{url}/a b", "--json", "--chunk", "64KiB"]) == 0
    receipt = json.loads(capfd.readouterr().out)
    assert (receipt["bytes"], receipt["chunks"], receipt["new"]) == (256_000, 4, False)
    assert main(["put", "-q", str(tmp_path / "a b"), f"{url}/a b"]) == 0
    assert main(["get", f"{url}/a b", "-o", str(tmp_path / "back")]) == 0
    assert main(["get", f"{url}/a%20b", "-o", str(tmp_path)]) == 0
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "a b").read_bytes() == data
    assert not list(tmp_path.glob("*.part"))
    got = chunkstore("get", f"{url}/a b")
    assert (got.returncode, got.stdout, got.stderr) == (0, data, b"")
    assert main(["get", f"{url}/a b", "-o", "/dev/null"]) == 0
    assert not Path("/dev/null").is_file()


def test_stdin(url: str) -> None:
    put = chunkstore("put", "-", url, stdin=b"x" * 100_000)
    assert (put.returncode, put.stderr) == (0, b"")
    assert put.stdout.decode() == f"{path_of(url)} 100000 bytes, new\n"
    assert chunkstore("get", url).stdout == b"x" * 100_000


def test_an_object_of_no_bytes(url: str, tmp_path: Path) -> None:
    put = chunkstore("put", "-", url)
    assert put.stdout.decode() == f"{path_of(url)} 0 bytes, new\n"
    assert chunkstore("get", url, "-o", str(tmp_path / "a")).returncode == 0
    assert (tmp_path / "a").read_bytes() == b""
    assert chunkstore("put", str(tmp_path / "a"), url).returncode == 0


def test_a_folder(url: str, folder: Path, capfd: Captured) -> None:
    assert main(["put", str(folder), url]) == 0
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == [
        f"{path_of(url)}/a.txt 5 bytes, new",
        f"{path_of(url)}/b/c%20d.txt 9 bytes, new",
    ]
    assert err == f"chunkstore: left out {folder}/link: a link that leads out of the folder\n"
    assert main(["put", "--all", "-q", str(folder), url]) == 0
    assert main(["ls", "-r", f"{url}/"]) == 0
    assert capfd.readouterr().out.split() == [
        f"{path_of(url)}/{name}" for name in (".secret", "a.txt", "b/c%20d.txt")
    ]


def test_a_folder_of_which_some_cannot_be_stored(url: str, folder: Path, capfd: Captured) -> None:
    (folder / "back\\slash").write_text("x")
    assert main(["put", str(folder), url]) == 1
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 2
    assert f"chunkstore: {folder}/back\\slash: a backslash is not allowed\n" in err
    assert err.endswith("chunkstore: 1 of 3 not stored\n")


def test_listings(url: str, folder: Path, capfd: Captured) -> None:
    assert main(["put", "-q", str(folder), url]) == 0
    capfd.readouterr()
    assert main(["ls", f"{url}/"]) == 0
    assert capfd.readouterr().out == f"{path_of(url)}/a.txt\n{path_of(url)}/b/\n"
    assert main(["ls", "-l", f"{url}/"]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first.split()[:2] == ["5", "complete"]
    assert first.endswith(f"  {path_of(url)}/a.txt")
    assert second.split() == ["prefix", f"{path_of(url)}/b/"]
    assert main(["ls", "-r", "--json", f"{url}/"]) == 0
    entries = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [entry["size"] for entry in entries] == [5, 9]
    assert main(["ls", f"{url}/none"]) == 0
    assert capfd.readouterr() == ("", "")


def test_deleting(url: str, folder: Path, capfd: Captured) -> None:
    assert main(["put", "-q", str(folder), url]) == 0
    capfd.readouterr()
    assert main(["rm", f"{url}/a.txt"]) == 0
    assert capfd.readouterr() == (f"deleted {path_of(url)}/a.txt\n", "")
    assert main(["rm", f"{url}/a.txt"]) == 1
    assert "404 Not Found" in capfd.readouterr().err
    assert main(["rm", "-f", f"{url}/a.txt"]) == 0
    assert main(["rm", "-r", "-q", f"{url}/"]) == 0
    assert main(["ls", "-r", f"{url}/"]) == 0
    assert capfd.readouterr().out == ""


def test_tailing_a_complete_object(url: str, capfd: Captured) -> None:
    assert chunkstore("put", "-", url, stdin=b"abc").returncode == 0
    assert main(["tail", url]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == f"{url}: complete, so its chunks can't be told apart, 3 bytes so far"
    assert lines[-1] == "1 chunks, 3 bytes; 0 live, gap p50 -, p99 -"
    assert main(["tail", "--json", url]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["size"] == 3
    assert err.startswith("1 chunks")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["put", "missing", "URL"], "'missing' does not exist"),
        (["put", "/dev/null", "URL"], "neither a file nor a folder"),
        (["put", "-", "URL/"], "stdin has no name"),
        (["put", "-", "URL", "--chunk", "1KiB"], "--chunk is for files"),
        (["put", "-", "URL", "--rate", "fast"], "expected a size such as"),
        (["put", "-", "URL", "--rate", "0"], "expected more than 0"),
        (["put", "-", "URL", "--token", "a b"], "expected a token"),
        (["put", "-"], "Missing argument 'URL'"),
        (["get", "a/b"], "expected a URL such as http://127.0.0.1:8080"),
        (["get", "ftp://a/b"], "expected a URL such as http://127.0.0.1:8080"),
        (["get", "URL/", "-o", "."], "has no name for it"),
        (["get", "URL", "--wait", "-1"], "-1 is not in the range"),
        (["get", "URL", "--timeout", "0s"], "expected more than 0"),
        (["ls", "URL", "--retries", "many"], "not a valid int"),
        (["rm", "-r", "URL"], "URL must end with '/'"),
        (["tail"], "Missing argument 'URL'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    argv: list[str], message: str, url: str, capfd: Captured
) -> None:
    assert main([one.replace("URL", url) for one in argv]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("chunkstore: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["put", "get", "ls", "rm", "tail"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n", "401 Unauthorized"),
        (b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", "500 Internal Server Error"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP"),
        (b"", "closed the connection without an answer"),
        (None, "no connection to 127.0.0.1"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(
    command: str, answer: bytes | None, words: str, tmp_path: Path, capfd: Captured
) -> None:
    (tmp_path / "a").write_text("abc")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a"
        source = [str(tmp_path / "a")] if command == "put" else []
        if answer is None:
            listener.close()

        def play() -> None:
            while answer is not None:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(65536)
                    peer.sendall(answer)

        thread = Thread(target=play, daemon=True)
        thread.start()
        code = main([command, *source, url, "--retries", "0"])
        if answer is not None:
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    out, err = capfd.readouterr()
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1, err


def test_the_token_of_the_environment(
    url: str, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHUNKSTORE_TOKEN", "a\nb")
    assert main(["ls", url]) == 2
    assert "expected a token" in capfd.readouterr().err
    monkeypatch.setenv("CHUNKSTORE_TOKEN", "abc")
    assert main(["ls", url]) == 0
    assert main(["config"]) == 0  # it is no setting of the server's, and no mistake either
    assert "abc" not in capfd.readouterr().out


def test_help_is_tidy(capfd: Captured) -> None:
    assert main(["--help"]) == 0
    out = capfd.readouterr().out
    assert "Exit codes: 0 done, 1 failed, 2 wrong settings or input, 130 interrupted." in out
    for command in ("put", "get", "ls", "rm", "tail"):
        [line] = [line for line in out.splitlines() if line.startswith(f"  {command} ")]
        assert line.endswith(".")
        assert "..." not in line
