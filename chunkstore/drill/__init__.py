"""`chunkstore worker demo`: workers, their readers, and a storage that fails on purpose.

scene.py    the chunks, and what their files have
figures.py  what is counted, and how it is shown
table.py    a live table, where rich is installed
session.py  one run from its start to its end
"""

from __future__ import annotations

from chunkstore.drill.session import run

__all__ = ["run"]
