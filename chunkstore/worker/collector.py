"""Python's garbage collector, kept from looking at what is being made by the hundred thousand."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["collector_paused"]


@contextmanager
def collector_paused() -> Generator[None]:
    """Have it wait: for a start on many chunks, of which nothing is garbage, but all is looked at.

    It is the process's: for a moment, and left alone where it is off already.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
