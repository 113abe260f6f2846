"""Lines for a terminal: what a listing's entry and a chunk's arrival look like."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from chunkstore.transfer import Arrival, Entry

__all__ = [
    "ARRIVAL_HEAD",
    "arrival_line",
    "entry_json",
    "entry_line",
    "one_line",
    "printable",
    "rough_size",
    "rough_time",
    "seconds",
    "table_lines",
]

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
ARRIVAL_HEAD = f"{'arrived':<12} {'chunk':>7} {'size':>10} {'end':>12} {'gap':>10} {'open for':>9}"


def printable(text: str) -> str:
    """Text that can't move a terminal's cursor or change its colours, whoever wrote it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def one_line(text: str) -> str:
    """A message as one line; a part of it may be what a server said, or the name of a file."""
    return printable(" ".join(text.split()))


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


def rough_size(size_bytes: float) -> str:
    """A size for the eye: two to four digits and a unit."""
    at = 0
    while round(size_bytes) >= 1000 and at < len(_SIZES) - 1:
        size_bytes /= 1000
        at += 1
    is_whole = not at or size_bytes >= 99.95
    return f"{size_bytes:.0f} {_SIZES[at]}" if is_whole else f"{size_bytes:.1f} {_SIZES[at]}"


def rough_time(value_s: float) -> str:
    """A time for the eye: the two largest units of it."""
    minutes, s = divmod(round(value_s), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    named = [(days, "d"), (h, "h"), (m, "m"), (s, "s")]
    first = next((at for at, (count, _) in enumerate(named) if count), len(named) - 1)
    return " ".join(f"{count} {unit}" for count, unit in named[first : first + 2] if count) or "0 s"


def table_lines(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows as lines with aligned columns.

    Args:
        rows: of one length; the first one is the head.
        right: columns that are aligned at their right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


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
