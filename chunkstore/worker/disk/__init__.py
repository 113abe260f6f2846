"""Chunks on disk: what is whole, what is on its way, what goes; all of it blocking, for threads.

files.py   the narrow seam: every syscall that changes the folder
scan.py    what a start finds, by names alone
folder.py  the orders in which chunks are published, doomed and removed, with their syncs
check.py   a look at a folder that nobody uses: what is damaged, what is left over

A chunk is published by one rename, and goes by one; so what has the name of a whole chunk is one,
whenever the power goes.
"""

from __future__ import annotations

__all__: list[str] = []
