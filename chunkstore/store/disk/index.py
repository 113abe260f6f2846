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
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from zlib import crc32

from chunkstore.store.disk.ledger import Ledger
from chunkstore.store.disk.record import ID_BYTES
from chunkstore.store.disk.stored import Extents, Stored, Tombstone

__all__ = ["Index", "IndexDamagedError"]

_CRC = struct.Struct("<I")
_TOMBSTONE = struct.Struct("<QQI")
_NUMBER = struct.Struct("<Q")
_DIGEST = struct.Struct(f"<QQ{ID_BYTES}s")
_VERSION = 2
# Besides what SQLite finds: what is read has another type, or is too short.
_DAMAGE = (sqlite3.DatabaseError, ValueError, TypeError, AttributeError, struct.error)
_ALL = 1 << 64
_PRIME = (1 << 32) - 5  # so that each bit of a number counts


class _Room(IntEnum):
    """What a row is of; then what its number and its name are.

    Objects are many: theirs is a sequence, so that new ones come behind the others.
    """

    OBJECT = 1  # sequence of its commit, name
    OPEN = 2  # generation, offset of the first of these extents: a part of what there is
    TOMBSTONE = 3  # its sequence, name
    DEAD = 4  # 0, name
    VOLUME = 5  # its number, nothing
    STATE = 6  # 0, what it is


class IndexDamagedError(Exception):
    """It can't be trusted: begin a new one."""


class Index:
    """The file; for one thread at a time.

    Args:
        path: of the database, made if it isn't there; None: in memory, for want of a better place.
        dir_id: of the data dir; another one's index says nothing of this one.
    Raises:
        IndexDamagedError: it is no database, or one of another version.
    """

    def __init__(self, path: Path | None, dir_id: bytes) -> None:
        self._dir_id = dir_id
        try:
            if path is not None:
                _make_private(path)
            self._database = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:  # whatever it is: nobody else can close it
                self._database.close()
                raise
        except (OSError, *_DAMAGE) as error:
            raise IndexDamagedError(str(error)) from error
        self._sum = self._count = 0  # of all rows' checksums, and how many there are
        self._ends: dict[int, int] = {}  # of the volumes, as the rows have them
        self._sequence = 0  # no row has a higher one
        self._with_dead: set[str] = set()  # names that may have such a row
        self._parts: dict[int, int] = {}  # of uploads: so many bytes of extents are in rows

    def _prepare(self) -> None:
        # In a write-ahead log, so that a commit needs no sync: it may be lost, never torn.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        [version] = self._database.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise IndexDamagedError(f"version {version}, not {_VERSION}")
        self._database.execute(f"PRAGMA user_version = {_VERSION}")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS rows (room INTEGER, number INTEGER, name TEXT, value BLOB,"
            " PRIMARY KEY (room, number, name)) WITHOUT ROWID"
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
        for room, number, name, value in self._rows():
            match room:
                case _Room.OBJECT:
                    ledger.load(name, value)
                case _Room.OPEN:
                    ledger.load_open(number, value)
                    self._parts[number] = self._parts.get(number, 0) + len(value)
                case _Room.TOMBSTONE:
                    ledger.tombstone(name, Tombstone(*_TOMBSTONE.unpack(value)))
                case _Room.DEAD:
                    self._with_dead.add(name)
                    ledger.load_dead(name, [one[0] for one in _NUMBER.iter_unpack(value)])
                case _Room.VOLUME:
                    [known[number]] = _NUMBER.unpack(value)
                case _Room.STATE if name == "sequence":
                    [sequence] = _NUMBER.unpack(value)
                case _Room.STATE:
                    digest = value
        *counted, dir_id = _DIGEST.unpack(digest)
        if dir_id != self._dir_id:
            raise IndexDamagedError("it is another data dir's")
        if counted != [self._sum, self._count]:
            raise IndexDamagedError("rows are missing, or too many")
        self._ends, self._sequence = dict(known), sequence
        ledger.noted(sequence)
        return known, sequence

    def _rows(self) -> Iterator[tuple[int, int, str, bytes]]:
        """All of them, checked; then their sum is known. In one piece, since they are many."""
        total = count = 0
        try:
            for room, number, name, value in self._database.execute(_SELECT):
                [crc], content = _CRC.unpack_from(value), value[_CRC.size :]
                if crc != _row_crc(room, number, name, content):
                    raise IndexDamagedError(f"a row of room {room} is damaged")
                if room != _Room.STATE or name != "digest":
                    total += crc
                    count += 1
                yield room, number, name, content
        except _DAMAGE as error:
            raise IndexDamagedError(str(error)) from error
        self._sum, self._count = total % _ALL, count

    # --- writing -------------------------------------------------------------------------------

    def save(self, ledger: Ledger, volumes: Mapping[int, int], sequence: int) -> None:
        """Take in what changed, in one transaction; all of it must be durable.

        Args:
            volumes: up to where each is durable; those that are not named are gone.
        Raises:
            sqlite3.Error: nothing of it was taken in.
        """
        before = self._sum, self._count
        parts, cleared = dict(self._parts), list[str]()
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for dropped in ledger.dropped_commits:
                self._take(_Room.OBJECT, dropped)
            for dropped in ledger.dropped_tombstones:
                self._take(_Room.TOMBSTONE, dropped)
            for touched in ledger.touched:
                if isinstance(touched, str):
                    self._put_name(ledger, touched, cleared)
                else:
                    self._put_open(ledger, touched, parts)
            for number in self._ends.keys() - volumes.keys():
                self._take(_Room.VOLUME, number)
            for number, end in volumes.items() - self._ends.items():
                self._put(_Room.VOLUME, number, "", _NUMBER.pack(end))
            self._put(_Room.STATE, 0, "sequence", _NUMBER.pack(sequence))
            value = _DIGEST.pack(self._sum, self._count, self._dir_id)
            digest = _closed(*_DIGEST_ROW, value)
            self._database.execute(_UPSERT, [*_DIGEST_ROW, digest])
            self._database.execute("COMMIT")
        except sqlite3.Error:
            self._sum, self._count = before
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._ends, self._parts, self._sequence = dict(volumes), parts, sequence
        self._with_dead.difference_update(cleared)
        ledger.noted(sequence)

    def _put_name(self, ledger: Ledger, name: str, cleared: list[str]) -> None:
        row, tombstone = ledger.objects.row(name), ledger.tombstones.get(name)
        if row is not None:
            self._put_record(_Room.OBJECT, Stored.decode(row).sequence, name, row)
        if tombstone is not None:
            packed = _TOMBSTONE.pack(*tombstone)
            self._put_record(_Room.TOMBSTONE, tombstone.sequence, name, packed)
        dead = ledger.dead.get(name)
        if dead:
            self._put(_Room.DEAD, 0, name, b"".join(map(_NUMBER.pack, sorted(dead))))
            self._with_dead.add(name)
        elif name in self._with_dead:
            self._take(_Room.DEAD, 0, name)
            cleared.append(name)

    def _put_record(self, room: _Room, sequence: int, name: str, value: bytes) -> None:
        if sequence > self._sequence:
            self._insert(room, sequence, name, value)
        else:
            self._put(room, sequence, name, value)

    def _put_open(self, ledger: Ledger, generation: int, parts: dict[int, int]) -> None:
        """What an upload has more than the last time; or all, if that is no longer so."""
        packed = ledger.open.get(generation)
        if packed is None or generation in ledger.moved:
            if parts.pop(generation, 0):
                self._take(_Room.OPEN, generation)
        if packed is not None:
            more = bytes(packed[parts.get(generation, 0) :])
            if more:
                self._put(_Room.OPEN, generation, str(Extents(more)[0].offset), more)
            parts[generation] = len(packed)

    def _put(self, room: _Room, number: int, name: str, value: bytes) -> None:
        """A row's new content."""
        self._discount(room, number, name)
        self._insert(room, number, name, value)

    def _insert(self, room: _Room, number: int, name: str, value: bytes) -> None:
        """The same where none is so far, or the sum doesn't have it any more."""
        closed = _closed(room, number, name, value)
        self._sum = (self._sum + _CRC.unpack_from(closed)[0]) % _ALL
        self._count += 1
        self._database.execute(_UPSERT, [room, number, name, closed])

    def _take(self, room: _Room, number: int, name: str | None = None) -> None:
        """No row of that number, and of that name if one is given, any more."""
        if self._discount(room, number, name):
            self._database.execute(*_where("DELETE", room, number, name))

    def _discount(self, room: _Room, number: int, name: str | None) -> int:
        """Take rows out of the sum that is of all of them; how many."""
        found = self._database.execute(*_where("SELECT value", room, number, name)).fetchall()
        for [value] in found:
            self._sum = (self._sum - _CRC.unpack_from(value)[0]) % _ALL
        self._count -= len(found)
        return len(found)


def _where(what: str, room: int, number: int, name: str | None) -> tuple[str, list[object]]:
    if name is None:
        return f"{what} FROM rows WHERE room = ? AND number = ?", [room, number]
    return f"{what} FROM rows WHERE room = ? AND number = ? AND name = ?", [room, number, name]


_SELECT = "SELECT room, number, name, value FROM rows"
_UPSERT = "INSERT INTO rows VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_DIGEST_ROW = (_Room.STATE, 0, "digest")


def _make_private(path: Path) -> None:
    """An empty file for the database, with no right for others, which SQLite's own files take on.

    SQLite would make it with all that the umask leaves.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _closed(room: int, number: int, name: str, value: bytes) -> bytes:
    """A row's content, behind its checksum."""
    return _CRC.pack(_row_crc(room, number, name, value)) + value


def _row_crc(room: int, number: int, name: str, value: bytes) -> int:
    """By zlib, which goes on from a number: nothing is copied. Cost: a third of a microsecond."""
    return crc32(value, crc32(name.encode(), (number * 8 + room) % _PRIME))
