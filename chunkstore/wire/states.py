"""The two halves of an exchange: what is read, and as a table, what may be written and when.

The states of our half have h11's names, and the table is h11's server half without switching
protocols. A pair that is missing is a mistake of this program.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from chunkstore.errors import LocalProtocolError

__all__ = ["TRANSITIONS", "Reading", "Reply", "Step", "advance"]


class Reading(IntEnum):
    """What the next byte of input belongs to."""

    HEAD = 0
    BODY = 1
    NEXT_EXCHANGE = 2  # the request is whole: wait for the response's end
    NOTHING = 3  # refused or given up: dropped
    CLOSED = 4  # EOF was met


class Reply(IntEnum):
    """Where the response stands."""

    IDLE = 0
    SEND_RESPONSE = 1
    SEND_BODY = 2
    DONE = 3


class Step(IntEnum):
    """What moves it."""

    REQUEST = 0  # a request's head was given out
    REFUSE = 1  # the input was refused or given up: one answer may be due
    CONTINUE = 2  # 100 (Continue) was written
    HEAD = 3  # the final head was written
    SENT = 4  # the response was handed over whole
    NEXT = 5  # the next request may come


TRANSITIONS: Final[Mapping[tuple[Reply, Step], Reply]] = {
    (Reply.IDLE, Step.REQUEST): Reply.SEND_RESPONSE,
    (Reply.IDLE, Step.REFUSE): Reply.SEND_RESPONSE,
    (Reply.SEND_RESPONSE, Step.REFUSE): Reply.SEND_RESPONSE,
    (Reply.SEND_RESPONSE, Step.CONTINUE): Reply.SEND_RESPONSE,
    (Reply.SEND_RESPONSE, Step.HEAD): Reply.SEND_BODY,
    (Reply.SEND_BODY, Step.REFUSE): Reply.SEND_BODY,
    (Reply.SEND_BODY, Step.SENT): Reply.DONE,
    (Reply.DONE, Step.REFUSE): Reply.DONE,
    (Reply.DONE, Step.NEXT): Reply.IDLE,
}


def advance(state: Reply, step: Step) -> Reply:
    """Return the state after a step.

    Args:
        state: where the response stands.
        step: what happens to it.
    Raises:
        LocalProtocolError: the table has no such step.
    """
    following = TRANSITIONS.get((state, step))
    if following is None:
        raise LocalProtocolError(f"step {step.name} is not allowed in state {state.name}")
    return following
