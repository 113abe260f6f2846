"""Complete generations on disk: append-only volumes, and an index that is a cache of them.

    files.py       the narrow seam: every syscall that touches the data dir's files
    record.py      what a volume is made of: runs, commits, tombstones, marks; pure
    scan.py        the search for them, whatever became of the file; pure
    volume.py      one append-only file of records: append, sync, scan, hold and read
    volumes.py     all of them: where the next record goes, what must be synced
    stored.py      what is known of an object, packed; pure
    ledger.py      what the records say together, whatever their order; pure
    log.py         records are appended, made durable, and told to the ledger then
    index.py       the ledger's rows in SQLite, each with a checksum
    datadir.py     whose folder it is: format version, lock
    survey.py      what the volumes say beyond the index, by looking alone
    start.py       a survey, and what a crash left, mended
    fsck.py        looks at all of a data dir that nobody uses, and touches nothing
    scrub.py       reads all objects once a period, a run a step
    located.py     where an object's bytes are, for readers in any thread
    compaction.py  empties a volume, a step at a time
    engine.py      one thread's work: append, commit, delete, flush, save the index
    sync.py        when an upload is made durable
    upkeep.py      what its thread does while nobody waits for it
    store.py       the engine and its thread, as tasks see them
    upload.py      one upload on its way there
    source.py      where one object's bytes are, for who reads them
    resident.py    whether they are in memory

**The durable commit record is the commit point.** Everything else can be made anew from the
volumes: an index that is missing, older or damaged costs a scan. What a crash can leave is a prefix
of each volume, since one is synced before the next is begun, and a start cuts behind the first
record that isn't whole.
"""

from __future__ import annotations

from chunkstore.store.disk.datadir import DataDir
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.files import Files
from chunkstore.store.disk.store import DiskStore
from chunkstore.store.disk.sync import Sync
from chunkstore.store.disk.upload import DiskUpload

__all__ = ["DataDir", "DiskStore", "DiskUpload", "Engine", "Files", "Sync"]
