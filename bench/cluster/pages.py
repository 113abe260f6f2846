"""Memory that the host has given already, for files that are written next.

A virtual machine's host may give memory at its first use, and take back what has been free for
seconds: a write into a new page of the page cache then costs ten times as much (2 s/GiB instead of
0.2). Whether a server meets such pages depends on what ran before it, not on the server. On one
that has run for a while all memory is in use, and pages are used anew.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["free_pages"]

_WRITE_BYTES = 1 << 20


def free_pages(folder: Path, size_bytes: int) -> None:
    """Have so much memory free that was just in use: that of a file, which is taken away again.

    Memory of a process would not do: the system has other pages for that.

    Args:
        folder: of the disk that is written next.
    """
    path, data = folder / "pages", bytes(_WRITE_BYTES)
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(0, size_bytes, _WRITE_BYTES):
                file.write(data)
    finally:
        path.unlink(missing_ok=True)
