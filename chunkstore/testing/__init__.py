"""Doubles for tests of what uses a store, or downloads; users may use them, too.

reference.py  a store in memory, without threads: the naive one that others are held against
faulty.py     any store, failing and waiting where a test tells it to
storage.py    an HTTP storage to download from that slows, cuts, lies and leads astray
"""

from __future__ import annotations

from chunkstore.testing.faulty import FaultyStore
from chunkstore.testing.reference import ReferenceStore
from chunkstore.testing.storage import Content, Fault, Storage

__all__ = ["Content", "Fault", "FaultyStore", "ReferenceStore", "Storage"]
