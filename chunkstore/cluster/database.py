"""A file of SQLite that is ours alone: its version, its lock, its errors, a copy of it.

A write-ahead log that is synced by each transaction, but for those that say otherwise: what was
committed is on the disk.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from chunkstore.errors import DataDirError, DiskError, DiskFullError

__all__ = ["DAMAGED", "Database", "disk_errors"]

DAMAGED = "damaged; `chunkstore cluster recover` makes it anew in another folder"
"""What is said of a file, or of what stands in it, and what to do about it."""
_REFUSED = {sqlite3.SQLITE_NOTADB: "no database of SQLite", sqlite3.SQLITE_CORRUPT: DAMAGED}


class Database:
    """The file; nobody else may use it until `close`.

    Args:
        path: made if it isn't there; a lock is kept beside it.
        application: the number that says whose databases these are.
        version: of the schema.
        schema: what a new one gets: statements, each with its semicolon.
    Raises:
        DataDirError: it is in use, damaged, of another version, or no such database; it is
            untouched.
        DiskError: it can't be read or written.

    Attributes:
        writer: the connection that changes it.
        reader: another one, which sees what was committed and never waits for a commit.
    """

    def __init__(self, path: Path, *, application: int, version: int, schema: str) -> None:
        path = Path(os.path.realpath(path))  # who comes by a link finds the same lock beside it
        self._path = path
        self._lock = _take_lock(path)
        try:
            with disk_errors(path):
                self.writer = _connect(path)
                try:
                    if self._is_new(application, version):
                        self._make(application, version, schema)
                    else:
                        self._check()
                    self.writer.execute("PRAGMA synchronous = FULL")
                    self._is_synced = True
                    self.reader = _connect(path)
                except BaseException:  # whatever it is: nobody else can close it
                    self.writer.close()
                    raise
        except BaseException:  # whatever it is: others may have the file
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Give the files back."""
        self.reader.close()
        self.writer.close()
        os.close(self._lock)

    def _is_new(self, application: int, version: int) -> bool:
        with self._damage_told():
            found, known = self._number("application_id"), self._number("user_version")
            [tables] = self.writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not (found or known or tables):
            return True
        if found != application:
            raise DataDirError(self._path, "a database of another program")
        if known != version:
            detail = f"its version is {known}, and this program knows {version}"
            raise DataDirError(self._path, detail)
        return False

    def _check(self) -> None:
        """What can't be right is said before anything is read of it. Cost: 0.2 us a row."""
        with self._damage_told():
            [[found]] = self.writer.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise DataDirError(self._path, DAMAGED)

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:  # in the words of an error, which quote what is there
            raise DataDirError(self._path, DAMAGED) from error
        except sqlite3.DatabaseError as error:
            detail = _REFUSED.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
            if detail is None:
                raise
            raise DataDirError(self._path, detail) from error

    def _number(self, pragma: str) -> int:
        [value] = self.writer.execute(f"PRAGMA {pragma}").fetchone()
        return int(value)

    def _make(self, application: int, version: int, schema: str) -> None:
        self.writer.execute("PRAGMA journal_mode = WAL")
        marks = f"PRAGMA application_id = {application}; PRAGMA user_version = {version};"
        self.writer.executescript(f"BEGIN IMMEDIATE; {marks} {schema} COMMIT;")
        _sync(self._path.parent)

    @contextmanager
    def transaction(self, *, is_synced: bool = True) -> Iterator[None]:
        """All that is changed inside is durable at its end, or undone by an exception.

        Args:
            is_synced: false: a power cut may undo it, too, with all that came after it.
        Raises:
            DiskError: nothing was changed.
        """
        with disk_errors(self._path):
            if is_synced != self._is_synced:  # the log is one: a sync takes in what waited for none
                level = "FULL" if is_synced else "NORMAL"
                self.writer.execute(f"PRAGMA synchronous = {level}")
                self._is_synced = is_synced
            self.writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.writer.execute("COMMIT")
            except BaseException:  # a full disk has rolled it back by itself
                if self.writer.in_transaction:
                    self.writer.execute("ROLLBACK")
                raise

    def rows(self, text: str, *values: object) -> list[Any]:
        """What the writer finds.

        Raises:
            DiskError: it can't be read.
        """
        with disk_errors(self._path):
            return self.writer.execute(text, values).fetchall()

    def backup(self, path: Path) -> None:
        """Copy all that was committed to one file, replacing that at once; by any thread.

        Raises:
            DiskError: what was there before still is.
        Source: SQLite's online backup; in a write-ahead log readers hold nobody up.
        """
        part = path.with_name(path.name + ".part")
        with disk_errors(path):
            part.unlink(missing_ok=True)  # of one that was cut short
            with closing(_connect(self._path)) as source, closing(_connect(part)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # so that it is one file
            _sync(part)
            part.rename(path)
            _sync(path.parent)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that nobody else may read; SQLite's own beside it take that on."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _take_lock(path: Path) -> int:
    lock = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirError(lock, error.strerror or str(error)) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise DataDirError(path, "in use by another process") from None
    return fd


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What SQLite and the system say of a file, in the words of a store.

    Raises:
        DiskError: or a DiskFullError.
    """
    try:
        yield
    except sqlite3.Error as error:
        is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        raise (DiskFullError if is_full else DiskError)(f"{path}: {error}") from error
    except UnicodeDecodeError as error:  # a text is none
        raise DiskError(f"{path}: {DAMAGED}") from error
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror or error}") from error


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
