"""What is counted, and the one table of how a request can end.

Plain integers on one object, moved where things happen; whoever wants to show them reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

__all__ = ["AGE_BOUNDS_S", "Ending", "Figure", "Histogram", "Metrics"]

AGE_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of every histogram, in seconds: from half a millisecond up."""


class Ending(Enum):
    """How the answer to a request ended: metric name, is it an error, text for the log."""

    COMPLETE = ("complete", False, "whole")
    ABORTED = ("aborted", True, "cut: the upload it followed was aborted")
    DELETED = ("deleted", True, "cut: the object was deleted")
    CLIENT_GONE = ("client_gone", False, "the client left")
    STALLED = ("stalled", True, "cut: the client took no bytes for longer than the stall limit")
    DAMAGED = ("damaged", True, "cut: the object's bytes on disk can't be read")
    DRAIN = ("drain", True, "cut: the server's time to finish requests was over")
    REFUSED = ("refused", True, "the input was bad and the connection was closed")
    TIMEOUT = ("timeout", True, "the client was too slow and the connection was closed")
    FAILED = ("failed", True, "a fault in the server")

    def __init__(self, metric: str, is_error: bool, text: str) -> None:
        self.metric = metric
        self.is_error = is_error
        self.text = text


class Histogram:
    """How often a time fell in each bucket.

    Attributes:
        counts: by bucket; the last one is for what is beyond all bounds.
        sum_s: of all times.
    """

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(AGE_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, value_s: float, count: int = 1) -> None:
        """Count a time, `count` times. Cost: O(log buckets)."""
        self.counts[bisect_left(AGE_BOUNDS_S, value_s)] += count
        self.sum_s += value_s * count


class Figure(NamedTuple):
    """What another room counts, for /metrics.

    Attributes:
        name: without what all names begin and counters end with.
        text: what it is.
        label: what tells its values apart; "": there is one.
        values: by label.
        is_counter: it never falls while the process lives.
    """

    name: str
    text: str
    label: str
    values: Mapping[str, int]
    is_counter: bool = False


class Metrics:
    """Everything that is counted, since the start.

    Attributes:
        responses: answers by status code.
        endings: answers by how they ended (`Ending.metric`).
        aborts: uploads that ended without being complete, by cause (`Abort.metric`).
        uploads_refused: PUTs answered before their body was read, by status code.
        completed_idle: uploads that were taken for complete when they fell idle, by policy.
        evicted, expired: complete generations that went away so.
        reads_failed: GETs that met bytes on disk that are damaged or can't be read.
        taken_over: readers that went on in the next upload of their path.
        holds_met, holds_unmet: GETs that waited for an object, by whether it appeared.
        missed_at_edge: 404s for names in a folder that received a byte within the last 10 s.
        connections, connections_refused: accepted, and turned away at the limit.
        sent_age: from a byte's arrival to its hand-off to the kernel, a reader at a live edge
            and a push.
        first_byte: from a request's head to the first bytes of its answer.
        upload_gap: the longest time between two arrivals of bytes, an upload that has ended.
        loop_lag: how late the event loop was for a timer, four times a second.
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
        self.reads_failed = 0
        self.holds_met = 0
        self.holds_unmet = 0
        self.missed_at_edge = 0
        self.connections = 0
        self.connections_refused = 0
        self.sent_age = Histogram()
        self.first_byte = Histogram()
        self.upload_gap = Histogram()
        self.loop_lag = Histogram()
