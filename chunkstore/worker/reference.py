"""A chunk in somebody's hand: its files stay as they are until the last reference is closed."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from chunkstore.worker.core.generation import ChunkInfo, Generation

__all__ = ["ChunkRef", "Holder"]


class Holder(Protocol):
    """Who counts references; all of it in any thread."""

    def folder_of(self, generation: Generation) -> Path:
        """Where its files are."""

    def hold_once_more(self, reference: ChunkRef) -> None:
        """Count another reference to what an open one has.

        Raises:
            ValueError: that one was closed.
        """

    def let_go(self, reference: ChunkRef) -> None:
        """Close a reference, if it is open."""

    def leaked(self, generation: Generation) -> None:
        """A reference has gone without being closed; called by the garbage collector, anywhere."""


class ChunkRef:
    """A reference to a chunk that is wholly there; usable, and closable, in any thread.

    ::

        with manager.find_chunk(dataset_id, block) as chunk:
            (chunk.path / "blocks.parquet").open("rb")

    Args:
        generation: held once for it.
        holder: counts its references.

    Attributes:
        generation: as above.
        is_open: changed by the holder alone.
    """

    __slots__ = ("_holder", "generation", "is_open")

    def __init__(self, generation: Generation, holder: Holder) -> None:
        self.generation = generation
        self.is_open = True
        self._holder = holder

    @property
    def path(self) -> Path:
        """The folder of its files; nothing in it changes while the reference is open.

        Raises:
            ValueError: it was closed.
        """
        if not self.is_open:
            raise ValueError("the reference was closed: its files may be gone")
        return self._holder.folder_of(self.generation)

    @property
    def info(self) -> ChunkInfo:
        """Which chunk it is."""
        return self.generation.info

    def clone(self) -> ChunkRef:
        """Another reference to the same.

        Raises:
            ValueError: this one was closed.
        """
        self._holder.hold_once_more(self)
        return ChunkRef(self.generation, self._holder)

    def __copy__(self) -> ChunkRef:
        """As `clone`: each counts, and is to be closed."""
        return self.clone()

    def close(self) -> None:
        """Let go of it; once is enough, and more does nothing."""
        self._holder.let_go(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self.is_open:
            text = f"{self!r} was never closed"
            self.is_open = False
            self._holder.leaked(self.generation)
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = "" if self.is_open else ", closed"
        name = self.generation.name
        return f"<ChunkRef {name.id.hex()[:16]} blocks {name.start} to {name.stop}{state}>"
