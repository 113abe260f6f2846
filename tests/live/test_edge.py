"""The moments that chance seldom brings: the pump is driven by hand, a step at a time."""

from __future__ import annotations

import gc
import socket
from collections.abc import Sequence
from typing import NoReturn

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.live import Piece, Visit
from chunkstore.live import Reader as LiveReader
from chunkstore.metrics import Ending
from chunkstore.objects import Abort, FileRange
from chunkstore.ring import Ring
from tests.live.rig import GUARD_S, Kind, Reader, Stage, framed_from, parse, payload

KINDS: list[Kind] = ["unix", "tcp", "stream"]
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Sink:
    """An outlet that takes all at once, without letting anybody else run."""

    def __init__(self, raw: socket.socket | None = None) -> None:
        self.raw = raw
        self.received = b""

    async def send_some(self, pieces: Sequence[Piece]) -> int:
        """Take it."""
        data = b"".join(pieces)
        if self.raw is None:
            self.received += data
            return len(data)
        return self.raw.send(data)

    async def send_file(self, head: Piece, part: FileRange) -> int:
        """Nothing lies in a file."""
        raise AssertionError(part)

    async def watch(self) -> NoReturn:
        """Nobody leaves."""
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    def cut(self, ending: Ending) -> None:
        """Nobody is cut."""
        raise AssertionError(ending)


def whole(reader: Reader, size: int, ends: list[int]) -> None:
    """The reader has the whole framed stream, once."""
    answer = parse(bytes(reader.received))
    assert answer.is_whole
    assert answer.body == framed_from(payload(0, size), ends, 0)
    assert not answer.rest


async def test_a_reader_without_a_raw_socket_does_not_wait_for_the_pump() -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        await stage.follow("/live", "unix")
        broadcast = stage.catalog.broadcast(upload.generation)
        stage.append(upload, 20)
        upload.commit()
        sink = Sink()
        with trio.fail_after(GUARD_S):  # the pump hasn't run: its edge lies behind the end
            ending = await LiveReader(
                broadcast, Visit(stage.catalog, upload.generation), sink, HEAD
            ).follow()
        assert ending is Ending.COMPLETE
        assert parse(sink.received).body == framed_from(payload(0, 30), [10, 30], 0)


@pytest.mark.parametrize("start", [10, 15, 35])
async def test_a_reader_that_begins_in_what_is_about_to_be_pushed(start: int) -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        await stage.follow("/live", "unix")
        broadcast = stage.catalog.broadcast(upload.generation)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            for size in (20, 30):
                stage.append(upload, size)
            reader = LiveReader(
                broadcast, Visit(stage.catalog, upload.generation), Sink(theirs), HEAD, start
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader.follow)
                await wait_all_tasks_blocked()
                stage.append(upload, 40)
                await wait_all_tasks_blocked()
                upload.commit()
                await wait_all_tasks_blocked()
            answer = parse(ours.recv(10_000))
            assert answer.is_whole
            assert answer.body == framed_from(payload(0, 100), [10, 30, 60, 100], start)


async def test_whoever_has_the_last_chunk_is_done_whatever_comes_next() -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        reader = await stage.follow("/live")
        broadcast = stage.catalog.broadcast(upload.generation)
        upload.commit()
        broadcast.push(10)  # the last-chunk
        broadcast.push(10)  # the pump lets go of it; its own task hasn't run
        stage.catalog.delete("/live")
        assert (await reader.answer()).is_whole
        reader.ask("/live")
        assert (await reader.answer()).status == 404
        assert stage.origin.metrics.endings["complete"] == 2


async def test_joining_and_leaving_in_the_middle_of_a_round() -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        readers = [await stage.follow("/live", kind) for kind in ("unix", "tcp", "unix", "tcp")]
        broadcast = stage.catalog.broadcast(upload.generation)
        waiting = stage.connect("unix")
        await wait_all_tasks_blocked()
        stage.append(upload, 20)
        assert not broadcast.push(2)  # two have it, two haven't
        connections = list(stage.origin.server.connections)
        waiting.ask("/live")
        for reader in readers[1:3]:
            reader.leave()
        stage.append(upload, 30)
        await wait_all_tasks_blocked()
        assert len(stage.origin.server.connections) == len(connections) - 2
        upload.commit()
        await wait_all_tasks_blocked()
        for reader in (readers[0], readers[3], waiting):
            whole(reader, 60, [10, 30, 60])


async def test_all_leave_in_the_middle_of_a_round_and_another_joins() -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        readers = [await stage.follow("/live") for _ in range(3)]
        broadcast = stage.catalog.broadcast(upload.generation)
        stage.append(upload, 20)
        assert not broadcast.push(1)
        for reader in readers:
            reader.leave()
        late = stage.connect()
        late.ask("/live")
        await wait_all_tasks_blocked()
        stage.append(upload, 30)
        upload.commit()
        await wait_all_tasks_blocked()
        whole(late, 60, [10, 30, 60])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_get_that_arrives_as_the_object_completes(kind: Kind) -> None:
    async with Stage.open() as stage:
        for turn in range(10):
            upload = stage.begin(f"/{turn}")
            stage.append(upload, 10)
            await wait_all_tasks_blocked()
            readers = [stage.connect(kind) for _ in range(4)]
            await wait_all_tasks_blocked()
            readers[0].ask(f"/{turn}")
            for _ in range(turn):
                await trio.lowlevel.checkpoint()
            readers[1].ask(f"/{turn}")
            stage.append(upload, 20)
            readers[2].ask(f"/{turn}")
            upload.commit()
            readers[3].ask(f"/{turn}")
            for reader in readers:
                answer = await reader.answer()
                assert answer.is_whole
                expected = payload(0, 30)
                assert answer.body == (
                    framed_from(expected, [10, 30], 0) if answer.is_chunked else expected
                )


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_what_is_pipelined_at_the_edge_is_kept_within_a_bound_and_answered(
    kind: Kind,
) -> None:
    async with Stage.open() as stage:
        stage.store("/done", 10)
        upload = stage.begin("/live")
        stage.append(upload, 10)
        reader = await stage.follow("/live", kind)
        sent = b""
        request = b"GET /done HTTP/1.1\r\nHost: h\r\nX: " + bytes([97]) * 1000 + b"\r\n\r\n"
        while len(sent) < 300_000:
            try:
                count = reader.send(request[len(sent) % len(request) :])
            except BlockingIOError:
                break
            sent += b"x" * count
            await wait_all_tasks_blocked()
        assert len(sent) > 64 * 1024
        (connection,) = stage.origin.server.connections
        assert connection.protocol.buffered_bytes == 64 * 1024
        stage.append(upload, 20)  # it is still at the edge
        upload.commit()
        assert (await reader.answer()).body == framed_from(payload(0, 30), [10, 30], 0)
        for _ in range(len(sent) // len(request)):
            answer = await reader.answer()
            assert (answer.status, answer.body) == (200, payload(0, 10))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["abort", "delete", "displace"])
async def test_a_reader_that_takes_nothing_is_cut_as_soon_as_the_others(
    kind: Kind, how: str
) -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        reader = await stage.follow("/live", kind, send_buffer=4096)
        reader.pause()
        for _ in range(40):
            stage.append(upload, 200_000)
            await wait_all_tasks_blocked()
        assert upload.generation.readers == 1
        if how == "abort":
            upload.abort(Abort.WRITER_GONE)
        elif how == "delete":
            stage.catalog.delete("/live")
        else:
            stage.begin("/live")
        await wait_all_tasks_blocked()
        assert upload.generation.readers == 0
        assert not stage.origin.server.connections
        reader.resume()
        answer = await reader.answer()
        assert not answer.is_whole
        assert reader.ended == ("reset" if kind == "tcp" else "eof")


async def test_a_reader_that_never_reads_does_not_hold_up_the_writer_and_stalls_out() -> None:
    async with Stage.open(reader_stall_s=0.3) as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        stalled = await stage.follow("/live", "tcp", send_buffer=4096)
        stalled.pause()
        other = await stage.follow("/live", "tcp")
        while stage.origin.server.metrics.endings["stalled"] == 0:
            with trio.fail_after(GUARD_S):
                stage.append(upload, 100_000)
                await other.until(upload.generation.ring.end)
        assert len(stage.origin.server.connections) == 1
        upload.commit()
        assert (await other.answer()).is_whole
        stalled.resume()
        assert not (await stalled.answer()).is_whole


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_who_leaves_at_the_edge_is_gone_at_once(kind: Kind) -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        readers = [await stage.follow("/live", kind) for _ in range(3)]
        broadcast = stage.catalog.broadcast(upload.generation)
        assert len(broadcast._edge) == upload.generation.readers == 3
        for left, reader in enumerate(readers, 1):
            reader.leave()
            await wait_all_tasks_blocked()
            assert len(broadcast._edge) == upload.generation.readers == 3 - left
        assert stage.origin.metrics.endings["client_gone"] == 3
        assert upload.generation.readers_peak == 3


async def test_the_pump_keeps_nothing_of_what_it_pushed() -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 10)
        readers = [await stage.follow("/live", "unix") for _ in range(3)]
        stage.append(upload, 20)
        await wait_all_tasks_blocked()
        stage.catalog.delete("/live")
        for reader in readers:
            assert not (await reader.answer()).is_whole
        ring = id(upload.generation.ring)
        del upload
        await wait_all_tasks_blocked()
        gc.collect()
        assert ring not in [id(one) for one in gc.get_objects() if isinstance(one, Ring)]


class StepCount(trio.abc.Instrument):
    """Counts how often the tasks that run one function get to run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count it."""
        self.count += self._name in task.name


async def test_who_waits_for_a_far_byte_is_not_woken_by_nearer_ones() -> None:
    async with Stage.open() as stage, trio.open_nursery() as nursery:
        catalog, upload = stage.catalog, stage.begin("/live")
        broadcast = catalog.broadcast(upload.generation)
        for offset in (1000, 25, 1000, 20, 29, 1000):
            nursery.start_soon(catalog.holds.wait_grown, broadcast, offset, GUARD_S)
        await wait_all_tasks_blocked()
        steps = StepCount("wait_grown")
        trio.lowlevel.add_instrument(steps)
        for end, left in ((10, 6), (20, 6), (21, 5), (30, 3), (1000, 3), (1001, 0)):
            stage.append(upload, end - upload.generation.ring.end)
            await wait_all_tasks_blocked()
            assert catalog.holds.waiter_count == left
            assert steps.count == 6 - left
        assert catalog.metrics.holds_met == 6


@pytest.mark.parametrize("how", ["commit", "abort", "delete", "displace", "drain"])
async def test_who_waits_for_a_far_byte_is_let_go_when_it_cannot_come(how: str) -> None:
    async with Stage.open() as stage, trio.open_nursery() as nursery:
        catalog, upload = stage.catalog, stage.begin("/live")
        stage.append(upload, 10)
        broadcast = catalog.broadcast(upload.generation)
        for offset in (10, 1000, 1 << 62):
            nursery.start_soon(catalog.holds.wait_grown, broadcast, offset, GUARD_S)
        await wait_all_tasks_blocked()
        if how == "commit":
            upload.commit()
        elif how == "abort":
            upload.abort(Abort.WRITER_GONE)
        elif how == "delete":
            catalog.delete("/live")
        elif how == "displace":
            stage.begin("/live")
        else:
            catalog.drain()
        await wait_all_tasks_blocked()
        assert catalog.holds.waiter_count == 0
        assert upload.generation.is_open == (how == "drain")


async def test_who_no_longer_waits_for_a_far_byte_is_forgotten() -> None:
    async with Stage.open() as stage, trio.open_nursery() as nursery:
        catalog, upload = stage.catalog, stage.begin("/live")
        broadcast = catalog.broadcast(upload.generation)
        nursery.start_soon(catalog.holds.wait_grown, broadcast, 500, GUARD_S)
        for offset in range(100, 1000, 9):
            await catalog.holds.wait_grown(
                catalog.broadcast(upload.generation), offset, 0
            )  # times out at once
            assert len(broadcast._awaited) <= 2
        async with trio.open_nursery() as leaving:
            for offset in range(100, 1000, 9):
                leaving.start_soon(catalog.holds.wait_grown, broadcast, offset, GUARD_S)
            await wait_all_tasks_blocked()
            assert len(broadcast._awaited) > 100
            leaving.cancel_scope.cancel()
        assert len(broadcast._awaited) <= 2
        stage.append(upload, 500)
        await wait_all_tasks_blocked()
        assert catalog.holds.waiter_count == 1
        stage.append(upload, 1)
        await wait_all_tasks_blocked()
        assert catalog.holds.waiter_count == len(broadcast._awaited) == 0
