"""When a paced body's next chunk is due."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHUNK_BYTES", "Pace"]

CHUNK_BYTES = 64 * 1024
"""A chunk's size where nobody says another, and at most what a tenth of a second has."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A rate, kept from the beginning: a chunk is due when an encoder would have finished it.

    Due times count from the first try's start, so what a retry sends again is due at once, and so
    is what was held up meanwhile.

    Attributes:
        rate: bytes a second, above 0.
    """

    rate: float

    @property
    def chunk_bytes(self) -> int:
        """How large chunks are at this rate, where nobody says: ten a second."""
        return max(1, min(CHUNK_BYTES, int(self.rate / 10)))

    def due_s(self, end: int) -> float:
        """Seconds from the start at which the byte before offset `end` may be sent."""
        return end / self.rate
