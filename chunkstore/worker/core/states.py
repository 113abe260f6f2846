"""The life of a generation of a chunk: one table. Pure.

::

                    ┌─────────── DUE ────────── BACKOFF <───────┐
                    v                                           │ BROKE
    (wanted) --> QUEUED --STARTED--> DOWNLOADING --FETCHED--> VERIFYING --PUBLISHED--> READY
                  │  ^                    │                     │                     │   ^
          NO_SPACE│  │SPACE               │  UNWANTED           │             UNWANTED│   │WANTED
                  v  │                    └──────┬──────────────┘                     v   │
                 WAITING                     CANCELLING ──────────PUBLISHED────────> DOOMED
                    │                       KEPT │ STOPPED                               │ REMOVE
                    └──UNWANTED──> REMOVING <────┴───────────────────────────────────────┘

What was published when the cancelling came is doomed like any other. KEPT is STOPPED of one that is
wanted again by then: what came of it is good for the next try.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["ACTIVE", "MOVING", "TRANSITIONS", "Event", "State"]


class State(Enum):
    """Where a generation is; the value is for people."""

    QUEUED = "queued"
    WAITING = "waiting for space"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    BACKOFF = "waiting to try again"
    FAILED = "failed"
    READY = "ready"
    DOOMED = "doomed"
    CANCELLING = "cancelling"
    REMOVING = "removing"
    GONE = "gone"


class Event(Enum):
    """What happens to one; the value is for people."""

    WANTED = "it is asked for"
    UNWANTED = "it isn't wanted any more"
    NO_SPACE = "there is no room for it"
    SPACE = "there may be room"
    STARTED = "its download begins"
    FETCHED = "all of it is here"
    PUBLISHED = "it is durable, and has its name"
    BROKE = "it failed, and may do better"
    REFUSED = "it failed, and would again"
    DUE = "it is time to try again"
    STOPPED = "its download has ended, and what came is of no use"
    KEPT = "its download has ended, and is wanted again"
    REMOVE = "its removal begins"
    REMOVED = "nothing is left of it"


S, E = State, Event

TRANSITIONS: dict[tuple[State, Event], State] = {
    (S.QUEUED, E.STARTED): S.DOWNLOADING,
    (S.QUEUED, E.NO_SPACE): S.WAITING,
    (S.QUEUED, E.UNWANTED): S.REMOVING,
    (S.WAITING, E.SPACE): S.QUEUED,
    (S.WAITING, E.UNWANTED): S.REMOVING,
    (S.DOWNLOADING, E.FETCHED): S.VERIFYING,
    (S.DOWNLOADING, E.BROKE): S.BACKOFF,
    (S.DOWNLOADING, E.REFUSED): S.FAILED,
    (S.DOWNLOADING, E.NO_SPACE): S.WAITING,
    (S.DOWNLOADING, E.UNWANTED): S.CANCELLING,
    (S.VERIFYING, E.PUBLISHED): S.READY,
    (S.VERIFYING, E.BROKE): S.BACKOFF,
    (S.VERIFYING, E.REFUSED): S.FAILED,
    (S.VERIFYING, E.NO_SPACE): S.WAITING,
    (S.VERIFYING, E.UNWANTED): S.CANCELLING,
    (S.BACKOFF, E.DUE): S.QUEUED,
    (S.BACKOFF, E.UNWANTED): S.REMOVING,
    (S.FAILED, E.WANTED): S.QUEUED,
    (S.FAILED, E.UNWANTED): S.REMOVING,
    (S.READY, E.UNWANTED): S.DOOMED,
    (S.DOOMED, E.WANTED): S.READY,
    (S.DOOMED, E.REMOVE): S.REMOVING,
    (S.CANCELLING, E.PUBLISHED): S.DOOMED,
    (S.CANCELLING, E.STOPPED): S.REMOVING,
    (S.CANCELLING, E.KEPT): S.QUEUED,
    (S.REMOVING, E.REMOVED): S.GONE,
}
"""What isn't here can't happen."""

ACTIVE = frozenset({S.DOWNLOADING, S.VERIFYING, S.CANCELLING})
"""A task is at it; there is at most one such of a chunk."""

MOVING = ACTIVE | {S.QUEUED, S.BACKOFF, S.REMOVING}
"""It will come into another state by itself."""
