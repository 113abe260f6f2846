"""The namespace: which generation a name shows, and what a write, a delete or time does to it.

Pure and synchronous: time comes in as an argument (`now_s`, any monotonic clock), so a test drives
it without one. A name has at most one complete and one open generation:

    begin ──> OPEN ──commit──> COMPLETE ──replace | evict──> GONE    (running readers finish)
                │                  ├──────expire──────────> EXPIRED (running readers finish)
                ├──abort──> ABORTED└──────delete──────────> DELETED (readers are cut)
                ├──delete─> DELETED
                └──supersede─> SUPERSEDED ──abort | delete──> as above

What a reader sees of a name is `visible`: an ordinary object shows from its first published byte,
an atomic one when it is complete; when an open generation is aborted, the name falls back to its
complete one. Whoever must act on a change of state (the writer, the readers) registers a watcher.

    generation.py   one PUT of a path: its states, why it was aborted, who watches it
    facts.py        what is kept of a generation beside its bytes
    source.py       where bytes are that its ring let go of
    succession.py   readers of an upload that broke off go on in the next one of its path
    namespace.py    all names in one ordered index
"""

from __future__ import annotations

from chunkstore.objects.facts import Facts, etag_of, expires_of
from chunkstore.objects.generation import Abort, Generation, State, next_state
from chunkstore.objects.namespace import Backing, Entry, Listing, Namespace
from chunkstore.objects.source import FileRange, Source
from chunkstore.objects.succession import KEPT_COUNT, Claim

__all__ = [
    "KEPT_COUNT",
    "Abort",
    "Backing",
    "Claim",
    "Entry",
    "Facts",
    "FileRange",
    "Generation",
    "Listing",
    "Namespace",
    "Source",
    "State",
    "etag_of",
    "expires_of",
    "next_state",
]
