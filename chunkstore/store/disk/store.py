"""The engine in a thread of its own, as tasks see it.

Whoever commits or deletes waits until that is durable. What comes while a sync is under way is
synced together by the next one: the slower the disk, the more share a sync.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal, TypeAlias

import trio

from chunkstore.errors import DiskError, DiskFullError
from chunkstore.store.disk.engine import Engine
from chunkstore.store.disk.source import READ_THREADS, DiskSource
from chunkstore.store.disk.stored import Extent, Stored
from chunkstore.store.disk.sync import Sync
from chunkstore.store.disk.upkeep import Upkeep
from chunkstore.store.disk.upload import DiskUpload

__all__ = ["DiskStore"]

QUEUE_BYTES = 32 << 20
"""So much may wait for the disk; then uploads wait, too."""
UNSYNCED_BYTES = 8 << 20
"""So much is synced though nobody waits for it: a commit must not find seconds of work."""
BATCH = 500
"""So many are synced together at most: a commit doesn't wait for thousands behind it."""
LOOK_S = 0.01
"""So old may be what is known of the disk's room: each upload asks twice."""
FLUSH_S = 1.0
"""What nobody waits for is made durable after so long: expiries, runs; and all of it, where the
disk is never waited for."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

When: TypeAlias = Literal["now", "soon"]
_Act: TypeAlias = Callable[[Engine], Extent | None]
_Done: TypeAlias = Callable[[Extent | None, DiskError | None], None]


@dataclass(eq=False, slots=True)
class _Request:
    """Something for the thread to do.

    Attributes:
        act: does it.
        done: called on the loop with what came of it.
        size_bytes: of what waits in memory for it.
        upload: it is a part of; lost for good if this fails.
        counts_when: it was synced, at once or soon; None: it counts as soon as it was done.
    """

    act: _Act
    done: _Done
    size_bytes: int
    upload: DiskUpload | None
    counts_when: When | None
    extent: Extent | None = None
    error: OSError | None = None


class DiskStore:
    """A data dir with complete objects, which outlive the process.

    Args:
        engine: started; from `run` on it is the thread's, but for what any thread may call.
        sync: when the disk must have what was written.
        limit_bytes: most that the volumes may take; None: all there is.
        reserve_bytes: of that, or of the disk, what no upload may take.
        scrub_s: all is read once in so long; 0: never.
        note: told in words what a person should know.

    Attributes:
        engine: as above.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        sync: Sync = Sync.CLOSE,
        limit_bytes: int | None = None,
        reserve_bytes: int = 0,
        scrub_s: float = 0.0,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.engine = engine
        self._sync = sync
        self._limit_bytes = limit_bytes
        self._reserve_bytes = reserve_bytes
        self._note = note
        self._scrub = engine.scrub(scrub_s, time.monotonic)
        self._queue: SimpleQueue[list[_Request] | None] = (
            SimpleQueue()
        )  # None: nothing comes behind it
        self._asked: list[_Request] = []  # to be put there all at once
        self._has_asked = trio.Event()
        self._free_bytes, self._looked_s = 0, -math.inf
        self._queued_bytes = 0
        self._shrunk = trio.Event()
        self._threads = trio.CapacityLimiter(READ_THREADS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; then what was asked for is made durable first."""
        token = trio.lowlevel.current_trio_token()

        def finished(requests: Sequence[_Request]) -> None:
            token.run_sync_soon(self._finish, requests)

        def note(text: str) -> None:
            token.run_sync_soon(self._note, text)

        upkeep = Upkeep(self.engine, self._scrub, self._room, note, time.monotonic)
        worker = _Worker(self.engine, self._queue, finished, upkeep, self._sync)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hand_over)
            task_status.started()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(worker.work)
            nursery.cancel_scope.cancel()

    async def _hand_over(self) -> None:
        """Give the thread what is asked, once a turn of the loop: each time it wakes up costs.

        When cancelled, the thread finishes what it has, and ends by itself.
        """
        try:
            while True:
                await self._has_asked.wait()
                self._has_asked = trio.Event()
                self._pass_on()
        finally:
            self._pass_on()
            self._queue.put(None)

    def _pass_on(self) -> None:
        asked, self._asked = self._asked, []
        self._queue.put(asked)

    @property
    def is_synced(self) -> bool:
        """What is acknowledged is durable."""
        return self._sync is not Sync.NONE

    # --- objects -------------------------------------------------------------------------------

    def source(self, key: str, generation: int) -> DiskSource:
        """Where an object's bytes are."""
        return DiskSource(self.engine, key, generation, self._threads, is_committed=True)

    def objects(self) -> Iterator[tuple[str, int, bytes]]:
        """All there is: names, generations and facts; while nothing is written."""
        for key, stored in self.engine.ledger.objects.items():
            yield key, stored.generation, stored.facts

    def stored(self, key: str) -> Stored | None:
        """What there is under a name."""
        return self.engine.ledger.objects.get(key)

    def begin(self, key: str) -> DiskUpload:
        """A new upload."""
        generation = self.engine.begin()
        source = DiskSource(self.engine, key, generation, self._threads, is_committed=False)
        return DiskUpload(self, source)

    def delete(
        self, key: str, on_done: Callable[[DiskError | None], None], *, is_urgent: bool = True
    ) -> None:
        """Take away all that was committed under `key`.

        Args:
            is_urgent: false: it may take `FLUSH_S`.
            on_done: called once it is gone, whatever happens from then on; or with the error, and
                nothing changed: DiskFullError, or it failed.
        """
        self.put(
            lambda engine: engine.delete(key),
            lambda _, error: on_done(error),
            counts_when="now" if is_urgent else "soon",
        )

    # --- space ---------------------------------------------------------------------------------

    def refusal(self) -> None:
        """What there is against an upload is told when it is written."""

    def free_bytes(self) -> int:
        """What uploads may still take; below 0 they took of the reserve."""
        return self._room() - self._reserve_bytes - self._queued_bytes

    @property
    def used_bytes(self) -> int:
        """Of all volumes."""
        return self.engine.used_bytes

    @property
    def flaw_count(self) -> int:
        """Runs that the scrub found damaged, each counted once a pass."""
        return self._scrub.flaw_count

    def trouble(self) -> list[str]:
        """What is wrong with the disk now, in words."""
        return self.engine.trouble()

    def live_bytes(self) -> int:
        """What objects need of the volumes. Cost: O(volumes)."""
        return sum(self.engine.ledger.live_bytes.values())

    def capacity_bytes(self) -> int:
        """What volumes may take, all together."""
        return self.engine.used_bytes + self._room() - self._reserve_bytes

    def _room(self) -> int:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            try:
                self._free_bytes = self.engine.free_bytes()
            except OSError:  # it is gone: nothing can be written there
                self._free_bytes = 0
        if self._limit_bytes is None:
            return self._free_bytes
        return min(self._free_bytes, self._limit_bytes - self.engine.used_bytes)

    # --- the thread's work ---------------------------------------------------------------------

    async def wait_for_room(self, size_bytes: int) -> None:
        """Wait while so much more must not wait for the disk.

        Cancellation: nothing remains.
        """
        while self._queued_bytes and self._queued_bytes + size_bytes > QUEUE_BYTES:
            await self._shrunk.wait()

    def put(
        self,
        act: _Act,
        done: _Done,
        *,
        size_bytes: int = 0,
        upload: DiskUpload | None = None,
        counts_when: When | None = None,
    ) -> None:
        """Have the thread do something, in the order of the calls.

        Args:
            done: called with what `act` returned, or None and the error.
            size_bytes: what it holds in memory until then.
            upload: what it is a part of; after an error, all further parts fail, too.
            counts_when: `done` is called once what was done is durable: that is waited for, or
                may take `FLUSH_S`.
        """
        self._queued_bytes += size_bytes
        self._asked.append(_Request(act, done, size_bytes, upload, counts_when))
        self._has_asked.set()

    def _finish(self, requests: Sequence[_Request]) -> None:
        """They count now, or have failed."""
        self._queued_bytes -= sum(request.size_bytes for request in requests)
        self._shrunk.set()
        self._shrunk = trio.Event()
        for request in requests:
            error = request.error
            request.done(request.extent, None if error is None else _as_disk_error(error))


def _as_disk_error(error: OSError) -> DiskError:
    detail = error.strerror or str(error)
    return DiskFullError(detail) if error.errno in _FULL else DiskError(detail)


class _Worker:
    """The thread's side.

    Args:
        finished: told what counts now, or has failed.
        upkeep: done while nobody waits, and now and then while somebody does.
        sync: as `DiskStore` has it.
    """

    def __init__(
        self,
        engine: Engine,
        queue: SimpleQueue[list[_Request] | None],
        finished: Callable[[Sequence[_Request]], None],
        upkeep: Upkeep,
        sync: Sync,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._finished = finished
        self._upkeep = upkeep
        self._sync = sync
        self._uncounted: list[_Request] = []  # to be told once they were synced
        self._unsynced_bytes = 0
        self._flush_at_s = math.inf  # what nobody waits for counts by then

    def work(self) -> None:
        """Do what comes, and what came meanwhile, and sync it together; until None comes."""
        is_over = False
        while not is_over:
            requests: list[_Request] = []
            try:
                asked = self._queue.get(timeout=self._idle_s())
                while asked is not None:
                    for request in asked:
                        self._act(request)
                    requests += asked
                    is_much = self._unsynced_bytes > UNSYNCED_BYTES or len(requests) >= BATCH
                    if is_much or self._queue.empty():
                        break
                    asked = self._queue.get()
                is_over = asked is None
            except Empty:
                pass
            self._uncounted += [one for one in requests if one.counts_when is not None]
            told = [one for one in requests if one.counts_when is None]
            if self._must_flush(requests, is_over=is_over):
                self._flush()
                told, self._uncounted = [*told, *self._uncounted], []
            if told:
                self._finished(told)
            if not self._upkeep.due_in_s():
                self._upkeep.step()
        self._upkeep.close()

    def _idle_s(self) -> float:
        return min(self._upkeep.due_in_s(), max(0.0, self._flush_at_s - time.monotonic()))

    def _act(self, request: _Request) -> None:
        upload = request.upload
        try:
            if upload is not None and upload.lost is not None:
                raise upload.lost
            request.extent = request.act(self._engine)
            self._unsynced_bytes += request.size_bytes
            self._flush_at_s = min(self._flush_at_s, time.monotonic() + FLUSH_S)
        except OSError as error:
            request.error = error
            if upload is not None:
                upload.lost = error

    def _must_flush(self, requests: Sequence[_Request], *, is_over: bool) -> bool:
        return (
            self._unsynced_bytes > (0 if self._sync is Sync.ALWAYS else UNSYNCED_BYTES)
            or any(one.counts_when == "now" for one in requests)
            or time.monotonic() >= self._flush_at_s
            or len(self._uncounted) >= BATCH
            or (is_over and bool(self._uncounted))
        )

    def _flush(self) -> None:
        is_due = time.monotonic() >= self._flush_at_s
        try:
            self._engine.flush(sync=is_due or self._sync is not Sync.NONE)
        except OSError as error:
            for request in self._uncounted:
                request.error = request.error or error
        self._unsynced_bytes = 0
        if is_due or self._sync is not Sync.NONE:
            self._flush_at_s = math.inf
