"""What a request leaves behind is freed as it ends, without a full collection of garbage."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.live import Broadcast, CutWatch, Reader, Upload, Visit
from chunkstore.objects import Abort, Claim, Generation
from chunkstore.policy import Policy
from chunkstore.server import Connection, Exchange, SocketTransport
from tests.live.rig import Stage

WATCHED = (Broadcast, Claim, Connection, CutWatch, Exchange, Generation, Reader, SocketTransport)
WATCHED += (Upload, Visit)


def alive() -> Counter[str]:
    """How many there are of each, garbage included."""
    found = [type(one) for one in gc.get_objects()]
    return Counter(kind.__name__ for kind in found if kind in WATCHED)


@pytest.fixture
def _no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.parametrize("end", ["complete", "abort", "delete", "leave", "retry"])
@pytest.mark.parametrize("small_edge", [0, 8])
async def test_nothing_waits_for_a_collection(end: str, small_edge: int) -> None:
    async with Stage.open(small_edge=small_edge) as stage:
        await wait_all_tasks_blocked()
        before = alive()
        await play(stage, end)
        await wait_all_tasks_blocked()
        assert dict(alive() - before) == {}


async def play(stage: Stage, end: str) -> None:
    """An upload, readers at its edge and one behind it, and an end; then its name goes."""
    policy = Policy(abort_grace_s=5) if end == "retry" else None
    upload = stage.begin("/live", policy) if policy else stage.begin("/live")
    stage.append(upload, 100)
    readers = [stage.connect("tcp") for _ in range(3)]
    for reader in readers:
        reader.ask("/live")
    await wait_all_tasks_blocked()
    stage.append(upload, 100)
    await wait_all_tasks_blocked()
    if end == "leave":
        for reader in readers:
            reader.leave()
        await wait_all_tasks_blocked()
    if end == "abort":
        upload.abort(Abort.WRITER_GONE)
    elif end == "retry":
        upload.abort(Abort.WRITER_GONE)
        upload = stage.begin("/live", policy)
        stage.append(upload, 200)
        await wait_all_tasks_blocked()
        upload.commit()
    elif end != "delete":
        upload.commit()
    await wait_all_tasks_blocked()
    stage.catalog.delete("/live")
    await wait_all_tasks_blocked()
    for reader in readers:
        reader.leave()
    await wait_all_tasks_blocked()
    await trio.lowlevel.checkpoint()
