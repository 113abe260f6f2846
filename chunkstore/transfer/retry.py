"""Whether to try again after a failure, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import trio

from chunkstore.errors import ConnectError, CutError, FetchError, StalledError, StatusError

__all__ = ["Backoff", "Retrying"]

PATIENCE_S = 300.0
"""A server that asks to wait longer is taken at its word: this run fails."""
_NEVER = frozenset((501, 505))
"""Of the 5xx, those that say what the server can't do at all."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The rule: what may pass by itself is tried again, after pauses that double.

    Attributes:
        retries: tries after the first, as long as nothing moves on.
        first_s: pause before the second try.
        longest_s: bound on a pause that the server didn't ask for.
    """

    retries: int = 5
    first_s: float = 0.2
    longest_s: float = 10.0

    def pause_s(self, failures: int, error: FetchError, chance: float) -> float | None:
        """How long to wait after a failure; None to give up.

        A status of 4xx is never tried again: 409 says that another writer has taken over.

        Args:
            failures: how many there were in a row, this one counted.
            error: the failure.
            chance: from 0 to 1, so that many clients don't come back at once.
        """
        if failures > self.retries or not _may_pass(error):
            return None
        pause_s: float = min(self.longest_s, self.first_s * 2 ** min(failures - 1, 30))
        pause_s *= 0.5 + chance / 2
        asked_s = error.retry_after_s if isinstance(error, StatusError) else None
        if asked_s is None:
            return pause_s
        # Not before, and not all at once then.
        return asked_s + pause_s if asked_s <= PATIENCE_S else None


def _may_pass(error: FetchError) -> bool:
    if isinstance(error, StatusError):
        return error.status >= 500 and error.status not in _NEVER
    return isinstance(error, (ConnectError, CutError, StalledError))


class Retrying:
    """The failures of one job, and the pauses between its tries.

    Args:
        backoff: the rule.
        note: told of each failure that is followed by another try, in a sentence.
        chance: gives a number from 0 to 1.
    """

    def __init__(
        self,
        backoff: Backoff,
        note: Callable[[str], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.failures = 0
        self.note = note
        self._backoff = backoff
        self._chance = chance

    def progressed(self) -> None:
        """Something moved on: failures count anew."""
        self.failures = 0

    async def pause(self, error: FetchError, why_not: str = "") -> None:
        """Wait until the next try is due.

        Args:
            why_not: why there can't be one, even if it is due; "" if there can.
        Raises:
            FetchError: there is to be no other try; `error` itself, or with the reason added.
        """
        self.failures += 1
        pause_s = self._backoff.pause_s(self.failures, error, self._chance())
        if pause_s is None:
            raise error
        if why_not:
            raise FetchError(f"{error}; no other try: {why_not}") from error
        self.note(f"{error}; trying again in {pause_s:.1f} s")
        await trio.sleep(pause_s)
