"""`chunkstore worker`: bad input is one line and exit code 2; and what the commands say and do."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from chunkstore.cli import main
from chunkstore.worker import DataChunk
from chunkstore.worker.core.names import ChunkName
from chunkstore.worker.descriptor import Descriptor, FileFacts
from chunkstore.worker.disk.folder import ChunkFolder
from tests.cli.server import Command, chunkstore, serving

DATASET = hashlib.sha256(b"dataset").digest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Things that are no data dir; the current folder."""
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "holiday.jpg").touch()
    (tmp_path / "file").touch()
    (tmp_path / "worker.toml").write_text('memory = "1GiB"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = "--data data --listen 127.0.0.1:0"
CASES = [
    ("", "data: a worker takes --data"),
    (f"{ALL} --data strange", "strange: not empty, and no folder of chunks"),
    (f"{ALL} --data file", "file: "),
    (f"{ALL} --assignment http://", "assignment: expected a URL such as"),
    (f"{ALL} --assignment s3://bucket/x", "assignment: expected a file, or a URL of http or https"),
    (f"{ALL} --quota 0", "--quota: expected 1 to"),
    (f"{ALL} --fetch-files 0", "--fetch-files: expected 1 to 1024"),
    (f"{ALL} --config worker.toml", "memory: it is for `chunkstore serve`"),
    (f"{ALL} --memory 1GiB", "No such option"),
    (f"{ALL} --listen 0.0.0.0:0", "listen: other machines could write and delete"),
    (f"{ALL} --admin 0.0.0.0:0", "admin: other machines could see"),
    ("ls", "Missing argument 'URL'"),
    ("ls ftp://x", "expected a URL such as"),
    ("ls http://127.0.0.1:1 --dataset 77", "--dataset: expected 64 hex digits"),
    ("find http://127.0.0.1:1 77 1", "DATASET: expected 64 hex digits"),
    (f"find http://127.0.0.1:1 {'0' * 64} x", "'x' is not a valid integer"),
    ("verify", "Missing option '--data'"),
    ("verify --data missing", "missing: it is no folder of chunks"),
    ("verify --data strange", "strange: it is no folder of chunks"),
    ("gc --data strange", "strange: it is no folder of chunks"),
    ("demo --seconds 0", "Invalid value"),
]


@pytest.mark.parametrize(("words", "expected"), CASES, ids=[words for words, _ in CASES])
def test_one_line_and_exit_code_2(
    folder: Path, words: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worker", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("chunkstore: ")
    assert expected in err
    assert err.count("\n") == 1
    assert not (folder / "missing").exists()


def test_serve_has_no_such_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--assignment", "x"]) == 2
    assert "No such option" in capsys.readouterr().err


# --- folders that no worker uses


def fill(folder: Path, count: int) -> list[Path]:
    """A data dir with chunks; their folders."""
    chunks = ChunkFolder(folder)
    paths = []
    try:
        for number in range(count):
            data = b"chunk %d" % number
            sha256 = hashlib.sha256(data).digest()
            url = "http://storage.test/a"
            chunk = DataChunk(sha256, DATASET, range(number, number + 1), {"a": url})
            name = ChunkName(number, number + 1, chunk.id, number + 1, chunk.identity)
            (chunks.incoming(name) / "a").write_bytes(data)
            facts = FileFacts(url, len(data), sha256, "computed", "")
            paths.append(chunks.publish(name, Descriptor(chunk, {"a": facts})))
    finally:
        chunks.close()
    return paths


def test_verify_names_what_is_damaged(tmp_path: Path, here: Command) -> None:
    paths = fill(tmp_path, 4)
    right = here("worker", "verify", "--data", str(tmp_path))
    assert (right.returncode, right.stderr) == (0, b"")
    assert right.stdout == b"4 chunks, 28 bytes: all is right\n"
    (paths[0] / "a").write_bytes(b"chunk 9")
    (paths[1] / "a").unlink()
    (paths[2] / ".chunk.json").write_text("{}")
    found = here("worker", "verify", "--data", str(tmp_path))
    assert found.returncode == 1
    lines = found.stdout.decode().splitlines()
    damaged = {line.split(": ")[1] for line in lines[:-1]}
    assert damaged == {hashlib.sha256(b"chunk %d" % number).hexdigest() for number in range(3)}
    assert lines[-1].endswith("3 damaged")
    as_json = here("worker", "verify", "--json", "--data", str(tmp_path))
    rows = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert sum(bool(row["problems"]) for row in rows) == 3


def test_gc_takes_away_what_is_left_over_and_nothing_else(tmp_path: Path, here: Command) -> None:
    paths = fill(tmp_path, 3)
    paths[0].with_name(paths[0].name + ".doomed").touch()
    (tmp_path / "incoming" / paths[1].name.replace(".000000000002-", ".000000000007-")).mkdir()
    (tmp_path / "trash" / paths[1].name.replace(".000000000002-", ".000000000008-")).mkdir()
    (tmp_path / "trash" / "mine").mkdir()
    done = here("worker", "gc", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert b"removed chunks: 1 on their way, 2 deleted; " in done.stdout
    assert b"mine is not ours" in done.stderr
    assert {path.name for path in paths[0].parent.iterdir()} == {path.name for path in paths[1:]}
    assert not any((tmp_path / "incoming").iterdir())
    assert [path.name for path in (tmp_path / "trash").iterdir()] == ["mine"]
    again = here("worker", "gc", "--data", str(tmp_path))
    assert again.stdout == b"removed chunks: 0 on their way, 0 deleted; 0 bytes\n"


# --- a worker that runs


working = partial(serving, command="worker")


def test_what_a_worker_has_can_be_asked_for(tmp_path: Path, here: Command) -> None:
    fill(tmp_path, 3)
    with working("--data", str(tmp_path)) as url:
        listed = here("worker", "ls", url)
        assert listed.returncode == 0, listed.stderr
        rows = [line.split() for line in listed.stdout.decode().splitlines()]
        assert sorted(row[1] for row in rows) == ["0-1", "1-2", "2-3"]
        assert {row[0] for row in rows} == {DATASET.hex()}
        none = here("worker", "ls", url, "--dataset", "0" * 64)
        assert (none.returncode, none.stdout) == (0, b"")

        found = here("worker", "find", url, DATASET.hex(), "1")
        assert found.returncode == 0
        first, second = found.stdout.decode().splitlines()
        assert first == " ".join(next(row for row in rows if row[1] == "1-2")[:1]) + first[64:]
        size, sha256, name, where = second.split()
        assert (size, name) == ("7", "a")
        assert sha256 == hashlib.sha256(b"chunk 1").hexdigest()
        assert here("get", where).stdout == b"chunk 1"
        missing = here("worker", "find", url, DATASET.hex(), "7")
        assert missing.returncode == 1
        assert b"no chunk that is wholly here has block 7" in missing.stderr
        assert missing.stderr.count(b"\n") == 1

        status = here("worker", "status", url)
        assert status.returncode == 0, status.stderr
        assert status.stdout.startswith(b"chunks: 3 ready; 0 references held\n")
        as_json = here("worker", "status", url, "--json")
        assert json.loads(as_json.stdout)["chunks"] == {"ready": 3}

        busy = here("worker", "verify", "--data", str(tmp_path))
        assert busy.returncode == 2
        assert b"in use by process" in busy.stderr
        second_one = chunkstore("worker", "--data", str(tmp_path), "--listen", "127.0.0.1:0")
        assert second_one.returncode == 2
        assert b"in use by process" in second_one.stderr
        assert b"listening" not in second_one.stderr


def test_what_is_no_worker_is_said(here: Command) -> None:
    with serving() as url:
        for words in (["ls"], ["status"]):
            asked = here("worker", *words, url, "--retries", "0")
            assert asked.returncode == 1
            assert asked.stderr.count(b"\n") == 1


STRANGE = ["{}", "[]", '{"chunks": 5}', '{"chunks": {}, "references": 0, "others": [{}]}']
CHUNK = {"dataset_id": "d", "id": "i", "block_range": [0, 1]}
FILES: list[object] = [7, [1], {"a": 1}, {"a": {}}]
STRANGE += [json.dumps({**CHUNK, "files": files}) for files in FILES]


def test_what_only_looks_like_a_worker_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as url:
        for text in STRANGE:
            paths = {"status": "/status", "find": f"/datasets/{'0' * 64}/blocks/1"}
            for path in paths.values():
                request = Request(url + path, text.encode(), method="PUT")
                urlopen(request).close()
            for words in (["status", url], ["find", url, "0" * 64, "1"]):
                assert main(["worker", *words]) == 1
                out, err = capsys.readouterr()
                assert out == ""
                assert err == "chunkstore: what the server says is not a worker's: is it one?\n"


def test_the_demo_ends_well() -> None:
    shown = chunkstore("worker", "demo", "--seconds", "2")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    lines = shown.stdout.decode().splitlines()
    assert lines[-1] == "every answer was right, and everything settled"
    assert all("0 wrong" in line for line in lines[:-1])
