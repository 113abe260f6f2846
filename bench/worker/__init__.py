"""What the worker's chunks cost: `question.py` asks part by part, and judges.

`downloads.py` has chunks fetched beside curl and sha256sum (`downloader.py` is our side of it),
`stall.py` deletes large ones beside a ticking loop, `many.py` starts on a hundred thousand
(`starter.py` is the process that starts), `again.py` counts what is fetched of a chunk that was
held. `made.py` makes folders of chunks without downloads.
"""

from __future__ import annotations

__all__: list[str] = []
