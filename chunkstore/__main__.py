"""`python -m chunkstore` is `chunkstore`."""

from __future__ import annotations

import sys

from chunkstore.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
