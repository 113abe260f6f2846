"""Keeps an assigned, changing set of data chunks on local disk, and hands them out.

core/   what decides; pure
"""

from __future__ import annotations

from chunkstore.worker.core.chunk import DataChunk, FileRecord

__all__ = ["DataChunk", "FileRecord"]
