"""A file on its way that outlives the process: what is there, and of which version. Blocking.

Beside `.NAME.part` lies `.NAME.state`: two records of 512 bytes, written in turns, so that one of
them is whole whenever the power goes. A record says how much was synced, and the strong ETag that
it is of. So what a crash costs is what came since. A file that has its name is whole; its state
stays until the chunk is.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from chunkstore.worker.core.names import partial_names
from chunkstore.worker.disk.files import ChunkFiles

__all__ = ["SAVE_BYTES", "Partial"]

SAVE_BYTES = 16 * 2**20
"""So much may be fetched again after a crash."""
READ_BYTES = 2**20
_RECORD_BYTES = 512
_ETAG_CHARS = 256
"""As JSON; a longer one is none: nothing is joined."""


class _Saved(NamedTuple):
    turn: int
    offset: int
    etag: str


class Partial:
    """A file that is being put together.

    Args:
        files: the file system.
        path: what it is called when it is whole.

    Attributes:
        offset: bytes that are there.
        etag: strong one of what they are of; "": it has none, and nothing can be joined.
        is_whole: it has its name: an earlier try has had all of it, and found it right.
    """

    def __init__(self, files: ChunkFiles, path: Path) -> None:
        self._files = files
        self._path = path
        self._part, self._state = (path.with_name(name) for name in partial_names(path.name))
        self._digest = hashlib.sha256()
        self._fd = self._state_fd = -1
        self._turn = 0
        self._saved_offset = 0
        self._has_name = False  # durably
        self.offset = 0
        self.etag = ""
        self.is_whole = False

    def open(self) -> None:
        """Take up what is there.

        Raises:
            OSError: it can't be read or written.
        Cost: a pass of SHA-256 over it.
        """
        self._state_fd = self._opened(self._state)
        saved = self._read_state()
        self.is_whole = self._path.exists()
        self._fd = self._opened(self._path if self.is_whole else self._part)
        size_bytes = self._files.size(self._fd)
        if self.is_whole:
            self.offset, self.etag = size_bytes, saved.etag if saved else ""
        elif saved is None or saved.offset > size_bytes:
            self._saved_offset = saved.offset if saved else 0
            self.restart()
            return
        else:
            self._turn, self.offset, self.etag = saved
            self._files.truncate(self._fd, self.offset)
        self._saved_offset = self.offset
        for start in range(0, self.offset, READ_BYTES):
            size_bytes = min(READ_BYTES, self.offset - start)
            self._digest.update(self._files.read(self._fd, size_bytes, start))

    def begin(self, etag: str) -> None:
        """What comes next is of this version; "" if it says none that is strong."""
        fits = etag.isascii() and len(json.dumps(etag)) <= _ETAG_CHARS
        self.etag = etag if fits else ""

    def restart(self) -> None:
        """Forget what is there."""
        if self.is_whole:
            self._files.rename(self._path, self._part)
            self._files.sync_folder(self._path.parent)  # what has its name is whole
            self.is_whole = False
        self._files.truncate(self._fd, 0)
        self._files.truncate(self._state_fd, 0)
        if self._saved_offset:  # else what comes next could be taken for what was there
            self._files.sync(self._state_fd)
        self._digest = hashlib.sha256()
        self.offset = self._saved_offset = 0
        self.etag = ""

    def write(self, pieces: Sequence[bytes]) -> None:
        """The next bytes. Raises: OSError."""
        self._files.write(self._fd, pieces, self.offset)
        for piece in pieces:
            self._digest.update(piece)
            self.offset += len(piece)
        if self.etag and self.offset - self._saved_offset >= SAVE_BYTES:
            self.save()

    def save(self) -> None:
        """What is there stays, whenever the power goes. Raises: OSError."""
        if not self.etag or self.offset == self._saved_offset:
            return
        self._files.sync(self._fd)
        if not self._has_name:
            self._files.sync_folder(self._path.parent)
            self._has_name = True
        self._turn += 1
        record = _encode(_Saved(self._turn, self.offset, self.etag))
        self._files.write(self._state_fd, [record], self._turn % 2 * _RECORD_BYTES)
        self._files.sync(self._state_fd)
        self._saved_offset = self.offset

    @property
    def sha256(self) -> bytes:
        """Of what is there."""
        return self._digest.digest()

    def finish(self) -> None:
        """It is whole: it has its name, durably.

        Raises:
            OSError: it isn't.
        """
        if self.is_whole:
            return
        self.save()
        self._files.sync(self._fd)
        self._files.rename(self._part, self._path)
        self.is_whole = True
        self._files.sync_folder(self._path.parent)

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in (self._fd, self._state_fd):
            if fd >= 0:
                self._files.close(fd)
        self._fd = self._state_fd = -1

    # --- inside --------------------------------------------------------------------------------

    def _opened(self, path: Path) -> int:
        with suppress(FileNotFoundError):
            return self._files.open(path)
        return self._files.create(path)

    def _read_state(self) -> _Saved | None:
        data = self._files.read(self._state_fd, 2 * _RECORD_BYTES, 0)
        halves = data[:_RECORD_BYTES], data[_RECORD_BYTES:]
        return max(filter(None, map(_decode, halves)), default=None)


def _encode(saved: _Saved) -> bytes:
    text = json.dumps(saved).encode("ascii")
    assert len(text) + 8 <= _RECORD_BYTES
    return (b"%08x" % zlib.crc32(text) + text).ljust(_RECORD_BYTES, b"\0")


def _decode(record: bytes) -> _Saved | None:
    check, text = record[:8], record[8:].rstrip(b"\0")
    if not text or check != b"%08x" % zlib.crc32(text):
        return None
    turn, offset, etag = json.loads(text)
    return _Saved(turn, offset, etag)
