"""What a data dir costs, part by part: `bench/disk.py` asks, and judges what is found here.

`place.py` starts servers on folders that go with them; `live.py` has a fan-out with a data dir and
without, `commits.py` uploads that complete at once, `reads.py` complete GETs, `many.py` small
objects by the million.
"""

from __future__ import annotations

__all__: list[str] = []
