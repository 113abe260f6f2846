"""What the client's commands do, without a terminal: whole transfers, in spite of failures.

    retry.py       whether to try again after a failure, and when
    pace.py        when a paced body's next chunk is due
    source.py      what is uploaded: files and streams, from their beginning as often as needed
    upload.py      PUT, again until it is stored
    resume.py      what to ask for after a cut, and whether what comes goes on where it ended
    download.py    GET, to the object's end or an honest failure
    sink.py        where a download goes: a file that shows only when whole, or a stream
    tree.py        the files below a folder, and the paths they are stored under
    listing.py     LIST, a page at a time, and what changed between two listings
    arrivals.py    when chunks came, and the gaps between them
    pool.py        several at a time

What decides is plain Python; time, chance and streams come in as arguments.
"""

from __future__ import annotations

from chunkstore.transfer.arrivals import Arrival, Arrivals, follow
from chunkstore.transfer.download import download
from chunkstore.transfer.listing import Entry, Lister, changes
from chunkstore.transfer.pace import Pace
from chunkstore.transfer.pool import for_each
from chunkstore.transfer.resume import Resume, Step
from chunkstore.transfer.retry import Backoff, Retrying
from chunkstore.transfer.sink import FileSink, Sink, StreamSink
from chunkstore.transfer.source import FileSource, Source, StreamSource, read_fd
from chunkstore.transfer.tree import Found, path_below, walk
from chunkstore.transfer.upload import Receipt, upload

__all__ = [
    "Arrival",
    "Arrivals",
    "Backoff",
    "Entry",
    "FileSink",
    "FileSource",
    "Found",
    "Lister",
    "Pace",
    "Receipt",
    "Resume",
    "Retrying",
    "Sink",
    "Source",
    "Step",
    "StreamSink",
    "StreamSource",
    "changes",
    "download",
    "follow",
    "for_each",
    "path_below",
    "read_fd",
    "upload",
    "walk",
]
