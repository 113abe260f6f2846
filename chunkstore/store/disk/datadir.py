"""A folder that is ours: its format and id, and who has it."""

from __future__ import annotations

import json
import os
import secrets
from enum import Enum
from pathlib import Path

from chunkstore.errors import DataDirError
from chunkstore.folders import LOCK_NAME, make_folder, open_anew, sync_folder, take_lock
from chunkstore.store.disk.record import ID_BYTES

__all__ = ["FORMAT", "Access", "DataDir"]

FORMAT = 1
_FORMAT_NAME = "chunkstore.json"
_VOLUMES_NAME = "volumes"
_INDEX_NAME = "index.sqlite"
_SCRUB_NAME = "scrub"
_PART_NAME = _FORMAT_NAME + ".part"
# What may lie in a folder that becomes a data dir; the last comes with a file system of its own.
_NO_STRANGERS = frozenset({LOCK_NAME, _VOLUMES_NAME, _PART_NAME, "lost+found"})


class Access(Enum):
    """What a data dir is wanted for."""

    MAKE = "it is made if it isn't there; a folder that is empty becomes one"
    WRITE = "it must be there"
    READ = "it must be there, and nothing in it is touched"


class DataDir:
    """A data dir that nobody else may use until `close`.

    Args:
        folder: its path.
        access: what it is wanted for.
    Raises:
        DataDirError: it is another's, in use, of another version, or not to be read or written;
            nothing in it was touched.

    Attributes:
        dir_id: 16 random bytes; a part of every record's checksum.
        volumes: the folder of the volumes.
        index: the path of the index.
        scrub: the path of the scrub's place.
    """

    def __init__(self, folder: Path, access: Access = Access.MAKE) -> None:
        self._folder = folder
        self._access = access
        self.volumes = folder / _VOLUMES_NAME
        self.index = folder / _INDEX_NAME
        self.scrub = folder / _SCRUB_NAME
        try:
            if access is Access.MAKE:
                make_folder(folder)
            known = self._read_format()
            if access is not Access.READ:
                self._check_writable()
            self._lock = take_lock(folder, is_reading=access is Access.READ)
            try:
                self.dir_id = known or self._read_format() or self._make()
            except BaseException:  # whatever it is: others may have the folder
                self.close()
                raise
        except OSError as error:
            raise DataDirError(folder, error.strerror or str(error)) from error

    def close(self) -> None:
        """Let others have it."""
        if self._lock is None:
            return
        if self._access is not Access.READ:
            os.ftruncate(self._lock, 0)  # who has it next may not say so
        os.close(self._lock)

    def _read_format(self) -> bytes | None:
        """Its id; None if it is empty, and to be made."""
        try:
            text = (self._folder / _FORMAT_NAME).read_bytes()
        except FileNotFoundError:
            self._check_empty()
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
        if not self.volumes.is_dir():  # it was there before the format file was
            raise DataDirError(self._folder, f"the folder {_VOLUMES_NAME!r} is missing")
        return dir_id

    def _check_empty(self) -> None:
        """It may become a data dir: it has nothing but what a start that was cut short left."""
        names = os.listdir(self._folder)
        if strangers := sorted(set(names) - _NO_STRANGERS):
            detail = f"not empty, and no data dir: it has {strangers[0]!r}"
        elif self.volumes.exists() and os.listdir(self.volumes):
            detail = f"{_FORMAT_NAME} is missing, but there are volumes"
        elif self._access is not Access.MAKE:
            detail = f"no data dir: it has no {_FORMAT_NAME}"
        else:
            return
        raise DataDirError(self._folder, detail)

    def _check_writable(self) -> None:
        """Before anything is written: what can be refused is refused untouched."""
        for path in (self._folder, self.volumes, self._folder / LOCK_NAME):
            if path.exists() and not os.access(path, os.W_OK, effective_ids=True):
                raise DataDirError(path, "not writable")

    def _make(self) -> bytes:
        """Make an empty folder ours: the format file comes last, whole or not at all."""
        dir_id = secrets.token_bytes(ID_BYTES)
        self.volumes.mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._folder)  # the format file says that it is there
        part = self._folder / _PART_NAME
        with open_anew(part) as file:
            file.write(json.dumps({"format": FORMAT, "id": dir_id.hex()}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._folder / _FORMAT_NAME)
        sync_folder(self._folder)
        return dir_id
