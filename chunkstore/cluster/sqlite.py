"""The metadata in SQLite, for one gateway.

Rows of objects are by generation, so new ones come behind the others, and nodes are packed, two
bytes a part.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chunkstore.cluster.database import DAMAGED, Database, disk_errors
from chunkstore.cluster.meta import Manifest, Meta, NodeRecord, Open, Superseded, Swap
from chunkstore.cluster.names import Part
from chunkstore.errors import DiskError, StaleError

__all__ = ["SqliteMeta"]

T = TypeVar("T")

_APPLICATION = 0x63736D74  # "csmt"
_VERSION = 1
_SCHEMA = """
CREATE TABLE state (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO state VALUES ('generation', 1);
CREATE TABLE nodes (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, address TEXT NOT NULL,
    capacity_bytes INTEGER NOT NULL, incarnation TEXT NOT NULL, registered_s REAL NOT NULL);
CREATE TABLE manifests (key TEXT NOT NULL UNIQUE, generation INTEGER PRIMARY KEY,
    size_bytes INTEGER NOT NULL, part_bytes INTEGER NOT NULL, k INTEGER NOT NULL,
    nodes BLOB NOT NULL, facts BLOB NOT NULL);
CREATE TABLE opens (generation INTEGER PRIMARY KEY, key TEXT NOT NULL, nodes BLOB NOT NULL);
CREATE TABLE superseded (generation INTEGER PRIMARY KEY, nodes BLOB NOT NULL,
    deadline_s REAL NOT NULL);
CREATE INDEX superseded_due ON superseded (deadline_s);
CREATE TABLE swaps (generation INTEGER, part INTEGER, source INTEGER NOT NULL,
    target INTEGER NOT NULL, PRIMARY KEY (generation, part)) WITHOUT ROWID;
"""
_TYPES = (str, int, int, int, int, bytes, bytes)
_MANIFEST = "SELECT key, generation, size_bytes, part_bytes, k, nodes, facts FROM manifests"


class SqliteMeta(Meta):
    """The file; nobody else may use it until `close`.

    Args:
        path: of the database, made if it isn't there; a lock is kept beside it.
        new_id: of the cluster, 32 hex digits, for one that is made; None: by chance.
    Raises: as `Database`.
    """

    def __init__(self, path: Path, new_id: str | None = None) -> None:
        self._path = path
        cluster_id = new_id or secrets.token_hex(16)
        schema = f"{_SCHEMA} INSERT INTO state VALUES ('cluster_id', '{cluster_id}');"
        self._file = Database(path, application=_APPLICATION, version=_VERSION, schema=schema)
        self._rows = self._file.rows
        self._cluster_id = str(self._state("cluster_id"))

    @property
    def cluster_id(self) -> str:
        """As `Meta.cluster_id`."""
        return self._cluster_id

    @property
    def change_count(self) -> int:
        """As `Meta.change_count`."""
        return self._file.writer.total_changes

    def close(self) -> None:
        """As `Meta.close`."""
        self._file.close()

    # --- changing ------------------------------------------------------------------------------

    def batch(
        self, changes: Sequence[Callable[[Meta], T]], *, is_lasting: bool = True
    ) -> list[T | StaleError]:
        """As `Meta.batch`."""
        with self._file.transaction(is_synced=is_lasting):
            return [self._make(change) for change in changes]

    def _make(self, change: Callable[[Meta], T]) -> T | StaleError:
        self._file.writer.execute("SAVEPOINT change")
        try:
            outcome: T | StaleError = change(self)
        except StaleError as error:
            self._file.writer.execute("ROLLBACK TO change")
            outcome = error
        self._file.writer.execute("RELEASE change")
        return outcome

    def _change(self, text: str, *values: object) -> int:
        """How many rows it was."""
        assert self._file.writer.in_transaction, "changes are made inside `batch`"
        return self._file.writer.execute(text, values).rowcount

    def _state(self, name: str) -> Any:  # noqa: ANN401 - a text or a number
        [[value]] = self._rows("SELECT value FROM state WHERE name = ?", name)
        return value

    # --- nodes ---------------------------------------------------------------------------------

    def register(
        self, node_id: str, address: str, capacity_bytes: int, incarnation: str, now_s: float
    ) -> NodeRecord:
        """As `Meta.register`."""
        self._change(
            "INSERT INTO nodes (id, address, capacity_bytes, incarnation, registered_s)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET address = excluded.address,"
            " capacity_bytes = excluded.capacity_bytes, incarnation = excluded.incarnation",
            *(node_id, address, capacity_bytes, incarnation, now_s),
        )
        [row] = self._rows("SELECT * FROM nodes WHERE id = ?", node_id)
        return NodeRecord(*row)

    def nodes(self) -> list[NodeRecord]:
        """As `Meta.nodes`."""
        return [NodeRecord(*row) for row in self._rows("SELECT * FROM nodes ORDER BY number")]

    # --- uploads -------------------------------------------------------------------------------

    def reserve(self, count: int) -> int:
        """As `Meta.reserve`."""
        first = int(self._state("generation"))
        self._change("UPDATE state SET value = ? WHERE name = 'generation'", first + count)
        return first

    def begin_open(self, opened: Open) -> None:
        """As `Meta.begin_open`."""
        generation, key, nodes = opened
        assert generation < self._state("generation"), "its number was not reserved"
        self._change("INSERT INTO opens VALUES (?, ?, ?)", generation, key, _pack(nodes))

    def move_open(self, generation: int, nodes: tuple[int, ...]) -> None:
        """As `Meta.move_open`."""
        text = "UPDATE opens SET nodes = ? WHERE generation = ?"
        if not self._change(text, _pack(nodes), generation):
            raise StaleError(f"the upload {generation} was ended")

    def opens(self) -> list[Open]:
        """As `Meta.opens`."""
        rows = self._rows("SELECT * FROM opens ORDER BY generation")
        return [_open(row) for row in rows]

    def commit(self, manifest: Manifest, deadline_s: float) -> Manifest | None:
        """As `Meta.commit`."""
        key, generation, size, part_bytes, k, nodes, facts = manifest
        text = "DELETE FROM opens WHERE generation = ? AND key = ?"
        if not self._change(text, generation, key):
            raise StaleError(f"the upload {generation} was ended")
        replaced = self.manifest(key)
        if replaced is not None:
            if replaced.generation > generation:
                raise StaleError(f"{replaced.generation} is newer than the upload {generation}")
            self._supersede(replaced, deadline_s)
        self._change(
            "INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(key, generation, size, part_bytes, k, _pack(nodes), facts),
        )
        return replaced

    def abort(self, generation: int) -> Open | None:
        """As `Meta.abort`."""
        rows = self._rows("SELECT * FROM opens WHERE generation = ?", generation)
        self._change("DELETE FROM opens WHERE generation = ?", generation)
        return _open(rows[0]) if rows else None

    def delete(self, key: str, deadline_s: float) -> Manifest | None:
        """As `Meta.delete`."""
        manifest = self.manifest(key)
        if manifest is not None:
            self._supersede(manifest, deadline_s)
        return manifest

    def _supersede(self, manifest: Manifest, deadline_s: float) -> None:
        generation, nodes = manifest.generation, _pack(manifest.nodes)
        self._change("DELETE FROM manifests WHERE generation = ?", generation)
        self._change("INSERT INTO superseded VALUES (?, ?, ?)", generation, nodes, deadline_s)

    def due(self, now_s: float, limit: int) -> list[Superseded]:
        """As `Meta.due`."""
        text = "SELECT * FROM superseded WHERE deadline_s <= ? ORDER BY deadline_s, generation"
        rows = self._rows(f"{text} LIMIT ?", now_s, limit)
        return [Superseded(number, _unpack(nodes), when_s) for number, nodes, when_s in rows]

    def forget(self, generation: int) -> None:
        """As `Meta.forget`."""
        self._change("DELETE FROM superseded WHERE generation = ?", generation)

    # --- objects -------------------------------------------------------------------------------

    def stored(self, key: str) -> Manifest | None:
        """As `Meta.stored`."""
        with disk_errors(self._path):
            return _one(self._file.reader.execute(f"{_MANIFEST} WHERE key = ?", [key]).fetchall())

    def manifest(self, key: str) -> Manifest | None:
        """As `Meta.manifest`."""
        return _one(self._rows(f"{_MANIFEST} WHERE key = ?", key))

    def page(self, after: int, limit: int) -> list[Manifest]:
        """As `Meta.page`."""
        text = f"{_MANIFEST} WHERE generation > ? ORDER BY generation LIMIT ?"
        return [_manifest(row) for row in self._rows(text, after, limit)]

    def names(self) -> Iterator[tuple[str, int, bytes]]:
        """As `Meta.names`."""
        with disk_errors(self._path):
            yield from self._file.writer.execute("SELECT key, generation, facts FROM manifests")

    # --- parts ---------------------------------------------------------------------------------

    def begin_swap(self, swap: Swap) -> None:
        """As `Meta.begin_swap`."""
        generation, index = swap.part.generation, swap.part.index
        manifest = self._of(generation)
        if manifest is None or manifest.node(index) != swap.source:
            raise StaleError(f"part {index} of {generation} is not where it was")
        if swap.target in manifest.nodes:
            raise StaleError(f"node {swap.target} has a part of {generation}")
        under_way = "SELECT 1 FROM swaps WHERE generation = ? AND (part = ? OR target = ?)"
        if self._rows(under_way, generation, index, swap.target):
            raise StaleError(f"part {index} of {generation}, or its target, is in another swap")
        values = generation, index, swap.source, swap.target
        self._change("INSERT INTO swaps VALUES (?, ?, ?, ?)", *values)

    def swap_part(self, swap: Swap) -> bool:
        """As `Meta.swap_part`."""
        generation, index = swap.part.generation, swap.part.index
        manifest = self._of(generation)
        if not self._end(swap) or manifest is None or manifest.node(index) != swap.source:
            return False
        nodes = _pack(manifest.moved(index, swap.target).nodes)
        self._change("UPDATE manifests SET nodes = ? WHERE generation = ?", nodes, generation)
        return True

    def end_swap(self, swap: Swap) -> None:
        """As `Meta.end_swap`."""
        self._end(swap)

    def _end(self, swap: Swap) -> bool:
        text = "DELETE FROM swaps WHERE generation = ? AND part = ? AND source = ? AND target = ?"
        values = swap.part.generation, swap.part.index, swap.source, swap.target
        return bool(self._change(text, *values))

    def swaps(self) -> list[Swap]:
        """As `Meta.swaps`."""
        rows = self._rows("SELECT * FROM swaps")
        return [Swap(Part(number, index), *nodes) for number, index, *nodes in rows]

    def orphans(self, node: int, parts: Iterable[Part]) -> list[Part]:
        """As `Meta.orphans`."""
        assert self._file.writer.in_transaction, "nothing may come between"
        return [part for part in parts if not self._is_named(node, part)]

    def _is_named(self, node: int, part: Part) -> bool:
        generation = part.generation
        if self._rows("SELECT 1 FROM opens WHERE generation = ?", generation):
            return True
        rows = self._rows("SELECT nodes FROM manifests WHERE generation = ?", generation)
        rows += self._rows("SELECT nodes FROM superseded WHERE generation = ?", generation)
        for [packed] in rows:
            if _unpack(packed)[part.index : part.index + 1] == (node,):
                return True
        text = "SELECT 1 FROM swaps WHERE generation = ? AND part = ? AND target = ?"
        return bool(self._rows(text, generation, part.index, node))

    def _of(self, generation: int) -> Manifest | None:
        return _one(self._rows(f"{_MANIFEST} WHERE generation = ?", generation))

    # --- the whole -----------------------------------------------------------------------------

    def backup(self, path: Path) -> None:
        """As `Meta.backup`."""
        self._file.backup(path)


def _pack(nodes: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(nodes)}H", *nodes)


def _unpack(packed: bytes) -> tuple[int, ...]:
    if type(packed) is not bytes or len(packed) % 2:
        raise DiskError(f"a list of nodes in the metadata is {DAMAGED}")
    return struct.unpack(f"<{len(packed) // 2}H", packed)


def _open(row: Sequence[Any]) -> Open:
    generation, key, nodes = row
    return Open(generation, key, _unpack(nodes))


def _manifest(row: Sequence[Any]) -> Manifest:
    if tuple(map(type, row)) != _TYPES or min(row[1:5]) < 0:
        raise DiskError(f"an object in the metadata is {DAMAGED}")
    *plain, nodes, facts = row
    return Manifest._make([*plain, _unpack(nodes), facts])


def _one(rows: Sequence[Sequence[Any]]) -> Manifest | None:
    return _manifest(rows[0]) if rows else None
