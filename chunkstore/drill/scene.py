"""The chunks of a drill, and what their files have."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random

from chunkstore.testing import Content, Fault, Storage
from chunkstore.worker import DataChunk, FileRecord

__all__ = ["BLOCKS", "Scene"]

DATASETS = 2
CHUNKS = 24
"""Of each dataset."""
BLOCKS = 100
"""Of each chunk."""
NAMES = ("blocks", "logs", "transactions")
FILE_BYTES = 200_000
ASSIGNED = 16
"""Chunks of a worker at a time."""
_FAULTS = (Fault.SLOW, Fault.CUT, Fault.BUSY, Fault.BROKEN, Fault.SHIFTED, Fault.WHOLE, Fault.SHORT)
FAULT_SHARE = 0.15


class Scene:
    """A storage with chunks, some of whose answers fail.

    Args:
        random: chooses.

    Attributes:
        storage: has their files.
        fault_count: answers that failed so far.
        is_calm: none fails any more.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.storage = Storage(fault=self._fault, random=random)
        self.fault_count = 0
        self.is_calm = False
        self._url = ""
        self._contents: dict[bytes, dict[str, Content]] = {}
        self._chunks: list[DataChunk] = []

    def open(self, url: str) -> None:
        """Have the chunks, now that it is known where the storage listens."""
        for number in range(DATASETS * CHUNKS):
            dataset, index = divmod(number, CHUNKS)
            chunk_id = hashlib.sha256(b"chunk %d" % number).digest()
            contents = {
                name: Content(number * len(NAMES) + at, self._random.randrange(FILE_BYTES))
                for at, name in enumerate(NAMES)
            }
            self._contents[chunk_id] = contents
            files: dict[str, FileRecord | str] = {}
            for name, content in contents.items():
                path = f"/{number}/{name}"
                self.storage.put(path, content)
                files[name] = FileRecord(url + path, content.size_bytes, content.sha256)
            blocks = range(index * BLOCKS, (index + 1) * BLOCKS)
            self._chunks.append(DataChunk(chunk_id, self.dataset(dataset), blocks, files))

    def dataset(self, number: int) -> bytes:
        """The id of one."""
        return hashlib.sha256(b"dataset %d" % number).digest()

    def assignment(self, before: Sequence[DataChunk]) -> list[DataChunk]:
        """What a worker is to have next: much of what it had, and some other."""
        kept = [chunk for chunk in before if self._random.random() < 0.7]
        others = [chunk for chunk in self._chunks if chunk not in kept]
        return kept + self._random.sample(others, ASSIGNED - len(kept))

    def question(self) -> tuple[bytes, int]:
        """A dataset and a block of it."""
        dataset = self.dataset(self._random.randrange(DATASETS))
        return dataset, self._random.randrange(CHUNKS * BLOCKS)

    def is_right(self, chunk_id: bytes, files: dict[str, bytes]) -> bool:
        """Whether a chunk has what the storage has. Cost: 1 ms."""
        contents = self._contents[chunk_id]
        return files.keys() == contents.keys() and all(
            files[name] == content.data for name, content in contents.items()
        )

    def _fault(self, path: str) -> Fault | None:
        if self.is_calm or self._random.random() >= FAULT_SHARE:
            return None
        self.fault_count += 1
        return self._random.choice(_FAULTS)
