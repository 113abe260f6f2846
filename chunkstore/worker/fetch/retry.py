"""What may pass by itself, and when to try again. Pure."""

from __future__ import annotations

from chunkstore.errors import ConnectError, CutError, FetchError, StalledError, StatusError

__all__ = ["MismatchError", "may_pass", "pause_s", "retry_after_s"]

LONGEST_S = 60.0
"""A pause between tries of a file; a chunk that fails is tried again after longer ones."""
ASKED_MOST_S = 10.0
"""Where a server asks for more the file fails, and its chunk comes again so much later: while it is
tried, it holds up others."""
_PASSING = frozenset((408, 425, 429))
"""Of the 4xx, those that say "not now"."""
_NEVER = frozenset((501, 505))


class MismatchError(FetchError):
    """All of a file came, and it isn't the one that was asked for: its size or digest is another.

    Args:
        detail: what was expected and what came.
    """


def may_pass(error: FetchError) -> bool:
    """Whether another try may do better, although nothing has changed here."""
    if isinstance(error, StatusError):
        is_passing = error.status >= 500 and error.status not in _NEVER
        return is_passing or error.status in _PASSING
    return isinstance(error, (ConnectError, CutError, StalledError))


def retry_after_s(error: FetchError) -> float:
    """How long its server asks to wait; 0: it doesn't."""
    return (error.retry_after_s or 0.0) if isinstance(error, StatusError) else 0.0


def pause_s(failure_count: int, first_s: float, error: FetchError, chance: float) -> float | None:
    """How long to wait before the next try of a file; None: as long as its server asks is too long.

    Full jitter: those that failed together don't come back together.

    Args:
        failure_count: in a row, this one counted.
        first_s: the longest pause after the first failure; it doubles.
        error: the failure.
        chance: in [0, 1).
    Source: M. Brooker, Exponential backoff and jitter, AWS architecture blog (2015); RFC 9110
        section 10.2.3 for Retry-After.
    """
    longest_s: float = min(LONGEST_S, first_s * 2.0 ** min(failure_count - 1, 30))
    own_s, least_s = longest_s * chance, retry_after_s(error)
    return least_s + own_s if least_s <= ASKED_MOST_S else None
