"""What a server asks of the process it runs in: garbage, memory, descriptors."""

from __future__ import annotations

import ctypes
import gc
import resource
from contextlib import suppress

__all__ = ["calm_garbage_collector", "keep_freed_memory", "raise_descriptor_limit"]

MALLOC_MMAP_BYTES = 32 * 1024 * 1024
"""Smaller blocks come from the heap, where they are reused."""
MALLOC_TRIM_BYTES = 64 * 1024 * 1024
"""The heap keeps so much that is free at its end."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def calm_garbage_collector() -> None:
    """Keep full collections from stopping the loop: 25 ms at 4096 readers, seconds at 1M names.

    Connections, uploads and objects leave no cycles behind (tests/live/test_cycles.py holds that),
    so reference counts free them, and the two young generations are enough for what else there is.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 1_000_000)


def keep_freed_memory() -> None:
    """Have the C library reuse what objects leave, where it is glibc.

    By itself it gives large blocks back to the system at once and asks anew: clearing and mapping
    their pages is a tenth of what an upload costs.

    Source: mallopt(3).
    """
    with suppress(AttributeError, OSError):  # another C library: as fast as it is
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, MALLOC_MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, MALLOC_TRIM_BYTES)


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the soft limit as far as is wanted and the hard one lets it be; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
