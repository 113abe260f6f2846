"""Folders that are ours: made durably, and one process's at a time. Blocking."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from chunkstore.errors import DataDirError

__all__ = ["LOCK_NAME", "make_folder", "open_anew", "sync_folder", "take_lock"]

LOCK_NAME = "lock"


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are durable.

    Raises:
        OSError: they may not be.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably.

    Raises:
        OSError: it can't be.
    """
    if folder.exists():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def open_anew(path: Path) -> TextIO:
    """A new file to write, in the place of what is left of another; no link is followed.

    Raises:
        OSError: it can't be made.
    """
    path.unlink(missing_ok=True)
    return path.open("x", encoding="utf-8")


def take_lock(folder: Path, *, is_reading: bool = False) -> int | None:
    """Have a folder for this process alone, until the descriptor is closed.

    Args:
        is_reading: nothing is written: the lock must be there, and doesn't say who has it.
    Returns:
        the lock's descriptor; None: one who only reads finds no lock, so nobody has it.
    Raises:
        DataDirError: another process has it.
        OSError: the lock can't be opened.
    """
    path = folder / LOCK_NAME
    flags = os.O_NOFOLLOW | (os.O_RDONLY if is_reading else os.O_RDWR | os.O_CREAT)
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        if is_reading:
            return None
        raise
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(fd)
        os.close(fd)
        raise DataDirError(folder, f"in use by {holder}") from None
    if not is_reading:
        os.ftruncate(fd, 0)
        with suppress(OSError):  # on a full disk others aren't told who has it
            os.pwrite(fd, b"process %d\n" % os.getpid(), 0)
    return fd


def _holder(fd: int) -> str:
    """Who has a lock, as far as it says so: one who was killed still stands there."""
    process, _, number = os.pread(fd, 100, 0).decode("ascii", "replace").strip().partition(" ")
    is_alive = number.isdigit() and Path("/proc", number).exists()
    return f"{process} {number}" if is_alive else "another process"
