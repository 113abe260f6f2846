"""A folder that is ours: its format and id, and who has it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from pathlib import Path

from chunkstore.errors import DataDirError
from chunkstore.store.disk.files import Files
from chunkstore.store.disk.record import ID_BYTES

__all__ = ["FORMAT", "DataDir"]

FORMAT = 1
_FORMAT_NAME = "chunkstore.json"
_LOCK_NAME = "lock"
_VOLUMES_NAME = "volumes"
_INDEX_NAME = "index.sqlite"


class DataDir:
    """A data dir that nobody else may use until `close`.

    Args:
        folder: made if it isn't there; one that is empty becomes a data dir.
    Raises:
        DataDirError: it is another's, in use, of another version, or not to be written; nothing in
            it was touched.

    Attributes:
        dir_id: 16 random bytes; a part of every record's checksum.
        volumes: the folder of the volumes.
        index: the path of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.volumes = folder / _VOLUMES_NAME
        self.index = folder / _INDEX_NAME
        try:
            _make_folder(folder)
            known = self._read_format()
            self._lock = self._take_lock()
            try:
                self.dir_id = known or self._read_format() or self._make()
            except BaseException:  # whatever it is: others may have the folder
                self.close()
                raise
        except OSError as error:
            raise DataDirError(folder, error.strerror or str(error)) from error

    def close(self) -> None:
        """Let others have it."""
        os.close(self._lock)

    def _read_format(self) -> bytes | None:
        """Its id; None if it is empty."""
        try:
            text = (self._folder / _FORMAT_NAME).read_bytes()
        except FileNotFoundError:
            # What was begun and not finished was never used.
            strangers = set(os.listdir(self._folder)) - {_LOCK_NAME, _VOLUMES_NAME, _PART_NAME}
            if strangers:
                raise DataDirError(
                    self._folder, f"not empty, and no data dir: it has {sorted(strangers)[0]!r}"
                ) from None
            if self.volumes.exists() and os.listdir(self.volumes):
                detail = f"{_FORMAT_NAME} is missing, but there are volumes"
                raise DataDirError(self._folder, detail) from None
            return None
        try:
            found = json.loads(text)
            version, dir_id = found["format"], bytes.fromhex(found["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataDirError(self._folder, f"{_FORMAT_NAME} is damaged") from error
        if version != FORMAT:
            detail = f"its format is {version!r}, and this program knows {FORMAT}"
            raise DataDirError(self._folder, detail)
        if len(dir_id) != ID_BYTES:
            raise DataDirError(self._folder, f"{_FORMAT_NAME} is damaged")
        return dir_id

    def _take_lock(self) -> int:
        fd = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 100, 0).decode("ascii", "replace").strip() or "another process"
            os.close(fd)
            raise DataDirError(self._folder, f"in use by {holder}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"process %d\n" % os.getpid(), 0)
        return fd

    def _make(self) -> bytes:
        """Make an empty folder ours: the format file comes last, whole or not at all."""
        dir_id = secrets.token_bytes(ID_BYTES)
        self.volumes.mkdir(mode=0o700, exist_ok=True)
        part = self._folder / _PART_NAME
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"format": FORMAT, "id": dir_id.hex()}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._folder / _FORMAT_NAME)
        Files().sync_folder(self._folder)
        return dir_id


_PART_NAME = _FORMAT_NAME + ".part"


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if folder.exists():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    Files().sync_folder(folder.parent)
