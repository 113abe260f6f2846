"""What decides: which chunks are wanted, what is done about each, who holds what. Pure.

chunk.py       what a chunk is, and what makes two of them the same
names.py       what its folders and files are called on disk, and which names are let in
states.py      the life of a generation: one table
generation.py  one life of a chunk
index.py       which chunk has a block
space.py       whose bytes may be on the disk
core.py        all chunks together

Time comes in as an argument; nothing here waits, reads or writes.
"""

from __future__ import annotations

__all__: list[str] = []
