"""One GET that follows an open generation from a byte offset to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from chunkstore.live.broadcast import Broadcast
from chunkstore.live.outlet import Outlet, Piece
from chunkstore.metrics import Ending
from chunkstore.objects import FileRange, Generation, State
from chunkstore.ring import LAST_CHUNK, Position

if TYPE_CHECKING:
    from chunkstore.live.catalog import Visit

__all__ = ["CutWatch", "Reader", "ending_of"]

FIRST_BYTES = 64 * 1024
"""As below, for the first send: in a storm of joins all get their first bytes early."""
GATHER_BYTES = 512 * 1024
"""Most payload that one gathered send of a reader behind the edge takes."""
DISK_FRAME_BYTES = 1 << 20
"""Largest chunk of what comes from the disk: its boundaries are not those of the writer."""


class Reader:
    """A cursor in the framed stream, and the task that moves it when the pump doesn't.

    Args:
        broadcast: what it follows.
        visit: counts it in; moved when another generation takes over.
        outlet: the client's connection.
        head: the response head, sent together with the backlog.
        start: first payload offset wanted, 0 <= start < ring.end.
        trailer: makes the trailer fields for what it has read to its end, once the digest of that
            is known or can't be; None: it has none, and ends with the others.
    """

    __slots__ = (
        "_broadcast",
        "_head",
        "_outlet",
        "_parked",
        "_visit",
        "_watch",
        "at",
        "is_at_edge",
        "trailer",
    )

    def __init__(
        self,
        broadcast: Broadcast,
        visit: Visit,
        outlet: Outlet,
        head: bytes,
        start: int = 0,
        trailer: Callable[[Generation], bytes] | None = None,
    ) -> None:
        self._outlet = outlet
        self._visit = visit
        self._watch: CutWatch | None = None  # which has this reader in turn: not beyond `follow`
        self._parked: trio.CancelScope | None = None
        self.is_at_edge = False
        self.trailer = trailer
        self._head = head
        self._enter(broadcast, start)

    def _enter(self, broadcast: Broadcast, start: int) -> None:
        """Follow `broadcast` from payload offset `start`."""
        self._broadcast = broadcast
        ring = broadcast.generation.ring
        if start < ring.base:
            self.at = Position(0, start)
            return
        index = ring.locate(start)
        if start > ring.start_of(index):  # inside a chunk: its rest becomes a frame of its own
            stop = ring.start_of(index + 1)
            rest = b"".join(ring.views(start, stop))
            self._head += b"%x\r\n%b\r\n" % (len(rest), rest)
            index, start = index + 1, stop
        self.at = Position(index, start)

    async def follow(self) -> Ending:
        """Send until the generation ends, or the one that took over from it.

        Returns:
            COMPLETE when the last-chunk was handed over; ABORTED or DELETED when the body was cut
            and the connection must be reset. While it is behind it may be cancelled instead, by
            `Outlet.cut`.
        Raises:
            trio.BrokenResourceError: the client is gone.
        Cancellation: leaves the edge; the body is cut and the connection must be reset.
        """
        with CutWatch(self._broadcast.generation, self._cut) as self._watch:
            try:
                return await self._follow()
            finally:
                self._watch = None

    async def _follow(self) -> Ending:
        raw = self._outlet.raw
        while True:
            await self._catch_up()
            broadcast = self._broadcast
            if self._is_done:
                return Ending.COMPLETE  # whole, whatever became of the object since
            if broadcast.generation.is_cut:
                return ending_of(broadcast.generation)
            if self._is_lost:
                return Ending.ABORTED
            if self.trailer is not None and broadcast.generation.ring.is_sealed:
                await self._send_end(self.trailer)
                continue
            if raw is None:
                await broadcast.grown.wait()
                continue
            if self.at.index > broadcast.edge_index:
                await trio.lowlevel.checkpoint()  # it began in what the pump is about to push
                continue
            with trio.CancelScope() as self._parked:
                broadcast.join(self, raw)
                try:
                    await self._outlet.watch()
                finally:
                    broadcast.leave(self)

    def _cut(self, ending: Ending) -> None:
        # Those at the edge are let go by the pump, a few at a time; those who have all are done.
        if not self.is_at_edge and not self._is_done:
            self._outlet.cut(ending)

    @property
    def _is_done(self) -> bool:
        ring = self._broadcast.generation.ring
        return ring.is_sealed and self.at.index == ring.frame_count

    @property
    def sent_bytes(self) -> int:
        """Payload handed over, to the last whole chunk; at the edge, up to where it came there."""
        return self.at.start

    @property
    def _is_lost(self) -> bool:
        """It has read what the upload that took over doesn't have."""
        claim = self._broadcast.claim
        return claim is not None and not self.at.skip and claim.forbids(self.sent_bytes)

    def _move_on(self) -> bool:
        """Go on in the upload that took over, if that has all that was sent; whether it did.

        Only between two frames: a chunk whose size was sent is finished with the bytes it had.
        """
        broadcast = self._broadcast
        claim, successor = broadcast.claim, broadcast.successor
        if claim is None or successor is None or self.at.skip or self._head:
            return False
        offset = self.sent_bytes
        if not claim.allows(offset):
            return False
        assert self._watch is not None
        self._watch.move(successor.generation)
        self._visit.move(successor.generation)
        self._enter(successor, offset)
        return True

    async def _catch_up(self) -> None:
        limit_bytes = FIRST_BYTES
        while not self._broadcast.generation.is_cut and not self._is_lost:
            if self._move_on():
                continue
            broadcast, at = self._broadcast, self.at
            ring = broadcast.generation.ring
            if at.start < ring.base:
                await self._send_from_disk()
                continue
            pieces: list[Piece] = [self._head] if self._head else []
            if self.trailer is not None and ring.is_sealed:
                edge = ring.chunk_count  # the end is its own
            elif self._outlet.raw is None:  # there is no pump to leave the newest frames to
                edge = ring.frame_count
            else:
                edge = broadcast.edge_index
            if broadcast.claim is not None:  # frame by frame: behind each it may move on
                edge = min(edge, at.index + 1)
            if at.index < edge:
                pieces += ring.pieces(at, edge, limit_bytes)
            if not pieces:
                return
            stops = ring.stops(at.index)  # now: the window may go on while this waits
            if limit_bytes == GATHER_BYTES:  # not the first
                await trio.lowlevel.checkpoint()
            at.advance(stops, self._without_head(await self._outlet.send_some(pieces)))
            limit_bytes = GATHER_BYTES

    async def _send_from_disk(self) -> None:
        """Send a part of what the window left behind, in frames that are made for it."""
        at, generation = self.at, self._broadcast.generation
        ring, source = generation.ring, generation.source
        assert source is not None
        await trio.lowlevel.checkpoint()
        if not at.skip:
            at.stop = min(ring.base, at.start + DISK_FRAME_BYTES)
        size = at.stop - at.start
        line = b"%x\r\n" % size
        done = at.skip - len(line)
        if done < size:
            offset = at.start + max(done, 0)
            part = await source.range(offset, at.stop - offset)
            before = self._head + line[at.skip :]
            if isinstance(part, FileRange):
                sent = await self._outlet.send_file(before, part)
            else:
                sent = await self._outlet.send_some([before, part] if before else [part])
        else:
            sent = await self._outlet.send_some([b"\r\n"[done - size :]])
        at.advance([at.stop], self._without_head(sent))
        if at.start >= ring.base:
            at.index = ring.locate(at.start)

    async def _send_end(self, trailer: Callable[[Generation], bytes]) -> None:
        """Behind all chunks: the last one, with what is known of the whole by then."""
        broadcast = self._broadcast
        while broadcast.awaits_digest:
            await broadcast.grown.wait()
        size_line, end = LAST_CHUNK[:-2], LAST_CHUNK[-2:]
        left = memoryview(size_line + trailer(broadcast.generation) + end)
        while left:
            left = left[await self._outlet.send_some([left]) :]
        self.at.index += 1

    def _without_head(self, sent_bytes: int) -> int:
        """What was sent of the framed stream."""
        rest = sent_bytes - len(self._head)
        self._head = self._head[sent_bytes:]
        return max(rest, 0)

    def fall_behind(self, index: int, sent_bytes: int) -> None:
        """The pump lets go of it, `sent_bytes` into frame `index`; its own task goes on there."""
        at, ring = self.at, self._broadcast.generation.ring
        at.index, at.start, at.skip = index, ring.start_of(index), 0
        ring.advance(at, sent_bytes)
        self.is_at_edge = False
        assert self._parked is not None
        self._parked.cancel()


def ending_of(generation: Generation) -> Ending:
    """How an answer ends that had to be cut because of what happened to its generation."""
    return Ending.DELETED if generation.state is State.DELETED else Ending.ABORTED


class CutWatch:
    """While it is entered: ends a reader's answer as soon as its generation is aborted or deleted.

    Args:
        generation: what is read.
        cut: called with how the answer ends.
    """

    __slots__ = ("_cut", "_generation")

    def __init__(self, generation: Generation, cut: Callable[[Ending], None]) -> None:
        self._generation = generation
        self._cut = cut

    def __enter__(self) -> CutWatch:
        self._generation.watch(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._generation.unwatch(self._look)

    def move(self, generation: Generation) -> None:
        """Look at another one from now on."""
        self._generation.unwatch(self._look)
        self._generation = generation
        generation.watch(self._look)

    def _look(self) -> None:
        if self._generation.is_cut:
            self._cut(ending_of(self._generation))
        else:
            self._generation.watch(self._look)  # it completed: it can still be deleted
