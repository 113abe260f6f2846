"""`python -m chunkstore.cluster.leash WORDS`: `chunkstore WORDS` that ends with who started it.

Its standard input is a pipe whose other end that one holds and never writes to: the system closes
it with the last process that has it, however that ends. PR_SET_PDEATHSIG goes by the thread that
started a process, and Trio starts them in threads that come and go.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

__all__ = ["hold"]

END_S = 30.0
"""Longer than a drain."""


def hold() -> None:
    """From now on this process ends when its standard input does: well, or else after END_S."""
    threading.Thread(target=_watch, name="leash", daemon=True).start()


def _watch() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    hold()
    sys.argv[0] = "chunkstore"
    runpy.run_module("chunkstore", run_name="__main__")
