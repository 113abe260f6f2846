"""The ledger's rows in SQLite: a cache, so that a start needn't read every volume.

It is written behind what it tells of: never before that is durable. What is lost of it, or all of
it, is found again by scanning the volumes from where it knows them. SQLite checks no content, so
every row has a checksum, and all together have one: a flipped bit, or a row that is lost, makes the
whole index worthless, which costs a scan and nothing else.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

from chunkstore.store.disk.ledger import Ledger, Stored, Tombstone
from chunkstore.store.disk.record import ID_BYTES, checksum

__all__ = ["Index", "IndexDamagedError"]

_CRC = struct.Struct("<I")
_OBJECT = struct.Struct("<QQQQII")
_TOMBSTONE = struct.Struct("<QQI")
_NUMBER = struct.Struct("<Q")
_DIGEST = struct.Struct(f"<QQ{ID_BYTES}s")
_VERSION = 2
_DAMAGE = (sqlite3.DatabaseError, ValueError)  # the second where it is read as text, or a number
_ALL = 1 << 64


class _Room(IntEnum):
    OBJECT = 1
    OPEN = 2
    TOMBSTONE = 3
    DEAD = 4
    VOLUME = 5
    STATE = 6


class IndexDamagedError(Exception):
    """It can't be trusted: begin a new one."""


class Index:
    """The file; for one thread.

    Args:
        path: of the database, made if it isn't there; None: in memory, for want of a better place.
        dir_id: of the data dir: what an index says of another one isn't believed.
    Raises:
        IndexDamagedError: it is no database, or one of another version.
    """

    def __init__(self, path: Path | None, dir_id: bytes) -> None:
        self._dir_id = dir_id
        try:
            if path is not None:
                _make_private(path)
            self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
            try:
                self._prepare()
            except BaseException:  # whatever it is: nobody else can close it
                self._database.close()
                raise
        except (OSError, *_DAMAGE) as error:
            raise IndexDamagedError(str(error)) from error
        self._sum = self._count = 0  # of all rows' checksums, and how many there are
        self._ends: dict[int, int] = {}  # of the volumes, as the rows have them

    def _prepare(self) -> None:
        # In a write-ahead log, so that a commit needs no sync: it may be lost, never torn.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        [version] = self._database.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise IndexDamagedError(f"version {version}, not {_VERSION}")
        self._database.execute(f"PRAGMA user_version = {_VERSION}")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS rows (room INTEGER, name TEXT, value BLOB,"
            " PRIMARY KEY (room, name)) WITHOUT ROWID"
        )
        self._database.execute("PRAGMA busy_timeout = 0")  # who has it may keep it

    @staticmethod
    def remove(path: Path) -> None:
        """Take the database and what SQLite lays beside it away."""
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).unlink()

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    # --- reading -------------------------------------------------------------------------------

    def load(self, ledger: Ledger) -> tuple[dict[int, int], int]:
        """Fill an empty ledger.

        Returns:
            up to where it knows each volume, by number; and the highest sequence.
        Raises:
            IndexDamagedError: a row isn't what was written, or one is missing.
        Cost: some microseconds an object.
        """
        known: dict[int, int] = {}
        sequence = 0
        digest = _DIGEST.pack(0, 0, self._dir_id)
        for room, name, value in self._rows():
            match room:
                case _Room.OBJECT:
                    ledger.load(name, _stored(value))
                case _Room.OPEN:
                    ledger.load_open(int(name), value)
                case _Room.TOMBSTONE:
                    ledger.tombstone(name, Tombstone(*_TOMBSTONE.unpack(value)))
                case _Room.DEAD:
                    ledger.dead[name] = frozenset(one[0] for one in _NUMBER.iter_unpack(value))
                case _Room.VOLUME:
                    [known[int(name)]] = _NUMBER.unpack(value)
                case _Room.STATE if name == "sequence":
                    [sequence] = _NUMBER.unpack(value)
                case _Room.STATE:
                    digest = value
        *counted, dir_id = _DIGEST.unpack(digest)
        if dir_id != self._dir_id:
            raise IndexDamagedError("it is another data dir's")
        if counted != [self._sum, self._count]:
            raise IndexDamagedError("rows are missing, or too many")
        self._ends = dict(known)
        ledger.touched.clear()
        return known, sequence

    def _rows(self) -> Iterator[tuple[int, str, bytes]]:
        try:
            for room, name, value in self._database.execute("SELECT room, name, value FROM rows"):
                if not _is_right(room, name, value):
                    raise IndexDamagedError(f"a row of room {room} is damaged")
                if (room, name) != _DIGEST_ROW:
                    self._sum = (self._sum + _CRC.unpack_from(value)[0]) % _ALL
                    self._count += 1
                yield room, name, value[_CRC.size :]
        except _DAMAGE as error:
            raise IndexDamagedError(str(error)) from error

    # --- writing -------------------------------------------------------------------------------

    def save(self, ledger: Ledger, volumes: Mapping[int, int], sequence: int) -> None:
        """Take in what changed, in one transaction; all of it must be durable.

        Args:
            volumes: up to where each is durable; those that are not named are gone.
        Raises:
            sqlite3.Error: nothing of it was taken in.
        """
        before = self._sum, self._count
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for touched in ledger.touched:
                for room, value in _values(ledger, touched):
                    self._put(room, str(touched), value)
            for number in self._ends.keys() - volumes.keys():
                self._put(_Room.VOLUME, str(number), None)
            for number, end in volumes.items() - self._ends.items():
                self._put(_Room.VOLUME, str(number), _NUMBER.pack(end))
            self._put(_Room.STATE, "sequence", _NUMBER.pack(sequence))
            digest = _checked(*_DIGEST_ROW, _DIGEST.pack(self._sum, self._count, self._dir_id))
            self._database.execute(_UPSERT, [*_DIGEST_ROW, digest])
            self._database.execute("COMMIT")
        except sqlite3.Error:
            self._sum, self._count = before
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._ends = dict(volumes)
        ledger.touched.clear()

    def _put(self, room: _Room, name: str, value: bytes | None) -> None:
        """A row's new content, or None to take it away."""
        found = self._database.execute(
            "SELECT value FROM rows WHERE room = ? AND name = ?", [room, name]
        ).fetchone()
        if found is not None:
            self._sum = (self._sum - _CRC.unpack_from(found[0])[0]) % _ALL
            self._count -= 1
        if value is not None:
            checked = _checked(room, name, value)
            self._sum = (self._sum + _CRC.unpack_from(checked)[0]) % _ALL
            self._count += 1
            self._database.execute(_UPSERT, [room, name, checked])
        elif found is not None:
            self._database.execute("DELETE FROM rows WHERE room = ? AND name = ?", [room, name])


_UPSERT = "INSERT INTO rows VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_DIGEST_ROW = (_Room.STATE, "digest")


def _make_private(path: Path) -> None:
    """An empty file for the database, with no right for others, which SQLite's own files take on.

    SQLite would make it with all that the umask leaves.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _values(ledger: Ledger, touched: str | int) -> Iterable[tuple[_Room, bytes | None]]:
    """The rows of a name or of an upload; None: there is none."""
    if isinstance(touched, int):
        yield _Room.OPEN, ledger.open.get(touched)
        return
    stored, tombstone = ledger.objects.get(touched), ledger.tombstones.get(touched)
    dead = b"".join(map(_NUMBER.pack, sorted(ledger.dead.get(touched, ()))))
    yield _Room.OBJECT, None if stored is None else _packed(stored)
    yield _Room.TOMBSTONE, None if tombstone is None else _TOMBSTONE.pack(*tombstone)
    yield _Room.DEAD, dead or None


def _packed(stored: Stored) -> bytes:
    fixed = _OBJECT.pack(
        stored.sequence,
        stored.generation,
        stored.size_bytes,
        stored.commit_volume,
        stored.commit_bytes,
        len(stored.facts),
    )
    return fixed + stored.facts + stored.packed


def _stored(value: bytes) -> Stored:
    sequence, generation, size, volume, commit_bytes, length = _OBJECT.unpack_from(value)
    facts = value[_OBJECT.size : _OBJECT.size + length]
    packed = value[_OBJECT.size + length :]
    return Stored(sequence, generation, size, facts, volume, commit_bytes, packed)


def _checked(room: int, name: str, value: bytes) -> bytes:
    return _CRC.pack(_row_crc(room, name, value)) + value


def _is_right(room: object, name: object, value: object) -> bool:
    """Whether it has the types and the checksum that were written."""
    if not (isinstance(room, int) and isinstance(name, str) and isinstance(value, bytes)):
        return False
    crc, content = value[: _CRC.size], value[_CRC.size :]
    return len(crc) == _CRC.size and _CRC.unpack(crc)[0] == _row_crc(room, name, content)


def _row_crc(room: int, name: str, value: bytes) -> int:
    return checksum(b"%d\0%b\0%b" % (room, name.encode("utf-8", "surrogatepass"), value))
