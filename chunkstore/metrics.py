"""What is counted, and the one table of how a request can end.

Plain integers on one object, moved where things happen; whoever wants to show them reads them.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

__all__ = ["Ending", "Metrics"]


class Ending(Enum):
    """How the answer to a request ended: metric name, is it an error, text for the log."""

    COMPLETE = ("complete", False, "whole")
    ABORTED = ("aborted", True, "cut: the upload it followed was aborted")
    DELETED = ("deleted", True, "cut: the object was deleted")
    CLIENT_GONE = ("client_gone", False, "the client left")
    STALLED = ("stalled", True, "cut: the client took no bytes for longer than the stall limit")
    DRAIN = ("drain", True, "cut: the server's time to finish requests was over")
    REFUSED = ("refused", True, "the input was bad and the connection was closed")
    TIMEOUT = ("timeout", True, "the client was too slow and the connection was closed")
    FAILED = ("failed", True, "a fault in the server")

    def __init__(self, metric: str, is_error: bool, text: str) -> None:
        self.metric = metric
        self.is_error = is_error
        self.text = text


class Metrics:
    """Everything that is counted, since the start.

    Attributes:
        responses: answers by status code.
        endings: answers by how they ended (`Ending.metric`).
        aborts: uploads that ended without being complete, by cause (`Abort.metric`).
        uploads_refused: PUTs answered before their body was read, by status code.
        completed_idle: uploads that were taken for complete when they fell idle, by policy.
        evicted, expired: complete generations that went away so.
        taken_over: readers that went on in the next upload of their path.
        holds_met, holds_unmet: GETs that waited for an object, by whether it appeared.
        connections, connections_refused: accepted, and turned away at the limit.
    """

    def __init__(self) -> None:
        self.responses: Counter[int] = Counter()
        self.endings: Counter[str] = Counter()
        self.aborts: Counter[str] = Counter()
        self.uploads_refused: Counter[int] = Counter()
        self.completed_idle = 0
        self.evicted = 0
        self.expired = 0
        self.taken_over = 0
        self.holds_met = 0
        self.holds_unmet = 0
        self.connections = 0
        self.connections_refused = 0
