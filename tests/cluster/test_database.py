"""The file of the metadata: what is opened and what is refused, who has it, and copies of it."""

from __future__ import annotations

import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.cluster.gateway import open_meta
from chunkstore.cluster.meta import Manifest, Meta, Open
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.errors import DataDirError, DiskError
from tests.cluster.naive import one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where none is yet."""
    return tmp_path / "meta.sqlite"


def refusal(path: Path) -> str:
    """Why it isn't opened; it is untouched, and free for others."""
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(DataDirError) as told:
            SqliteMeta(path)
    assert path.read_bytes() == before
    assert "\n" not in str(told.value)
    return told.value.detail


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"no database, but something else that matters to somebody" * 100)
    assert refusal(path) == "no database of SQLite"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**6), data=st.binary(min_size=1, max_size=300))
def test_what_was_damaged_is_refused_or_can_be_read(path: Path, at: int, data: bytes) -> None:
    """No checksum finds all of it; but whatever is there ends in one of our errors."""
    for old in path.parent.glob("meta.sqlite*"):
        old.unlink()
    SqliteMeta(path).close()
    fill(path, 300)
    whole = path.read_bytes()
    at %= len(whole)
    path.write_bytes(whole[:at] + data + whole[at + len(data) :])
    try:
        with closing(SqliteMeta(path)) as meta:
            meta.nodes(), meta.opens(), meta.swaps(), meta.due(0.0, 9), meta.page(0, 1000)
    except (DataDirError, DiskError):
        return


@pytest.mark.parametrize("column", ["nodes", "facts", "size_bytes"])
def test_a_value_of_another_kind_is_said(path: Path, column: str) -> None:
    SqliteMeta(path).close()
    fill(path, 3)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"UPDATE manifests SET {column} = 'abc' WHERE generation = 2")
    with closing(SqliteMeta(path)) as meta, pytest.raises(DiskError, match="is damaged"):
        meta.page(0, 10)


def test_what_is_damaged_is_said_with_what_to_do(path: Path) -> None:
    SqliteMeta(path).close()
    fill(path, 300)
    path.write_bytes(path.read_bytes()[:-8192])
    assert "`chunkstore cluster recover`" in refusal(path)


def test_another_programs_database_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE t (x)")
    assert refusal(path) == "a database of another program"


def test_a_newer_database_is_refused(path: Path) -> None:
    SqliteMeta(path).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 2")
    assert refusal(path) == "its version is 2, and this program knows 1"


def test_one_process_at_a_time(path: Path) -> None:
    with closing(SqliteMeta(path)):
        with pytest.raises(DataDirError, match="in use by another process"):
            SqliteMeta(path)
    SqliteMeta(path).close()


def test_one_process_at_a_time_by_whatever_name(path: Path) -> None:
    (path.parent / "other").mkdir()
    link = path.parent / "other" / "meta.sqlite"
    link.symlink_to(path)
    with closing(SqliteMeta(path)), pytest.raises(DataDirError, match="in use by another process"):
        SqliteMeta(link)
    SqliteMeta(link).close()
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(DiskError, match="meta"):
        SqliteMeta(link)


@pytest.mark.parametrize("name", ["chunkstore.json", "scrub", "meta.sqlite-wal"])
def test_a_folder_with_something_else_gets_no_new_cluster(tmp_path: Path, name: str) -> None:
    (tmp_path / "meta.sqlite.lock").touch()
    with closing(open_meta(tmp_path)):
        pass
    (tmp_path / "meta.sqlite").unlink()
    (tmp_path / name).touch()
    with pytest.raises(DataDirError, match=f"without the metadata of a cluster: it has '{name}'"):
        open_meta(tmp_path)
    assert not (tmp_path / "meta.sqlite").exists()


def test_a_folder_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(DataDirError, match="No such file or directory"):
        SqliteMeta(path / "x" / "y")


def test_nobody_else_may_read_it(path: Path) -> None:
    with closing(SqliteMeta(path)):
        for one in path.parent.iterdir():
            assert not stat.S_IMODE(one.stat().st_mode) & 0o077, one


def fill(path: Path, count: int) -> None:
    """So many objects."""
    rows = (
        (f"/folder/{n:08}.m4s", n, 9, 2, 5, b"\1\0" * 7, b"f" * 40) for n in range(1, count + 1)
    )
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany("INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def test_a_start_reads_200_000_names_a_second(path: Path) -> None:
    SqliteMeta(path).close()
    fill(path, 50_000)
    with closing(SqliteMeta(path)) as meta:
        took_s = []
        for _ in range(5):  # the best of some: others have the machine, too
            began_s = time.perf_counter()
            assert sum(1 for _ in meta.names()) == 50_000
            took_s.append(time.perf_counter() - began_s)
    assert 50_000 / min(took_s) > 200_000


def test_a_backup_is_one_file_that_opens_while_the_first_goes_on(path: Path) -> None:
    copy = path.with_name("copy")
    with closing(SqliteMeta(path)) as meta:
        node = one(meta, lambda m: m.register("x", "h:1", 1, "i", 1.0))
        copy.write_bytes(b"an older one")

        def in_midst(inner: Meta) -> Any:  # noqa: ANN401 - what a batch does matters not
            inner.reserve(5)
            meta.backup(copy)  # as another thread would
            return inner.reserve(1)

        assert one(meta, in_midst) == 6
        assert sorted(p.name for p in path.parent.iterdir() if "copy" in p.name) == ["copy"]
        with closing(SqliteMeta(copy)) as again:
            assert again.cluster_id == meta.cluster_id
            assert again.nodes() == [node]
            assert one(again, lambda m: m.reserve(1)) == 1


def test_a_backup_that_fails_leaves_what_was_there(path: Path) -> None:
    with closing(SqliteMeta(path)) as meta, pytest.raises(DiskError, match="No such file"):
        meta.backup(path.parent / "missing" / "copy")


def test_another_thread_looks_while_a_batch_is_under_way(path: Path) -> None:
    with closing(SqliteMeta(path)) as meta:
        manifest = Manifest("/a", 1, 7, 2, 5, (1, 2, 3, 4, 5), b"f")

        def commit(inner: Meta) -> None:
            inner.reserve(1)
            inner.begin_open(Open(1, "/a", manifest.nodes))
            inner.commit(manifest, 0.0)
            assert inner.manifest("/a") == manifest
            assert meta.stored("/a") is None  # it isn't durable yet

        one(meta, commit)
        assert meta.stored("/a") == manifest
