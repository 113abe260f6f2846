"""Complete generations on disk: append-only volumes, and an index that is a cache of them.

    files.py     the narrow seam: every syscall that touches the data dir's files
    record.py    what a volume is made of: runs, commits, tombstones, marks; pure
    volume.py    one append-only file of records: append, sync, scan, read
    ledger.py    what the records say together, whatever their order; pure
    located.py   where an object's bytes are, for readers in any thread
    index.py     the ledger's rows in SQLite, each with a checksum
    datadir.py   whose folder it is: format version, lock
    survey.py    what the volumes say beyond the index, by looking alone
    start.py     a survey, and what a crash left, mended
    fsck.py      looks at all of a data dir that nobody uses, and touches nothing
    scrub.py     reads all objects once a period, a run a step
    engine.py    one thread's work: append, commit, delete, sync together

**The durable commit record is the commit point.** Everything else can be made anew from the
volumes: an index that is missing, older or damaged costs a scan. What a crash can leave is a prefix
of each volume, since one is synced before the next is begun, and a start cuts behind the first
record that isn't whole.
"""

from __future__ import annotations

__all__: list[str] = []
