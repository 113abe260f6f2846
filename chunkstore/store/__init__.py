"""Stores keep complete generations; open ones live in `live` and `objects`.

contract.py  what a store promises to an origin
memory.py    the budget, least-recently-used eviction and expiry of what is kept in memory
disk/        append-only volumes with an index that is a cache of them; imported by who has a disk
"""

from __future__ import annotations

from chunkstore.store.contract import Incoming, OnDone, Room, Store, StoredObject
from chunkstore.store.memory import WARM_BYTES, MemoryStore

__all__ = ["WARM_BYTES", "Incoming", "MemoryStore", "OnDone", "Room", "Store", "StoredObject"]
