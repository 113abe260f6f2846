"""So many bytes a second, and no more."""

from __future__ import annotations

import trio

__all__ = ["Throttle"]

BURST_S = 0.25
"""What wasn't used is saved up for so long: a sleep may be late."""


class Throttle:
    """Paces what all its users do together.

    Args:
        bytes_s: bytes a second; None: as fast as it goes.
    """

    __slots__ = ("_bytes_s", "_free_at_s")

    def __init__(self, bytes_s: float | None) -> None:
        self._bytes_s = bytes_s
        self._free_at_s = 0.0

    async def take(self, size_bytes: int) -> None:
        """Wait until so many bytes may be moved: at once after a pause, whatever their number.

        Cancellation: they count as moved.
        """
        now_s = trio.current_time()
        due_s = max(self._free_at_s, now_s - BURST_S)
        self._free_at_s = due_s + (size_bytes / self._bytes_s if self._bytes_s else 0.0)
        await trio.sleep_until(due_s)
