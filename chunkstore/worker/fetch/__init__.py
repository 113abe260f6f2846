"""Downloads: the files of a chunk, each from its URL, in spite of what servers do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from chunkstore.errors import FetchError
from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.descriptor import FileFacts

__all__ = ["Fetching", "may_pass"]


class Fetching:
    """Downloads chunks; interface only so far."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config

    async def fetch_chunk(
        self,
        chunk: DataChunk,
        folder: Path,
        *,
        wrote: Callable[[int], None],
        learned: Callable[[int], None],
    ) -> Mapping[str, FileFacts]:
        """Have all files of a chunk in a folder, whole, right and synced."""
        raise NotImplementedError


def may_pass(error: FetchError) -> bool:
    """Whether another try of a chunk may do better."""
    raise NotImplementedError
