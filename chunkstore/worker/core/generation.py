"""One life of a chunk, and what is said of it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.core.names import ChunkName
from chunkstore.worker.core.states import State

__all__ = ["ChunkInfo", "Found", "Generation"]


class ChunkInfo(NamedTuple):
    """A chunk that is wholly there.

    Attributes:
        id, dataset_id: 32 bytes each.
        block_range: its blocks, the end excluded.
    """

    id: bytes
    dataset_id: bytes
    block_range: range


class Found(NamedTuple):
    """A generation that a start found on disk.

    Attributes:
        dataset_id: of it.
        name: of its folder.
    """

    dataset_id: bytes
    name: ChunkName


class Generation:
    """One life of a chunk, from being asked for until nothing is left of it.

    Attributes:
        dataset_id, name: of it.
        chunk: as it was asked for last, with the newest URLs; None: found at the start, and its
            descriptor wasn't read.
        state: changed by `Core` alone.
        hold_count: references to it.
        is_damaged: what is on disk isn't what it was: it is not good for anybody who asks anew.
        error: why it failed last, a sentence; "" if it didn't.
        failure_count: in a row.
        due_s: when the next try is, in BACKOFF.
        needed_bytes: of all its files, as servers said; 0: they said nothing yet.
    """

    __slots__ = (
        "chunk",
        "dataset_id",
        "due_s",
        "error",
        "failure_count",
        "hold_count",
        "is_damaged",
        "name",
        "needed_bytes",
        "state",
    )

    def __init__(
        self,
        dataset_id: bytes,
        name: ChunkName,
        chunk: DataChunk | None,
        state: State = State.QUEUED,
    ) -> None:
        self.dataset_id = dataset_id
        self.name = name
        self.chunk = chunk
        self.state = state
        self.hold_count = self.failure_count = self.needed_bytes = 0
        self.is_damaged = False
        self.error = ""
        self.due_s = 0.0

    @property
    def id(self) -> bytes:
        """Of its chunk."""
        return self.name.id

    @property
    def info(self) -> ChunkInfo:
        """What lists say of it."""
        return ChunkInfo(self.name.id, self.dataset_id, range(self.name.start, self.name.stop))
