"""SQL over the Parquet files of a block range: DuckDB inside references to the chunks that have it.

::

    python sql_over_chunks.py DATA DATASET START STOP "SELECT count(*) FROM blocks"

`query` is what a query engine would call, with a manager of its own. The SQL may come from others:
it sees the files of the chunks alone, as the view `blocks`, and can change nothing.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import duckdb

from chunkstore.worker import ChunkRef, DataManager

__all__ = ["query"]

FILE = "blocks.parquet"


def query(
    manager: DataManager, dataset_id: bytes, blocks: range, sql: str
) -> list[tuple[object, ...]]:
    """Rows of one SELECT over the chunks that have a range of blocks.

    Raises:
        LookupError: a block of it is not here.
        ValueError: it is not one SELECT.
        duckdb.Error: DuckDB refuses it.
    """
    with ExitStack() as held:
        parts = [
            (str(reference.path / FILE), part)
            for reference, part in _references(manager, dataset_id, blocks, held)
        ]
        paths = [path for path, _ in parts]
        with duckdb.connect() as connection:
            _check(connection, sql)
            connection.execute("SET threads = 2")
            connection.execute("SET memory_limit = '512MB'")
            # In this order: what may be read, nothing else, and no way back.
            connection.execute(f"SET allowed_paths = {paths!r}")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            # A chunk may have more than was asked for, and what the one before it has, too.
            selects = [
                f"SELECT * FROM read_parquet('{path}')"
                f" WHERE number >= {part.start} AND number < {part.stop}"
                for path, part in parts
            ]
            connection.execute(f"CREATE VIEW blocks AS {' UNION ALL '.join(selects)}")
            return connection.execute(sql).fetchall()


def _references(
    manager: DataManager, dataset_id: bytes, blocks: range, held: ExitStack
) -> list[tuple[ChunkRef, range]]:
    """The chunks that have them, and which of each; each is held until `held` is closed."""
    found: list[tuple[ChunkRef, range]] = []
    block = blocks.start
    while block < blocks.stop:
        reference = manager.find_chunk(dataset_id, block)
        if reference is None:
            raise LookupError(f"block {block} is not here")
        held.enter_context(reference)
        stop = min(reference.info.block_range.stop, blocks.stop)
        found.append((reference, range(block, stop)))
        block = stop
    return found


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """COPY could write where may be read."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ValueError("expected one SELECT")


def main() -> None:
    """As a command, on a data dir that no worker uses."""
    data_dir, dataset, start, stop, sql = sys.argv[1:]
    with DataManager(Path(data_dir)) as manager:
        for row in query(manager, bytes.fromhex(dataset), range(int(start), int(stop)), sql):
            print(*row, sep="\t")


if __name__ == "__main__":
    main()
