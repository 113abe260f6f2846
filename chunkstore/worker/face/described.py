"""What chunks on disk say of their files, kept in memory for those that are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from chunkstore.errors import DamagedError
from chunkstore.worker.core.names import DESCRIPTOR
from chunkstore.worker.descriptor import DESCRIPTOR_BYTES, Descriptor, parse_descriptor
from chunkstore.worker.disk.files import ChunkFiles
from chunkstore.worker.reference import ChunkRef

__all__ = ["Described"]

KEPT_MAX = 1024
"""Of 5 KiB each."""


class Described:
    """Descriptors of chunks that are held.

    Args:
        in_thread: calls what blocks, in a thread.
    """

    def __init__(self, in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        self._in_thread = in_thread
        self._kept: OrderedDict[int, Descriptor] = OrderedDict()

    async def of(self, reference: ChunkRef) -> Descriptor:
        """What a chunk says of itself.

        Raises:
            DamagedError: nothing that can be read.
        """
        number = reference.generation.name.number  # of one chunk, for ever
        kept = self._kept.get(number)
        if kept is None:
            kept = await self._in_thread(partial(_read, reference.path, reference.info.id))
            self._kept[number] = kept
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(number)
        return kept


def _read(folder: Path, chunk_id: bytes) -> Descriptor:
    try:
        descriptor = parse_descriptor(ChunkFiles().read_all(folder / DESCRIPTOR, DESCRIPTOR_BYTES))
    except (OSError, ValueError) as error:
        raise DamagedError(f"chunk {chunk_id.hex()}", f"{DESCRIPTOR}: {error}") from error
    if descriptor.chunk.id != chunk_id:
        raise DamagedError(f"chunk {chunk_id.hex()}", f"{DESCRIPTOR} is another one's")
    return descriptor
