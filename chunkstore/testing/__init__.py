"""Doubles for tests of what uses a store; users may use them, too.

reference.py  a store in memory, without threads: the naive one that others are held against
faulty.py     any store, failing and waiting where a test tells it to
"""

from __future__ import annotations

from chunkstore.testing.faulty import FaultyStore
from chunkstore.testing.reference import ReferenceStore

__all__ = ["FaultyStore", "ReferenceStore"]
