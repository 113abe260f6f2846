"""One PUT of a path: its bytes, its identity, and the table of its life."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from chunkstore.objects.source import Source
from chunkstore.paths import parent
from chunkstore.policy import Policy
from chunkstore.ring import Ring

__all__ = ["Abort", "Generation", "State", "next_state"]


class State(Enum):
    """Where a generation is in its life."""

    OPEN = "open"
    COMPLETE = "complete"
    SUPERSEDED = "superseded"
    ABORTED = "aborted"
    DELETED = "deleted"
    EXPIRED = "expired"
    GONE = "gone"


_NEXT: dict[tuple[State, str], State] = {
    (State.OPEN, "commit"): State.COMPLETE,
    (State.OPEN, "abort"): State.ABORTED,
    (State.OPEN, "supersede"): State.SUPERSEDED,
    (State.OPEN, "delete"): State.DELETED,
    (State.SUPERSEDED, "abort"): State.ABORTED,
    (State.SUPERSEDED, "delete"): State.DELETED,
    (State.COMPLETE, "delete"): State.DELETED,
    (State.COMPLETE, "expire"): State.EXPIRED,
    (State.COMPLETE, "evict"): State.GONE,
    (State.COMPLETE, "replace"): State.GONE,
}


def next_state(state: State, event: str) -> State:
    """The state after `event`.

    Raises:
        ValueError: the event is not one that can happen in this state.
    """
    try:
        return _NEXT[state, event]
    except KeyError:
        raise ValueError(f"a generation that is {state.value} has no {event!r}") from None


class Abort(Enum):
    """Why an upload ended without being complete: metric name, status for its writer, sentence."""

    WRITER_GONE = ("writer_gone", 400, "the connection ended before the upload did")
    BAD_FRAMING = ("bad_framing", 400, "the upload's framing is broken")
    IDLE = ("idle", 408, "no byte of the upload came for longer than the upload idle limit")
    DISPLACED = ("displaced", 409, "a newer upload of the same path took its place")
    DELETED = ("deleted", 410, "the object was deleted while it was being uploaded")
    PRECONDITION = ("precondition", 412, "the upload's condition no longer held when it was whole")
    TOO_LARGE = ("too_large", 413, "the object grew beyond the largest size allowed")
    DRAIN = ("drain", 503, "the server is shutting down")
    DISK_FAILED = ("disk_failed", 500, "the disk failed; nothing of this upload is stored")
    NO_QUORUM = ("no_quorum", 503, "too few storage nodes are up; nothing of this upload is stored")
    NO_SPACE = ("no_space", 507, "the disk is full; nothing of this upload is stored")
    NO_MEMORY = ("no_memory", 507, "the memory budget is used up by uploads in progress")

    def __init__(self, metric: str, status: int, text: str) -> None:
        self.metric = metric
        self.status = status
        self.text = text


_RETRIED = frozenset({Abort.WRITER_GONE, Abort.BAD_FRAMING, Abort.IDLE, Abort.DISPLACED})
"""After these an encoder is likely to send the same again; after others it can't, or mustn't."""


class Generation:
    """One PUT of a path: its bytes, its identity, its life.

    Attributes:
        now-based times (`opened_at_s`, `expires_at_s`) are of the caller's monotonic clock;
        `created_s` and `modified_s` are Unix time.
        head: the response fields the origin made for it; they change only with `state`.
        charged_bytes: what the memory budget holds for it.
        is_held: its source is, for its readers.
        source: has what the ring let go of; None: it lets go of nothing.
        sha256: of its payload, once it is complete, where a store knows that.
    """

    __slots__ = (
        "abort",
        "charged_bytes",
        "content_type",
        "created_s",
        "etag",
        "expires_at_s",
        "folder",
        "head",
        "id",
        "is_held",
        "key",
        "modified_s",
        "policy",
        "readers",
        "readers_peak",
        "ring",
        "sha256",
        "source",
        "state",
        "watchers",
    )

    def __init__(
        self, key: str, generation_id: int, etag: str, policy: Policy, created_s: float
    ) -> None:
        self.key = key
        self.id = generation_id
        self.etag = etag
        self.policy = policy
        self.ring = Ring()
        self.source: Source | None = None
        self.sha256: bytes | None = None
        self.is_held = False
        self.folder = parent(key)
        self.content_type = "application/octet-stream"
        self.created_s = created_s
        self.modified_s = created_s
        self.expires_at_s: float | None = None
        self.state = State.OPEN
        self.abort: Abort | None = None
        self.charged_bytes = 0
        self.readers = 0
        self.readers_peak = 0
        self.head: bytes | None = None
        self.watchers: dict[Callable[[], None], None] | None = None

    @property
    def is_open(self) -> bool:
        """Still being written."""
        return self.state is State.OPEN

    @property
    def is_stored(self) -> bool:
        """Its bytes belong to the namespace: open or complete."""
        return self.state is State.OPEN or self.state is State.COMPLETE

    @property
    def is_superseded(self) -> bool:
        """Its upload broke off, and its readers wait for the next one of the path."""
        return self.state is State.SUPERSEDED

    def break_off(self, cause: Abort) -> None:
        """End it without completing it: superseded, if its readers can hope for another upload."""
        self.abort = cause
        # The retry is compared with what the ring has: all of it, or there is no telling.
        is_whole_here = not self.ring.base
        has_hope = (
            cause in _RETRIED and self.readers and self.policy.abort_grace_s and is_whole_here
        )
        self.enter("supersede" if has_hope else "abort")

    @property
    def is_cut(self) -> bool:
        """Its readers must end now, without a clean end: it was aborted or deleted."""
        return self.state is State.ABORTED or self.state is State.DELETED

    def watch(self, call: Callable[[], None]) -> None:
        """Have `call` called (synchronously) once, after the next change of state."""
        if self.watchers is None:  # as with most of a million generations
            self.watchers = {}
        self.watchers[call] = None

    def unwatch(self, call: Callable[[], None]) -> None:
        """Take a watcher back; harmless if it isn't registered."""
        if self.watchers is not None:
            self.watchers.pop(call, None)

    def enter(self, event: str) -> None:
        """Go to the state that `event` leads to, and tell the watchers.

        Raises:
            ValueError: as `next_state`.
        """
        self.state = next_state(self.state, event)
        watchers, self.watchers = self.watchers, None
        for call in watchers or ():
            call()
