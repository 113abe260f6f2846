"""A folder of chunks as a manager leaves it, without the downloads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from chunkstore.worker import DataChunk
from chunkstore.worker.core.names import ChunkName
from chunkstore.worker.descriptor import Descriptor, FileFacts
from chunkstore.worker.disk.files import ChunkFiles
from chunkstore.worker.disk.folder import ChunkFolder

__all__ = ["BLOCKS", "dataset_of", "fill"]

BLOCKS = 1000
"""Of each chunk; the first of a dataset begins with block 0."""
_WRITE_BYTES = 2**20


class _Unsynced(ChunkFiles):
    """Nobody's power goes here, and a hundred thousand chunks take their time anyway."""

    def sync(self, fd: int) -> None:
        """It isn't."""

    def sync_folder(self, folder: Path) -> None:
        """It isn't."""


def dataset_of(number: int) -> bytes:
    """The id of a dataset."""
    return number.to_bytes(32)


def fill(data: Path, count: int, sizes: Sequence[int], datasets: int = 1) -> None:
    """Have a new folder with so many chunks, the same number of each dataset.

    Args:
        sizes: of each chunk's files, in bytes.
    """
    folder = ChunkFolder(data, _Unsynced())
    try:
        for number in range(count):
            _make(folder, number, number % datasets, number // datasets, sizes)
    finally:
        folder.close()


def _make(folder: ChunkFolder, number: int, dataset: int, turn: int, sizes: Sequence[int]) -> None:
    names = [f"{index}.parquet" for index in range(len(sizes))]
    blocks = range(turn * BLOCKS, (turn + 1) * BLOCKS)
    urls = {name: f"http://127.0.0.1:1/{number}/{name}" for name in names}
    chunk = DataChunk(number.to_bytes(32), dataset_of(dataset), blocks, urls)
    name = ChunkName(blocks.start, blocks.stop, chunk.id, number + 1, chunk.identity)
    incoming = folder.incoming(name)
    facts = {}
    for file_name, size in zip(names, sizes, strict=True):
        _write(incoming / file_name, size)
        facts[file_name] = FileFacts(urls[file_name], size, bytes(32), "computed", "")
    folder.publish(name, Descriptor(chunk, facts))


def _write(path: Path, size: int) -> None:
    block = os.urandom(min(size, _WRITE_BYTES))
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, _WRITE_BYTES):
            file.write(block[: size - start])
