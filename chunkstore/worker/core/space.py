"""Whose bytes may be on the disk: a quota over all of ours, and a reserve that is nobody's. Pure.

A download claims what it will need before its first byte: what was declared, later what servers
say. So those under way never fill the disk between them. What is on its way out counts until it is
gone.
"""

from __future__ import annotations

__all__ = ["Space"]


class Space:
    """The bytes of all generations, by their numbers.

    Args:
        quota_bytes: of all together; None: what the disk has.
        reserve_bytes: of the disk that stay free.

    Attributes:
        stored_bytes: of those that are whole, or on their way out.
        claimed_bytes: of downloads under way, and of what lies there of others.
        is_full: the disk said that it is; nothing new begins until something has gone.
    """

    __slots__ = (
        "_claims",
        "claimed_bytes",
        "_open_bytes",
        "_quota_bytes",
        "_reserve_bytes",
        "_stored",
        "is_full",
        "stored_bytes",
    )

    def __init__(self, quota_bytes: int | None, reserve_bytes: int) -> None:
        self._quota_bytes = quota_bytes
        self._reserve_bytes = reserve_bytes
        self._claims: dict[int, tuple[int, int]] = {}  # needed, and written of it
        self._stored: dict[int, int] = {}
        self._open_bytes = 0
        self.stored_bytes = self.claimed_bytes = 0
        self.is_full = False

    @property
    def used_bytes(self) -> int:
        """What counts against the quota."""
        return self.stored_bytes + self.claimed_bytes

    def has_claim(self, number: int) -> bool:
        """It is on its way, or some of it was found so."""
        return number in self._claims

    def written_bytes(self, number: int) -> int:
        """What a download has on the disk so far."""
        return self._claims.get(number, (0, 0))[1]

    def has_room(self, number: int, needed_bytes: int, free_bytes: int) -> bool:
        """Whether a download may claim so much.

        Args:
            number: of the generation; what it has claimed before counts for it.
            needed_bytes: of all its files together.
            free_bytes: of the disk now.
        """
        had, written = self._claims.get(number, (0, 0))
        due_bytes = self._open_bytes - (had - written) + max(0, needed_bytes - written)
        is_within = self._quota_bytes is None or (
            self.used_bytes - had + max(had, needed_bytes) <= self._quota_bytes
        )
        return not self.is_full and is_within and free_bytes - due_bytes >= self._reserve_bytes

    def claim(self, number: int, needed_bytes: int) -> None:
        """It will need so much in all; never less than it has written."""
        had, written = self._claims.get(number, (0, 0))
        self._set(number, max(needed_bytes, written), written, had)

    def wrote(self, number: int, written_bytes: int) -> None:
        """It has so much on the disk, whole files and others."""
        needed, _ = self._claims.get(number, (0, 0))
        self._set(number, max(needed, written_bytes), written_bytes, needed)

    def rests(self, number: int) -> None:
        """It goes on later: what it has written counts, and no more."""
        if number in self._claims:
            needed, written = self._claims[number]
            self._set(number, written, written, needed)

    def stored(self, number: int, size_bytes: int) -> None:
        """It is whole, or was found so."""
        self._drop_claim(number)
        self.stored_bytes += size_bytes - self._stored.get(number, 0)
        self._stored[number] = size_bytes

    def removed(self, number: int) -> None:
        """Nothing is left of it on the disk."""
        self._drop_claim(number)
        self.stored_bytes -= self._stored.pop(number, 0)
        self.is_full = False

    def _set(self, number: int, needed: int, written: int, had: int) -> None:
        _, was_written = self._claims.get(number, (0, 0))
        self._open_bytes += (needed - written) - (had - was_written)
        self.claimed_bytes += needed - had
        self._claims[number] = needed, written

    def _drop_claim(self, number: int) -> None:
        needed, written = self._claims.pop(number, (0, 0))
        self._open_bytes -= needed - written
        self.claimed_bytes -= needed
