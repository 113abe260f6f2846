"""All checks in their order; what they leave behind is taken away, however they end."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import trio

from chunkstore.cluster.check import front, races
from chunkstore.cluster.check.cases import expect_equal
from chunkstore.cluster.check.peer import Peer
from chunkstore.errors import ChunkstoreError

__all__ = ["CHECKS", "Check", "Outcome", "own_prefix", "run_checks"]

Check = Callable[[Peer], Awaitable[None]]

CHECK_S = 300.0
"""One that takes longer has failed: some 60 MB are moved in each, at most."""
CLEAR_S = 30.0
CHECKS: tuple[tuple[str, Check], ...] = (
    ("sizes around every border, there and back", front.sizes),
    ("HEAD says what GET says", front.heads),
    ("ranges", front.some_ranges),
    ("names and sizes in LIST", front.listing),
    ("conditional requests", front.conditions),
    ("what is deleted is gone", front.deletion),
    ("what is no name is refused", front.bad_input),
    ("an upload that breaks off leaves what was there", front.broken_off),
    ("read while it is PUT", races.followed),
    ("replaced while it is read: old or new, never a mix", races.overwritten),
    ("two writers of one name", races.two_writers),
    ("many at once", races.at_once),
)
"""What any service can be put to."""


class Outcome(NamedTuple):
    """How a check went.

    Attributes:
        name: what was looked at.
        flaw: what was expected and what came; "": all is well.
        seconds: that it took.
    """

    name: str
    flaw: str
    seconds: float


def own_prefix(path: str) -> str:
    """A folder under a path, that nobody else has: hidden from who lists by hand.

    Args:
        path: percent-encoded.
    """
    return f"{path.rstrip('/')}/.check-{secrets.token_hex(8)}/"


async def run_checks(
    peer: Peer,
    told: Callable[[Outcome], None],
    checks: Sequence[tuple[str, Check]] = CHECKS,
) -> None:
    """Run checks, and take away what they wrote.

    Args:
        peer: the service, with a prefix of its own.
        told: called with each outcome as it comes.
        checks: what to try, by name.
    Raises:
        FetchError: nothing listens there: the checks aren't begun.
    Cancellation: what was written is taken away first, which may take 30 s.
    """
    await peer.names()
    try:
        for name, check in checks:
            told(await _outcome(name, check, peer))
    finally:
        with trio.CancelScope(shield=True):
            told(await _outcome("all of it is taken away again", _cleared, peer, CLEAR_S))


async def _outcome(name: str, check: Check, peer: Peer, limit_s: float = CHECK_S) -> Outcome:
    began_s, flaw = trio.current_time(), ""
    try:
        with trio.fail_after(limit_s):
            await check(peer)
    except ChunkstoreError as error:
        flaw = str(error)
    except trio.TooSlowError:
        flaw = f"expected an end within {limit_s:g} s"
    return Outcome(name, flaw, trio.current_time() - began_s)


async def _cleared(peer: Peer) -> None:
    """An upload that was broken off just now may still be under way there: its name is open."""
    await peer.clear()
    expect_equal("names that are left", [], await peer.names())
