"""Every error chunkstore raises on purpose, in one tree.

::

    ChunkstoreError
      ProtocolError(detail)
        LocalProtocolError            we broke HTTP: a bug of ours
        RemoteProtocolError(status)   the peer broke HTTP: answer and close
      StoreError
        CapacityError(needed_bytes, free_bytes)
        DamagedError(key, where)      bytes on disk are not what was written
        DataDirError(folder, detail)  the folder can't be used as a data dir
        DiskError(detail)             the system can't read or write
        DiskFullError               for want of room
          NodesFullError(needed, found, full)   on storage nodes
        QuorumError(needed, found)  for want of storage nodes
        StaleError(detail)            what a change rests on no longer holds
      CheckError(detail)              a service under test did something else than was expected
      FetchError(detail)              a request of ours to another server failed
        ConnectError                  there was no connection to ask on
        CutError                      the connection ended before the answer did
        StalledError                  nothing moved for as long as we wait
        StatusError(status, detail, retry_after_s)   it was answered, but not as asked for
      JoinError(detail)               a cluster refuses this node, and would do so again
      TaskError(detail)
        PoolFullError                 too many tasks wait already
        PoolClosedError               the pool takes no more
        TaskCancelledError            who waits for a task hears that it was cancelled
      ChunkError(detail)              a worker's chunk isn't there
        ChunkFailedError              its download failed, and would again
        ChunkGoneError                nobody wants it
      PathError(path, reason)         what came is no key or prefix in normal form
      SettingsError(where, detail)    flag, environment, file or policy row

Messages are lower-case sentences without a full stop that say what was expected and what came.
Mistakes of a caller inside the program are `TypeError`, `ValueError` or a failed assertion instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from pathlib import PurePath

__all__ = [
    "CapacityError",
    "CheckError",
    "ChunkError",
    "ChunkFailedError",
    "ChunkGoneError",
    "ChunkstoreError",
    "ConnectError",
    "CutError",
    "DamagedError",
    "DataDirError",
    "DiskError",
    "DiskFullError",
    "FetchError",
    "JoinError",
    "LocalProtocolError",
    "NodesFullError",
    "PathError",
    "PoolClosedError",
    "PoolFullError",
    "ProtocolError",
    "QuorumError",
    "RemoteProtocolError",
    "SettingsError",
    "StaleError",
    "StalledError",
    "StatusError",
    "StoreError",
    "TaskCancelledError",
    "TaskError",
]


class ChunkstoreError(Exception):
    """The root: catch this to catch everything chunkstore raises on purpose."""


class ProtocolError(ChunkstoreError):
    """HTTP was broken by one of the two sides.

    Args:
        detail: what was expected and what came.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class LocalProtocolError(ProtocolError):
    """This program tried to send or do what HTTP doesn't allow in the connection's state."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what HTTP doesn't allow.

    Args:
        detail: what was expected and what came.
        status: the status to answer with before the connection closes.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class StoreError(ChunkstoreError):
    """A store couldn't do what was asked of it."""


class CapacityError(StoreError):
    """There is no room for these bytes, even after evicting what may be evicted.

    Args:
        needed_bytes: what the operation had to charge.
        free_bytes: what was left of the budget.
    """

    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(f"{needed_bytes} bytes needed, {free_bytes} bytes free")
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class DamagedError(StoreError):
    """Bytes on disk are not what was written there.

    Args:
        key: the object that has them.
        where: volume and position.
    """

    def __init__(self, key: str, where: str) -> None:
        super().__init__(f"{key} is damaged: {where}")
        self.key = key
        self.where = where


class DataDirError(StoreError):
    """A folder can't be used as a data dir; nothing in it was touched.

    Args:
        folder: its path.
        detail: why not.
    """

    def __init__(self, folder: PurePath, detail: str) -> None:
        super().__init__(f"{folder}: {detail}")
        self.folder = folder
        self.detail = detail


class DiskError(StoreError):
    """The system can't read or write what it was asked to.

    Args:
        detail: what it says.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class DiskFullError(DiskError):
    """The system has no room left for what it was asked to write."""


class NodesFullError(DiskFullError):
    """Fewer storage nodes than it takes have room.

    Args:
        needed: so many an upload takes.
        found: so many have it.
        full: numbers of those that have none, at least one.
    """

    def __init__(self, needed: int, found: int, full: Collection[int]) -> None:
        *others, last = map(str, sorted(full))
        who = f"nodes {', '.join(others)} and {last} are" if others else f"node {last} is"
        super().__init__(
            f"an upload takes {needed} storage nodes with room, and {found} have it: {who} full"
        )
        self.needed = needed
        self.found = found
        self.full = full


class QuorumError(DiskError):
    """Fewer storage nodes than it takes can be written to.

    Args:
        needed: so many an upload takes.
        found: so many there are.
    """

    def __init__(self, needed: int, found: int) -> None:
        missing = f"{needed - found} of them {'is' if needed - found == 1 else 'are'} missing"
        super().__init__(f"an upload takes {needed} storage nodes, and {found} are up: {missing}")
        self.needed = needed
        self.found = found


class StaleError(StoreError):
    """A change rests on what no longer holds: nothing was changed.

    Args:
        detail: what became of that.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class FetchError(ChunkstoreError):
    """A request of ours to another server failed.

    Args:
        detail: what was asked of whom, and what came of it.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ConnectError(FetchError):
    """There is no connection to the server: no such name, no route, or it refuses."""


class CutError(FetchError):
    """The connection ended before the answer did: what came of a body is not all of it."""


class StalledError(FetchError):
    """The connection stands, but nothing moved on it for as long as we wait."""


class StatusError(FetchError):
    """The server answered with another status than the ones asked for.

    Args:
        status: of the answer.
        detail: the request, the status, and the sentence that the server gave.
        retry_after_s: how long the server asks to wait before the next try; None if it doesn't.
    """

    def __init__(self, status: int, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s


class CheckError(ChunkstoreError):
    """A service under test did something else than was expected.

    Args:
        detail: what was expected and what came.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class JoinError(ChunkstoreError):
    """The gateway of a cluster refuses this node, and would do so again.

    Args:
        detail: what it says.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TaskError(ChunkstoreError):
    """A task of a pool wasn't run to its end.

    Args:
        detail: which, and why.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class PoolFullError(TaskError):
    """Too many tasks wait already: the new one was not taken."""


class PoolClosedError(TaskError):
    """The pool takes no more tasks."""


class TaskCancelledError(TaskError):
    """A task was cancelled, which isn't the same as that its waiter was."""


class ChunkError(ChunkstoreError):
    """A chunk that a worker was asked for isn't there.

    Args:
        detail: why not.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ChunkFailedError(ChunkError):
    """Its download failed, and another try would, too."""


class ChunkGoneError(ChunkError):
    """Nobody wants it, or not any more; or the manager has ended."""


class PathError(ChunkstoreError):
    """A path from the wire isn't an object key or prefix in normal form.

    Args:
        path: the path as it came, still percent-encoded.
        reason: which rule it breaks.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


class SettingsError(ChunkstoreError):
    """A setting is wrong, unknown, or doesn't go with another.

    Args:
        where: the flag, environment variable or place in a file.
        detail: what was expected and what came, one line.
    """

    def __init__(self, where: str, detail: str) -> None:
        super().__init__(f"{where}: {detail}")
        self.where = where
        self.detail = detail

    @classmethod
    def unknown(cls, where: str, key: str, valid: Iterable[str]) -> SettingsError:
        """The error for a key that doesn't exist, naming the nearest one that does."""
        names = sorted(valid)
        near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
        return cls(where, f"there is no {key!r}; {hint}")
