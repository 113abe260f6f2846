"""The async face of ring and namespace: what waits, wakes and pushes.

    outlet.py      what a reader's connection must offer (the server's transports do)
    broadcast.py   one open generation, and the readers at its live edge
    pump.py        the one task that pushes to all of them
    reader.py      one GET that follows an open generation: catches up, joins the edge, falls behind
    upload.py      the writer's side: takes bytes in and shows them
    takeover.py    readers of an upload that broke off go on in its retry
    holds.py       requests that wait for something to appear
    spool.py       one upload's way to the store behind it
    shelf.py       the disk behind it: what goes there, and what comes back
    catalog.py     namespace + store + broadcasts: who reads, who waits, what goes

A reader is always in one of two places. *Behind*, its own task sends it views of the ring. *At the
edge*, it sleeps, and the pump sends it each new frame with one non-blocking call; the frame is made
once for all. Only the pump moves a reader from the edge back to its own task, so no byte is sent
twice or left out.
"""

from __future__ import annotations

from chunkstore.live.broadcast import Broadcast
from chunkstore.live.catalog import Catalog, Visit
from chunkstore.live.outlet import Outlet, Piece
from chunkstore.live.pump import Pump
from chunkstore.live.reader import CutWatch, Reader
from chunkstore.live.shelf import Shelf
from chunkstore.live.upload import Run, Upload

__all__ = [
    "Broadcast",
    "Catalog",
    "CutWatch",
    "Outlet",
    "Piece",
    "Pump",
    "Reader",
    "Run",
    "Shelf",
    "Upload",
    "Visit",
]
