"""Downloads: the files of a chunk, each from its URL, in spite of what servers do.

retry.py     what may pass by itself, and when to try again; pure
address.py   which addresses may be asked at all
source.py    one answer, wherever redirects lead
partial.py   a file on its way, that outlives the process
file.py      one file, over as many answers as it takes
fetching.py  all files of a chunk, within limits over all chunks
"""

from __future__ import annotations

from chunkstore.worker.fetch.fetching import Fetching
from chunkstore.worker.fetch.retry import may_pass, retry_after_s

__all__ = ["Fetching", "may_pass", "retry_after_s"]
