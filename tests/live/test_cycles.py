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
from tests.live.rig import Kind, Stage

WATCHED: frozenset[type] = frozenset(
    {Broadcast, Claim, Connection, CutWatch, Exchange, Generation, Reader, SocketTransport}
) | {Upload, Visit}


def alive() -> Counter[str]:
    """How many there are of each, garbage included."""
    found = [type(one) for one in gc.get_objects()]
    return Counter(kind.__name__ for kind in found if kind in WATCHED)


@pytest.fixture
def _no_collections() -> Iterator[None]:
    """Only what a test makes is looked at: all that is there before is set aside."""
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
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


REQUESTS = [
    "GET /done HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /done HTTP/1.1\r\nHost: h\r\nRange: bytes=5-\r\n\r\n",
    "HEAD /nothing HTTP/1.1\r\nHost: h\r\n\r\n",
    "LIST / HTTP/1.1\r\nHost: h\r\n\r\n",
    "PUT /new HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    "PUT /new HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "PUT /new HTTP/1.1\r\nHost: h\r\nContent-Range: bytes 0-1/2\r\n\r\n",
    "DELETE /nothing HTTP/1.1\r\nHost: h\r\n\r\n",
    "no request\r\n\r\n",
    "",
]


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.parametrize("kind", ["tcp", "unix", "stream"])
@pytest.mark.parametrize("request_text", REQUESTS)
async def test_no_request_waits_for_one(kind: Kind, request_text: str) -> None:
    async with Stage.open() as stage:
        stage.store("/done", 1_000_000)
        await wait_all_tasks_blocked()
        before = alive()
        client = stage.connect(kind)
        client.send(request_text.encode())
        await wait_all_tasks_blocked()
        client.leave()
        await wait_all_tasks_blocked()
        stage.catalog.delete("/new")
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
