"""One open generation and those who follow it at its live edge.

The wake is what costs in a fan-out, not the copy. So readers at the edge are not woken at all: the
pump sends each new run of frames to all of them with raw non-blocking sends. Whom it can't send
everything goes on in a task of its own and comes back.
"""

from __future__ import annotations

import math
import socket
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import trio

from chunkstore.objects import Claim, Generation
from chunkstore.ring import Position

if TYPE_CHECKING:
    from chunkstore.live.pump import Pump
    from chunkstore.live.reader import Reader
    from chunkstore.live.spool import Spool

__all__ = ["Broadcast"]

SMALL_EDGE = 8
"""So many readers are sent to at once: it takes no longer than to wake the pump for them."""
PUSH_BYTES = 256 * 1024
"""Most payload of one push: bounds the frame that is made for it."""
_Members: TypeAlias = "tuple[list[Reader], list[socket.socket]]"


class Broadcast:
    """The async face of one open generation.

    Args:
        generation: the open generation.
        pump: pushes to the readers at the edge.

    Attributes:
        grown: set at the next publication or change of state, and then replaced.
        last_byte_at_s: when bytes came last, by Trio's clock; None: none so far.
        longest_gap_s: longest time between two arrivals of bytes.
        claim: what its readers may expect of the next upload of its path, once it is superseded.
        successor: that upload, once it has begun.
        spool: its way to disk; None: it has none.
        predecessors: superseded ones that have this one for their successor.
    """

    __slots__ = (
        "_arrived_s",
        "_awaited",
        "_edge",
        "_is_due",
        "_members",
        "_pump",
        "_pushed",
        "_round",
        "_serials",
        "_trailed",
        "_waiting_count",
        "claim",
        "generation",
        "grown",
        "last_byte_at_s",
        "longest_gap_s",
        "predecessors",
        "spool",
        "successor",
    )

    def __init__(self, generation: Generation, pump: Pump) -> None:
        self.generation = generation
        self.grown = trio.Event()
        self.last_byte_at_s: float | None = None
        self.longest_gap_s = 0.0
        self.claim: Claim | None = None
        self.spool: Spool | None = None
        self.successor: Broadcast | None = None
        self.predecessors: tuple[Broadcast, ...] = ()
        self._pump = pump
        # Who waits for a byte: its offset, a serial that keeps events from being compared, the
        # event. It is set once nobody waits for it any more.
        self._awaited: list[tuple[int, int, trio.Event]] = []
        self._serials = count()
        self._waiting_count = 0
        self._is_due = False
        self._edge: dict[Reader, socket.socket] = {}
        self._trailed: set[Reader] = set()  # those at the edge whose end is one of their own
        # What the edge was when the last round began; None once that has changed.
        self._members: _Members | None = None
        self._pushed = 0  # frames before this index were, or are being, sent to all at the edge
        self._round: _Round | None = None  # the one under way
        self._arrived_s = math.inf  # when the oldest bytes came that no round has taken

    def arrived(self, now_s: float) -> None:
        """Bytes came: keep account of the gaps between them."""
        if self.last_byte_at_s is not None:
            self.longest_gap_s = max(self.longest_gap_s, now_s - self.last_byte_at_s)
        self.last_byte_at_s = now_s

    @property
    def has_digest(self) -> bool:
        """The digest of the whole will be known a little behind its end."""
        return self.spool is not None and self.spool.has_digest

    @property
    def awaits_digest(self) -> bool:
        """It has ended, and its digest is due."""
        return self.spool is not None and self.spool.awaits_digest

    @property
    def edge_count(self) -> int:
        """Readers at the live edge."""
        return len(self._edge)

    def wake(self, arrived_s: float) -> None:
        """Called after publishing: whoever waits looks at the ring again until at the edge.

        Args:
            arrived_s: Trio's time when the first of the new bytes came.
        """
        self._arrived_s = min(self._arrived_s, arrived_s)
        if self._edge and not self._is_due:
            if len(self._edge) > SMALL_EDGE:
                self._is_due = True
                self._pump.add(self)
            elif not self._push_one():
                while not self.push(SMALL_EDGE):
                    pass
        grown, self.grown = self.grown, trio.Event()
        grown.set()
        self.release(self.generation.ring.end if self.generation.is_open else math.inf)

    async def reached(self, offset: int) -> None:
        """Wait until byte `offset` exists, the generation is no longer open, or `release`.

        Others' bytes wake nobody: a hundred may wait for what is far away.

        Cancellation: nothing remains.
        """
        event = trio.Event()
        heappush(self._awaited, (offset, next(self._serials), event))
        self._waiting_count += 1
        try:
            await event.wait()
        finally:
            event.set()
            self._waiting_count -= 1
            if len(self._awaited) > 2 * self._waiting_count:  # not each time: a herd may leave
                self._awaited = [one for one in self._awaited if not one[2].is_set()]
                heapify(self._awaited)

    def release(self, end: float = math.inf) -> None:
        """Let those go on who wait for a byte before the absolute offset `end`."""
        while self._awaited and self._awaited[0][0] < end:
            heappop(self._awaited)[2].set()

    @property
    def edge_index(self) -> int:
        """The frame index at which a reader is at the edge.

        While readers are there that is how far the pump is, not the end of the ring: what lies
        between is about to be pushed, and a reader that joins here gets it exactly once.
        """
        return self._pushed if self._edge else self.generation.ring.frame_count

    @property
    def kept_from(self) -> int:
        """Absolute payload offset from which on the pump still needs the ring."""
        ring = self.generation.ring
        if not self._edge and self._round is None:
            return ring.end
        return ring.start_of(self._pushed if self._round is None else self._round.first)

    @property
    def is_decided(self) -> bool:
        """It is superseded, and it is known who of its readers can go on in its successor."""
        return self.claim is not None and self.claim.is_decided

    def join(self, reader: Reader, raw: socket.socket) -> None:
        """Hand a reader that is exactly at the edge to the pump (no await since it looked)."""
        self._pushed = self.edge_index
        if not self._edge:
            self._arrived_s = math.inf  # what nobody waited for
        assert reader.at.index == self._pushed
        assert not reader.at.skip
        self._edge[reader] = raw
        if reader.trailer is not None:
            self._trailed.add(reader)
        self._members = None
        reader.is_at_edge = True

    def leave(self, reader: Reader) -> None:
        """Take a reader back whose connection is closing; harmless if the pump let it go."""
        if reader.is_at_edge:
            reader.is_at_edge = False
            reader.at.index = self._pushed
            reader.at.start = self.generation.ring.start_of(self._pushed)
            del self._edge[reader]
            self._trailed.discard(reader)
            self._members = None

    def _push_one(self) -> bool:
        """Send the one new frame to all at the edge; False if it isn't one, nothing is done then.

        As `push`, in the fewest steps: after a pause each of them is cold, and this is what stands
        between a lone reader and its chunk. The frame is not joined, its pieces are gathered.
        """
        ring, index = self.generation.ring, self._pushed
        if not self.generation.is_open or index + 1 != ring.frame_count:
            return False
        frame = ring.frame(index)
        size = sum(map(len, frame))
        self._pushed = index + 1
        arrived_s, self._arrived_s = self._arrived_s, math.inf
        for reader, raw in tuple(self._edge.items()):
            try:
                sent = raw.sendmsg(frame)
            except OSError:
                sent = 0  # as in `push`
            if sent != size:
                self._let_go(reader, index, sent)
        self._pump.sent(arrived_s, len(self._edge))
        return True

    def _let_go(self, reader: Reader, index: int, sent_bytes: int) -> None:
        del self._edge[reader]
        self._trailed.discard(reader)
        self._members = None
        reader.fall_behind(index, sent_bytes)

    def push(self, limit: int) -> bool:
        """Send what is new to at most `limit` readers at the edge, without waiting.

        Returns:
            False if there is more to push; True, and it must be added to the pump anew.
        """
        if self._round is None:
            self._round = self._next_round()
        if self._round is None:
            self._is_due = False
            return True
        turn = self._round
        (readers, sockets), data, size = turn.members, turn.data, len(turn.data)
        # Thousands of readers are cold each time: of one that stayed, only its socket is touched.
        all_stayed = turn.members is self._members
        start, turn.done_count = turn.done_count, min(turn.done_count + limit, len(sockets))
        missed_count = 0
        for index, raw in enumerate(sockets[start : turn.done_count], start):
            if not (all_stayed or readers[index].is_at_edge):
                missed_count += 1
                continue  # it left since the round began
            try:
                sent = raw.send(data) if data else 0
            except OSError:
                sent = 0  # full, or broken: its own task meets the same and knows what to do
            if sent != size or not data:
                missed_count += 1
                self._let_go(readers[index], turn.first, sent)
        if data:
            self._pump.sent(turn.arrived_s, turn.done_count - start - missed_count)
        if turn.done_count == len(sockets):
            self._round = None
        return False

    def _next_round(self) -> _Round | None:
        """What is new, for all at the edge; None if there is nothing."""
        ring, first = self.generation.ring, self._pushed
        if ring.is_sealed:  # what is pushed from now on ends with the last-chunk of all others
            for reader in tuple(self._trailed):
                self._let_go(reader, first, 0)
        has_all = first == ring.frame_count
        has_ended = self.generation.is_cut or (has_all and (ring.is_sealed or self.is_decided))
        if not self._edge or (has_all and not has_ended):
            return None
        data = b""
        if not has_ended:
            at = Position(first, ring.start_of(first))
            data = b"".join(ring.pieces(at, ring.frame_count, PUSH_BYTES))
            ring.advance(at, len(data))
            self._pushed = at.index
        arrived_s = self._arrived_s
        if self._pushed == ring.frame_count:
            self._arrived_s = math.inf
        # Who joins while the round is under way has all up to `_pushed`: it isn't part of it.
        if self._members is None:
            self._members = (list(self._edge), list(self._edge.values()))
        return _Round(self._members, data, first, arrived_s)


class _Round:
    """A push to all who were at the edge when it began.

    It is a copy for each of them, in the kernel. Sending pages of a file instead (`sendfile`) saves
    that, but finding the pages costs as much up to 32 KiB; from 64 KiB on it would save a fifth.

    Attributes:
        members: the readers, and in the same order their sockets.
        data: what is sent, one run of the framed stream; empty: they are let go, as it has ended.
        first: index of its first frame.
        arrived_s: when the oldest bytes in it came.
        done_count: how many of them had their turn.
    """

    __slots__ = ("arrived_s", "data", "done_count", "first", "members")

    def __init__(self, members: _Members, data: bytes, first: int, arrived_s: float) -> None:
        self.members = members
        self.data = data
        self.first = first
        self.arrived_s = arrived_s
        self.done_count = 0
