"""The orders in which chunks are published, doomed and removed, with their syncs. Blocking.

::

    wanted   file, sync; folder                      asked for: what comes of it is worth keeping
    incoming folder, and the one above               it is worth keeping only with its name
    publish  each file, sync; descriptor, sync; folder; rename into ready; both folders
    doom     mark, ready's folder                    it goes, once nobody holds it
    remove   rename into trash; both folders; its files; its folder; the mark

A rename comes after all that it shows is durable, and before anything of it is taken away. So a
name in ready is a whole chunk, and what a crash leaves elsewhere is known by where it lies.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from chunkstore.errors import DataDirError
from chunkstore.folders import LOCK_NAME, make_folder, take_lock
from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.core.generation import Found
from chunkstore.worker.core.names import DESCRIPTOR, DOOMED, PART, ChunkName, wanted_name
from chunkstore.worker.descriptor import (
    DESCRIPTOR_BYTES,
    Descriptor,
    encode_chunk,
    parse_descriptor,
)
from chunkstore.worker.disk.files import ChunkFiles
from chunkstore.worker.disk.scan import INCOMING, READY, TRASH, WANTED, Scan, scan

__all__ = ["ChunkFolder"]

FORMAT = 1
_FORMAT_NAME = "chunkstore-worker.json"
_FORMAT_PART = "chunkstore-worker.part"
_OURS = (READY, INCOMING, TRASH, WANTED)


class ChunkFolder:
    """A folder of chunks that nobody else may use until `close`.

    Args:
        folder: its path; made if it isn't there.
        files: the file system.
    Raises:
        DataDirError: it is another's, in use, of another version, or not to be read or written;
            nothing in it was touched.
    """

    def __init__(self, folder: Path, files: ChunkFiles | None = None) -> None:
        self.path = folder
        self._files = files or ChunkFiles()
        self._datasets: set[bytes] = set()  # whose folder's name is durable
        try:
            make_folder(folder)
            self._check_format()
            self._lock = take_lock(folder)
            try:
                self._complete()
            except BaseException:
                self.close()
                raise
        except OSError as error:
            raise DataDirError(folder, error.strerror or str(error)) from error

    @property
    def is_open(self) -> bool:
        """Nobody else may use it."""
        return self._lock is not None

    def close(self) -> None:
        """Let others have it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a child that was forked has the descriptor, too
            os.close(lock)

    def scan(self) -> Scan:
        """What lies there; once, before anything is changed. Raises: DataDirError."""
        try:
            return scan(self.path)
        except OSError as error:
            raise DataDirError(self.path, error.strerror or str(error)) from error

    def free_bytes(self) -> int:
        """How much more may be written."""
        return self._files.free_bytes(self.path)

    # --- a chunk's way in ----------------------------------------------------------------------

    def write_wanted(self, chunks: Iterable[DataChunk]) -> None:
        """Note that chunks were asked for; durable when it returns.

        Raises:
            OSError: some of them may be.
        """
        folder = self.path / WANTED
        for chunk in chunks:
            path = folder / wanted_name(chunk.id, chunk.identity)
            with suppress(FileExistsError):
                self._files.write_all(path, encode_chunk(chunk))
        self._files.sync_folder(folder)

    def forget_wanted(self, chunks: Iterable[tuple[bytes, str]]) -> None:
        """They are there, or not wanted any more; durable when it returns.

        Args:
            chunks: id and identity of each.
        """
        folder = self.path / WANTED
        for chunk_id, identity in chunks:
            with suppress(FileNotFoundError):
                self._files.unlink(folder / wanted_name(chunk_id, identity))
        self._files.sync_folder(folder)

    def incoming(self, name: ChunkName) -> Path:
        """Where the files of a chunk are put together; made, durably, if it isn't there."""
        folder = self.path / INCOMING / str(name)
        with suppress(FileExistsError):
            self._files.make_folder(folder)
        self._files.sync_folder(folder.parent)
        return folder

    def publish(self, name: ChunkName, descriptor: Descriptor) -> Path:
        """What lies in `incoming` is a whole chunk from now on, durably; its folder.

        Its files are there under their names, and synced.

        Raises:
            OSError: it isn't, or may be after a crash.
        """
        files, source = self._files, self.path / INCOMING / str(name)
        dataset_id = descriptor.chunk.dataset_id
        folder = self._dataset(dataset_id)
        target = folder / str(name)
        with suppress(FileNotFoundError):
            files.unlink(source / DESCRIPTOR)  # of a try that failed behind it
        files.write_all(source / DESCRIPTOR, descriptor.encode())
        files.sync_folder(source)
        if dataset_id not in self._datasets:
            with suppress(FileExistsError):
                files.make_folder(folder)
            files.sync_folder(folder.parent)
            self._datasets.add(dataset_id)
        files.rename(source, target)
        try:
            files.sync_folder(folder)
            files.sync_folder(source.parent)
        except OSError:
            files.rename(target, source)  # it has failed: the next try finds all of it there
            raise
        return target

    def ready(self, dataset_id: bytes, name: ChunkName) -> Path:
        """The folder of a whole chunk."""
        return self._dataset(dataset_id) / str(name)

    def read_descriptor(self, dataset_id: bytes, name: ChunkName) -> Descriptor:
        """What a whole chunk says of itself.

        Raises:
            OSError: it can't be read.
            ValueError: it is not what was written, or of another chunk.
        """
        path = self.ready(dataset_id, name) / DESCRIPTOR
        descriptor = parse_descriptor(self._files.read_all(path, DESCRIPTOR_BYTES))
        chunk = descriptor.chunk
        blocks = chunk.block_range
        said = ChunkName(blocks.start, blocks.stop, chunk.id, name.number, chunk.identity)
        if (chunk.dataset_id, said) != (dataset_id, name):
            raise ValueError(f"{path} is of another chunk")
        return descriptor

    def checked_size(self, dataset_id: bytes, name: ChunkName) -> int | None:
        """The bytes of a whole chunk; None: a file, or what is said of it, isn't what it was.

        Sizes alone are looked at, not what is in the files. Cost: 100 us.
        """
        folder = self.ready(dataset_id, name)
        try:
            descriptor = self.read_descriptor(dataset_id, name)
            for file_name, facts in descriptor.files.items():
                if os.stat(folder / file_name, follow_symlinks=False).st_size != facts.size_bytes:
                    return None
        except (OSError, ValueError):
            return None
        return descriptor.size_bytes

    def size_of(self, one: Found, room: str) -> int:
        """The bytes of the files of what lies in one of the rooms; 0 if nothing does.

        Args:
            room: READY, INCOMING or TRASH.
        """
        size_bytes = 0
        with suppress(OSError), os.scandir(self._where(one, room)) as entries:
            for entry in entries:
                if not entry.name.startswith(".") or entry.name.endswith(PART):
                    size_bytes += entry.stat(follow_symlinks=False).st_size
        return size_bytes

    # --- and out -------------------------------------------------------------------------------

    def mark_doomed(self, dataset_id: bytes, name: ChunkName) -> None:
        """It goes once nobody holds it, after a crash, too; durable when it returns."""
        folder = self._dataset(dataset_id)
        with suppress(FileExistsError):
            self._files.close(self._files.create(folder / (str(name) + DOOMED)))
        self._files.sync_folder(folder)

    def unmark(self, dataset_id: bytes, name: ChunkName) -> None:
        """It stays after all; durable when it returns."""
        folder = self._dataset(dataset_id)
        with suppress(FileNotFoundError):
            self._files.unlink(folder / (str(name) + DOOMED))
        self._files.sync_folder(folder)

    def remove(self, dataset_id: bytes, name: ChunkName) -> None:
        """Nothing of a generation is left, wherever it was, and nobody holds it.

        Raises:
            OSError: some of it may be; the same call again goes on.
        """
        folder, text = self._dataset(dataset_id), str(name)
        with suppress(FileNotFoundError):
            self._files.rename(folder / text, self.path / TRASH / text)
        with suppress(FileNotFoundError):
            self._files.sync_folder(folder)
            self._files.sync_folder(self.path / TRASH)
        self._remove_tree(self.path / TRASH / text)
        self._remove_tree(self.path / INCOMING / text)
        with suppress(FileNotFoundError):
            self._files.unlink(folder / (text + DOOMED))

    def remove_incoming(self, name: ChunkName) -> None:
        """Nothing is left of what came of a chunk. Raises: as `remove`."""
        self._remove_tree(self.path / INCOMING / str(name))

    def remove_trash(self, name: ChunkName) -> None:
        """Nothing is left of what was thrown away. Raises: as `remove`."""
        self._remove_tree(self.path / TRASH / str(name))

    def remove_stray(self, path: Path) -> None:
        """A mark whose chunk has gone."""
        with suppress(FileNotFoundError):
            self._files.unlink(path)

    # --- inside --------------------------------------------------------------------------------

    def _dataset(self, dataset_id: bytes) -> Path:
        return self.path / READY / dataset_id.hex()

    def _where(self, one: Found, room: str) -> Path:
        above = self._dataset(one.dataset_id) if room == READY else self.path / room
        return above / str(one.name)

    def _remove_tree(self, folder: Path) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(folder.lstat().st_mode):  # somebody's: where it leads isn't ours
                self._files.unlink(folder)
        try:
            names = self._files.names(folder)
        except FileNotFoundError:
            return
        for name in names:
            try:
                self._files.unlink(folder / name)
            except IsADirectoryError:  # somebody's who read it
                self._remove_tree(folder / name)
        self._files.remove_folder(folder)

    def _check_format(self) -> None:
        """Whether it is ours, or may be; before anything in it is touched."""
        try:
            members = json.loads(self._files.read_all(self.path / _FORMAT_NAME, 4096))
        except FileNotFoundError:
            ours = {*_OURS, LOCK_NAME, _FORMAT_PART, "lost+found"}
            strangers = sorted(set(os.listdir(self.path)) - ours)
            if strangers:
                detail = f"not empty, and no folder of chunks: it has {strangers[0]!r}"
                raise DataDirError(self.path, detail) from None
            return
        except (ValueError, RecursionError) as error:
            raise DataDirError(self.path, f"{_FORMAT_NAME} is damaged") from error
        version = members.get("format") if isinstance(members, dict) else None
        if version != FORMAT:
            detail = f"its format is {version!r}, and this program knows {FORMAT}"
            raise DataDirError(self.path, detail)

    def _complete(self) -> None:
        """Have all that it needs: the format file last."""
        for name in _OURS:
            with suppress(FileExistsError):
                (self.path / name).mkdir(mode=0o700)
        path = self.path / _FORMAT_NAME
        if not path.exists():
            part = self.path / _FORMAT_PART
            part.unlink(missing_ok=True)
            self._files.write_all(part, json.dumps({"format": FORMAT}).encode("ascii") + b"\n")
            part.rename(path)
        self._files.sync_folder(self.path)
