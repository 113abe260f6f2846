"""docs/worker.md: what it shows runs, and DuckDB reads the chunks alone."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from chunkstore.cli import cli
from chunkstore.cli.worker import worker
from chunkstore.worker import DataChunk, DataManager
from chunkstore.worker.assignment import parse_assignment
from chunkstore.worker.core.names import ChunkName
from chunkstore.worker.descriptor import Descriptor, FileFacts
from chunkstore.worker.disk.folder import ChunkFolder
from tests.docs.pages import DOCS, ROOT, block

PAGE = DOCS / "worker.md"
EXAMPLE = DOCS / "examples" / "sql_over_chunks.py"
DATASET = hashlib.sha256(b"dataset").digest()
ROWS = 100
"""Of each chunk, a row a block."""


def put(chunks: ChunkFolder, number: int, start: int) -> None:
    """A chunk with a Parquet file, as if it had been downloaded."""
    chunk_id = hashlib.sha256(b"%d" % number).digest()
    url = "http://storage.test/blocks.parquet"
    chunk = DataChunk(chunk_id, DATASET, range(start, start + ROWS), {"blocks.parquet": url})
    name = ChunkName(start, start + ROWS, chunk_id, number + 1, chunk.identity)
    path = chunks.incoming(name) / "blocks.parquet"
    with duckdb.connect() as connection:
        rows = f"SELECT range AS number, range * 2 AS gas FROM range({start}, {start + ROWS})"
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
    data = path.read_bytes()
    facts = FileFacts(url, len(data), hashlib.sha256(data).digest(), "computed", "")
    chunks.publish(name, Descriptor(chunk, {"blocks.parquet": facts}))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder with three chunks, blocks 0 to 300."""
    chunks = ChunkFolder(tmp_path / "data")
    try:
        for number in range(3):
            put(chunks, number, number * ROWS)
    finally:
        chunks.close()
    return tmp_path / "data"


@pytest.fixture
def manager(data_dir: Path) -> Iterator[DataManager]:
    """A manager of it."""
    with DataManager(data_dir) as manager:
        yield manager


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example."""
    spec = importlib.util.spec_from_file_location("sql_over_chunks", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sql_sees_the_blocks_that_were_asked_for(example: ModuleType, manager: DataManager) -> None:
    rows = example.query(
        manager, DATASET, range(50, 250), "SELECT count(*), min(number), max(gas) FROM blocks"
    )
    assert rows == [(200, 50, 498)]
    assert manager.status().hold_count == 0
    with pytest.raises(LookupError, match="block 300 is not here"):
        example.query(manager, DATASET, range(250, 301), "SELECT 1")
    assert manager.status().hold_count == 0


def test_a_block_that_several_chunks_have_counts_once(example: ModuleType, data_dir: Path) -> None:
    chunks = ChunkFolder(data_dir)
    try:
        put(chunks, 3, ROWS // 2)
    finally:
        chunks.close()
    with DataManager(data_dir) as manager:
        sql = "SELECT count(*), count(DISTINCT number) FROM blocks"
        assert example.query(manager, DATASET, range(20, 280), sql) == [(260, 260)]
        assert example.query(manager, DATASET, range(60, 280), sql) == [(220, 220)]


def test_sql_reads_and_writes_nothing_else(
    example: ModuleType, manager: DataManager, data_dir: Path
) -> None:
    other = data_dir / "chunkstore-worker.json"
    [mine, *_] = (data_dir / "ready" / DATASET.hex()).glob("*/blocks.parquet")
    before = mine.read_bytes()
    for sql, error in (
        (f"SELECT * FROM read_text('{other}')", duckdb.Error),
        ("SELECT * FROM read_csv('https://example.org/x.csv')", duckdb.Error),
        ("SET lock_configuration = false", ValueError),
        (f"COPY (SELECT 1) TO '{mine}' (FORMAT parquet, USE_TMP_FILE false)", ValueError),
        ("INSTALL httpfs", ValueError),
        ("SELECT 1; DROP VIEW blocks", ValueError),
        ("", ValueError),
    ):
        with pytest.raises(error, match="."):
            example.query(manager, DATASET, range(300), sql)
    assert mine.read_bytes() == before
    assert manager.status().hold_count == 0


def test_it_runs_as_a_command(data_dir: Path) -> None:
    words = [str(data_dir), DATASET.hex(), "0", "300", "SELECT sum(gas) FROM blocks"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *words], capture_output=True, cwd=ROOT, check=False
    )
    assert done.stdout == b"89700\n", done.stderr


def test_the_assignment_on_the_page_is_one() -> None:
    [chunk] = parse_assignment(block(PAGE, "assignment").encode())
    assert chunk.records["blocks.parquet"].size_bytes is not None
    assert chunk.records["logs.parquet"].sha256 is None


def test_the_commands_on_the_page_exist() -> None:
    named = set(re.findall(r"chunkstore worker ([a-z]+)", PAGE.read_text(encoding="utf-8")))
    assert named == set(worker.commands)
    assert "worker" in cli.commands


def test_the_lines_of_python_on_the_page_run(data_dir: Path, tmp_path: Path) -> None:
    for name in ("thread", "trio"):
        text = block(PAGE, name).replace('"chunks"', repr(str(data_dir)))
        script = tmp_path / f"shown_{name}.py"
        script.write_text(f"DATASET = bytes.fromhex({DATASET.hex()!r})\n{text}")
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)], capture_output=True, cwd=ROOT, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"blocks.parquet" in done.stdout
