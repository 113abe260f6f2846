"""Keeps an assigned, changing set of data chunks on local disk, and hands them out.

::

    async with open_manager(Path("chunks")) as manager:      # or: with DataManager(…) as manager
        manager.download_chunk(chunk)                        # returns at once
        await manager.wait_for(chunk.id)
        with manager.find_chunk(chunk.dataset_id, block) as reference:
            reference.path                                   # untouched until it is closed

core/          what decides; pure
descriptor.py  what chunks say of themselves, as JSON; pure
disk/          chunks on disk: published, doomed, removed
fetch/         downloads
config.py      limits
collector.py   Python's garbage collector waits for a start
reference.py   a chunk in somebody's hand
manager.py     the chunks of one folder, as callers see them
shell.py       what is done about what the core decided
keeper.py      what is noted on disk behind the calls
leftovers.py   what the last life left: counted, and taken away
thread.py      the same for callers without Trio
assignment.py  which chunks it is to have, as a file or a URL says
strict.py      JSON as it is meant; pure
face/          the same as a program of its own, over HTTP
"""

from __future__ import annotations

from chunkstore.worker.config import WorkerConfig
from chunkstore.worker.core.chunk import DataChunk, FileRecord
from chunkstore.worker.core.generation import ChunkInfo
from chunkstore.worker.core.states import State
from chunkstore.worker.fetch import Fetching
from chunkstore.worker.manager import (
    ChunkEvent,
    ChunkManager,
    ChunkStatus,
    WorkerStatus,
    open_manager,
)
from chunkstore.worker.reference import ChunkRef
from chunkstore.worker.thread import DataManager

__all__ = [
    "ChunkEvent",
    "ChunkInfo",
    "ChunkManager",
    "ChunkRef",
    "ChunkStatus",
    "DataChunk",
    "DataManager",
    "Fetching",
    "FileRecord",
    "State",
    "WorkerConfig",
    "WorkerStatus",
    "open_manager",
]
