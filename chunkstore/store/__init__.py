"""Stores keep complete generations; open ones live in `live` and `objects`.

memory.py   the budget, least-recently-used eviction and expiry of what is kept in memory
disk/       append-only volumes with an index that is a cache of them; imported by who has a disk
"""

from __future__ import annotations

from chunkstore.store.memory import MemoryStore

__all__ = ["MemoryStore"]
