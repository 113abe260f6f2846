"""chunkstore: storage for data that is still being written.

A producer PUTs a stream; any number of consumers GET it while it grows, with the latency of one
hand-off; when it is finished it is an ordinary object that can be listed and ranged. A pure core
decides, a thin Trio shell moves bytes, and imports point inward only::

    __main__.py    calls cli
    cli/           the only place that reads argv, environment and settings files, and that prints
    process.py     the whole life of a server: listeners, signals, drain
    drill/         `chunkstore worker demo`: workers, readers, and a storage that fails
    tuning.py      what a server asks of its process: garbage, memory, descriptors
    demo/          `chunkstore demo`: an encoder and players around an origin
    transfer/      whole uploads, downloads and listings in spite of failures, for the commands
    cluster/       objects in parts on storage servers: nodes, their gateway, its metadata
    worker/        an assigned set of data chunks on local disk: fetched, found, held, served
    tasks.py       a pool of tasks: forget, execute, handles
    client/        a small HTTP/1.1 client: one request at a time, bodies as they come and go
    origin/        the origin's handlers, one per method
    admin/         the operator's: metrics, health, events
    server/        listeners, admission, the connection task, deadlines, drain: runs any handlers
    live/          the ring's async face: pump, edge, trio.Event hand-off
    testing/       doubles for tests that users may use, too: a store in memory, one that fails
    store/         what keeps complete generations: memory, disk
    folders.py     folders that are ours: made durably, one process's at a time
    wire/          sans-IO HTTP/1.1 on h11: events, protocol, ranges, conditionals, status table
    objects/       the namespace: key -> generations; displacement, rollback, holds, expiry  } pure:
    auth/          tokens, signed URLs: who may do what                                      }
    ring.py        single writer, many readers: offsets, cursors, chunk boundaries           } no
    playlist.py    a strict reader of media playlists                                        }
    policy.py      prefix or glob -> ttl, hold, atomic, Cache-Control, ...                   } trio,
    paths.py       object keys and prefixes: one normal form                                 } no
    metrics.py     every counter, and the table of how a request can end                     } h11,
    journal.py     what happened to objects, bounded                                         }
    config/        frozen settings: unit in the name, default, bounds, reason                } no
    units.py       sizes, durations and switches as people write them                        } sock-
    errors.py      the whole hierarchy, its tree in the docstring                            } ets

What is public is re-exported here; everything else may change between versions.
"""

from __future__ import annotations

from chunkstore.config import Settings, resolve
from chunkstore.errors import (
    CapacityError,
    ChunkstoreError,
    ConnectError,
    CutError,
    FetchError,
    LocalProtocolError,
    PathError,
    ProtocolError,
    RemoteProtocolError,
    SettingsError,
    StalledError,
    StatusError,
    StoreError,
)
from chunkstore.policy import Policy, PolicyRow, PolicyTable

__all__ = [
    "CapacityError",
    "ChunkstoreError",
    "ConnectError",
    "CutError",
    "FetchError",
    "LocalProtocolError",
    "PathError",
    "Policy",
    "PolicyRow",
    "PolicyTable",
    "ProtocolError",
    "RemoteProtocolError",
    "Settings",
    "SettingsError",
    "StalledError",
    "StatusError",
    "StoreError",
    "__version__",
    "resolve",
]

__version__ = "0.1.0"
