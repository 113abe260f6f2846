"""Lines for a terminal: what a listing's entry and a chunk's arrival look like."""

from __future__ import annotations

import json
from datetime import datetime

from chunkstore.transfer import Arrival, Entry

__all__ = ["ARRIVAL_HEAD", "arrival_line", "entry_json", "entry_line", "printable", "seconds"]

ARRIVAL_HEAD = f"{'arrived':<12} {'chunk':>7} {'size':>10} {'end':>12} {'gap':>10} {'open for':>9}"


def printable(text: str) -> str:
    """Text that can't move a terminal's cursor or change its colours, whoever wrote it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def entry_line(entry: Entry) -> str:
    """Size, state, time of the last change, path."""
    size = "" if entry.size is None else str(entry.size)
    when = ""
    if entry.modified_s is not None:
        try:
            when = f"{datetime.fromtimestamp(entry.modified_s):%Y-%m-%d %H:%M:%S}"
        except (ValueError, OverflowError, OSError):
            when = "?"  # a time that no calendar has
    state = entry.state or "prefix"
    return f"{size:>13} {printable(state):<9} {when:<19}  {printable(entry.path)}"


def entry_json(entry: Entry, change: str = "") -> str:
    """What the server said of it, on one line; with what changed, where that is asked."""
    return json.dumps({"change": change, **entry.members} if change else entry.members)


def seconds(value_s: float | None) -> str:
    """A gap: milliseconds below a second, else seconds."""
    if value_s is None:
        return "-"
    return f"{value_s * 1000:.1f} ms" if value_s < 1 else f"{value_s:.2f} s"


def arrival_line(arrival: Arrival, now: datetime, open_for_s: float | None) -> str:
    """When a chunk was there, and how it compares with the one before.

    Args:
        now: the time of day.
        open_for_s: how long the object had been written by then, to the second; None if unknown.
    """
    gap = seconds(arrival.gap_s) if arrival.is_live else "caught up"
    age = "-" if open_for_s is None else f"{open_for_s:.0f} s"
    return (
        f"{now:%H:%M:%S}.{now.microsecond // 1000:03} {arrival.number:>7}"
        f" {arrival.size_bytes:>10} {arrival.end:>12} {gap:>10} {age:>9}"
    )
