"""One open generation and those who follow it at its live edge.

The wake is what costs in a fan-out, not the copy. So readers at the edge are not woken at all: one
task, the pump, waits for the writer and sends each new run of frames to all of them with raw
non-blocking sends. Whom it can't send everything goes on in a task of its own and comes back.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from chunkstore.objects import Generation
from chunkstore.ring import Position

if TYPE_CHECKING:
    from chunkstore.live.reader import Reader

__all__ = ["Broadcast"]

SENDS_PER_YIELD = 64
"""The pump lets others run after so many sends: half a millisecond of work."""
PUSH_BYTES = 256 * 1024
"""Most payload of one push: bounds the frame that is made for it."""


class Broadcast:
    """The async face of one open generation.

    Args:
        generation: the open generation.
        pumps: where the pump runs while there are readers at the edge.
    """

    __slots__ = ("_edge", "_is_pumping", "_pumps", "_pushed", "generation", "grown")

    def __init__(self, generation: Generation, pumps: trio.Nursery) -> None:
        self.generation = generation
        self.grown = trio.Event()
        """Set at the next publication or change of state, and then replaced."""
        self._pumps = pumps
        self._edge: dict[Reader, socket.socket] = {}
        self._is_pumping = False
        self._pushed = 0  # frames before this index have been sent to all at the edge

    def wake(self) -> None:
        """Called after publishing: whoever waits looks at the ring again until at the edge."""
        grown, self.grown = self.grown, trio.Event()
        grown.set()

    @property
    def edge_index(self) -> int:
        """The frame index at which a reader is at the edge.

        While a pump runs that is where the pump is, not the end of the ring: what lies between is
        about to be pushed, and a reader that joins here gets it exactly once.
        """
        return self._pushed if self._is_pumping else self.generation.ring.frame_count

    def join(self, reader: Reader, raw: socket.socket) -> None:
        """Hand a reader that is exactly at the edge over to the pump (no await since it looked)."""
        assert reader.at.index == self.edge_index
        assert not reader.at.skip
        if not self._is_pumping:
            self._pushed = self.edge_index
            self._is_pumping = True
            self._pumps.start_soon(self._pump)
        self._edge[reader] = raw
        reader.is_at_edge = True

    def leave(self, reader: Reader) -> None:
        """Take a reader back whose connection is closing; harmless if the pump let it go."""
        if reader.is_at_edge:
            reader.is_at_edge = False
            reader.at.index = self._pushed
            self._edge.pop(reader, None)

    async def _pump(self) -> None:
        ring = self.generation.ring
        try:
            while self._edge:
                if self.generation.is_cut or (ring.is_sealed and self._pushed == ring.frame_count):
                    await self._release()
                elif self._pushed < ring.frame_count:
                    await self._push()
                else:
                    await self.grown.wait()
        finally:
            self._is_pumping = False

    async def _push(self) -> None:
        ring = self.generation.ring
        first = self._pushed
        at = Position(first)
        frame = b"".join(ring.pieces(at, ring.frame_count, PUSH_BYTES))
        size = len(frame)
        ring.advance(at, size)
        self._pushed = at.index
        # Who joins while this round yields has everything up to `_pushed`: it waits for the next.
        readers, self._edge = self._edge, {}
        for count, (reader, raw) in enumerate(readers.items(), 1):
            if reader.is_at_edge:
                try:
                    sent = raw.send(frame)
                except (BlockingIOError, InterruptedError):
                    sent = 0
                except OSError:
                    sent = 0  # its own task meets the same error, and reports it
                if sent == size:
                    self._edge[reader] = raw
                else:
                    reader.fall_behind(first, sent)
            if not count % SENDS_PER_YIELD:
                await trio.lowlevel.checkpoint()

    async def _release(self) -> None:
        """Wake all readers at the edge: there is nothing more to push."""
        readers, self._edge = self._edge, {}
        for count, reader in enumerate(readers, 1):
            if reader.is_at_edge:
                reader.fall_behind(self._pushed, 0)
            if not count % SENDS_PER_YIELD:
                await trio.lowlevel.checkpoint()
