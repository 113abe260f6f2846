"""`python -m chunkstore` is `chunkstore`."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """The process, from loading what it needs to its exit code.

    Loading takes a while: a Ctrl-C ends it without a traceback, too.
    """
    found = signal.getsignal(signal.SIGINT)
    if found is signal.default_int_handler:  # else somebody had it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from chunkstore.cli import main as run

    signal.signal(signal.SIGINT, found)
    return run()


if __name__ == "__main__":
    sys.exit(main())
