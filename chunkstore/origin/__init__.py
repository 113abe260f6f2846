"""The live origin: what GET, PUT, LIST and DELETE of a path mean.

origin.py    the parts together, and the table of handlers
guard.py     credentials, before a handler sees the request
read.py      GET and HEAD: complete objects, open ones, holds, ranges
reload.py    LL-HLS: a GET that waits for a playlist's next version
write.py     PUT and POST, DELETE
listing.py   LIST and its mirror `GET /prefix?list`
browser.py   what browsers may do: CORS for reads, no cross-site writes
fields.py    the header fields of answers
"""

from __future__ import annotations

from chunkstore.origin.origin import Origin

__all__ = ["Origin"]
