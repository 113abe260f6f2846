"""Questions about a cluster of real processes: how evenly its nodes fill.

`processes.py` runs a gateway and its nodes, `spread.py` asks.
"""

from __future__ import annotations

__all__: list[str] = []
