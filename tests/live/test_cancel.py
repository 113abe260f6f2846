"""A connection cancelled at its first await, at its second, ... until none is left."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from itertools import count

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.objects import State
from chunkstore.server import SocketTransport
from tests.live.rig import Reader, Stage, framed_from, parse, payload


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task has run for the n-th time, wherever it then waits."""

    def __init__(self, step: int) -> None:
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None
        self.steps_left = step

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        if task is self.task:
            self.steps_left -= 1
            if not self.steps_left:
                self.scope.cancel()

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Be the task that is counted."""
        self.task = trio.lowlevel.current_task()
        with self.scope:
            await work()
        self.task = None


def connect(stage: Stage, cancel: CancelAt) -> Reader:
    """A connection whose server side is cancelled."""
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    transport = SocketTransport(theirs, "unix")
    stage.nursery.start_soon(cancel.run, lambda: stage.origin.server.serve(transport))
    reader = Reader(ours)
    stage.readers.append(reader)
    stage.nursery.start_soon(reader.run)
    return reader


async def follow(stage: Stage, cancel: CancelAt) -> None:
    """Wait for an object, follow it, fall behind, come back, and ask for another one."""
    reader = connect(stage, cancel)
    reader.ask("/live", "Prefer: wait=3")
    await wait_all_tasks_blocked()
    upload = stage.begin("/live")
    for size in (100, 200, 60_000):
        stage.append(upload, size)
        await wait_all_tasks_blocked()
    reader.pause()
    for _ in range(3):
        stage.append(upload, 100_000)
        await wait_all_tasks_blocked()
    reader.resume()
    await wait_all_tasks_blocked()
    stage.append(upload, 300)
    upload.commit()
    await wait_all_tasks_blocked()
    ring = upload.generation.ring
    everything = framed_from(payload(0, ring.size_bytes), ring.ends, 0)
    answer = parse(bytes(reader.received))
    assert everything.startswith(answer.body)
    if answer.is_whole:
        assert answer.body == everything
    else:
        assert reader.ended
        return
    if not reader.ended:
        reader.received.clear()
        reader.ask("/live")
        await wait_all_tasks_blocked()
        answer = parse(bytes(reader.received))
        assert payload(0, ring.size_bytes).startswith(answer.body)
        assert answer.is_whole or reader.ended


async def upload(stage: Stage, cancel: CancelAt) -> None:
    """PUT in pieces, under the eyes of a reader; a part waits for its 20 ms."""
    writer = connect(stage, cancel)
    data = payload(0, 1000)
    head = b"PUT /live HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
    pieces = [
        head + b"Expect: 100-continue\r\n\r\n",
        b"64\r\n" + data[:100] + b"\r\n",
        b"384\r\n" + data[100:500],
        data[500:1000] + b"\r\n0\r\n\r\n",
    ]
    reader = stage.connect("unix")
    for piece in pieces:
        if writer.ended:
            break
        writer.send(piece)
        await wait_all_tasks_blocked()
        if piece is pieces[1]:
            reader.ask("/live")
    await writer.until(200)
    await wait_all_tasks_blocked()
    entry = stage.catalog.namespace.entry("/live")
    got = parse(bytes(reader.received))
    if entry is None:
        assert not (got.status == 200 and got.is_whole)
    else:
        assert entry.open is None  # a writer that is gone leaves nothing open
        assert entry.complete is not None
        assert b"".join(entry.complete.ring.views(0, 1000)) == data
        assert got.is_whole
    aborted = sum(stage.origin.metrics.aborts.values())
    assert aborted == 0 or entry is None


async def read_large(stage: Stage, cancel: CancelAt) -> None:
    """GET a complete object that takes many sends; it goes while it is read."""
    generation = stage.store("/big", 400_000)
    reader = connect(stage, cancel)
    reader.pause()
    reader.ask("/big")
    await wait_all_tasks_blocked()
    stage.store("/big", 10)
    assert generation.state is State.GONE
    reader.resume()
    await wait_all_tasks_blocked()
    answer = parse(bytes(reader.received))
    assert answer.is_whole or reader.ended
    assert payload(0, 400_000).startswith(answer.body)


@pytest.mark.parametrize("script", [follow, upload, read_large])
def test_cancelled_at_every_await(script: Callable[[Stage, CancelAt], Awaitable[None]]) -> None:
    is_over = False

    async def main(step: int) -> None:
        nonlocal is_over
        cancel = CancelAt(step)
        trio.lowlevel.add_instrument(cancel)
        async with Stage.open(hold_cap_s=3) as stage:
            await script(stage, cancel)
            is_over = cancel.steps_left > 0

    for step in count(1):
        trio.run(main, step)
        if is_over:
            assert step >= 5
            break
