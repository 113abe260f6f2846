"""Any schedule of a writer and its readers, over real sockets: every ending is truthful."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from chunkstore.live import Upload
from chunkstore.objects import Abort, State
from tests.examples import examples
from tests.live.rig import Kind, Reader, Stage, framed_from, payload

SIZES = st.integers(1, 30) | st.integers(1, 40_000) | st.sampled_from([65_536, 200_000])
STREAMED = 2**53 - 1
"""RFC 8673: a range to here follows the object from a byte offset."""


@dataclass
class Plan:
    """One reader: over what it comes, where it begins, what it asks for behind the stream."""

    kind: Kind
    buffer: int
    is_late: bool  # begins in the newest chunk
    is_pipelining: bool


PLANS = st.builds(
    Plan,
    st.sampled_from(["unix", "unix", "tcp", "stream"]),
    st.sampled_from([1, 1, 20_000, 500_000]),
    st.booleans(),
    st.booleans(),
)
WHICH = st.integers(0, 9)
STEPS = st.one_of(
    st.tuples(st.just("append"), SIZES),
    st.tuples(st.just("append"), SIZES),
    st.tuples(st.just("part"), SIZES),
    st.tuples(st.just("publish"), st.just(0)),
    st.tuples(st.just("join"), st.just(0)),
    st.tuples(st.just("pause"), WHICH),
    st.tuples(st.just("resume"), WHICH),
    st.tuples(st.just("leave"), WHICH),
    st.tuples(st.just("settle"), st.just(0)),
    st.tuples(st.just("yield"), st.integers(1, 4)),
)
ENDS = st.sampled_from(["complete", "complete", "abort", "displace", "delete", "deleted after"])


class Play:
    """One schedule, played."""

    def __init__(self, stage: Stage, plans: list[Plan]) -> None:
        self.stage = stage
        self.upload: Upload = stage.begin("/live")
        self.plans = list(plans)
        self.idle = [stage.connect(plan.kind, send_buffer=plan.buffer) for plan in plans]
        self.joined: list[tuple[Reader, Plan, int]] = []

    async def step(self, name: str, value: int) -> None:
        """Play one step; most let nobody else run, so that they meet in one turn of the loop."""
        ring = self.upload.generation.ring
        if name in ("append", "part"):
            self.stage.append(self.upload, value, chunk_end=name == "append")
        elif name == "publish":
            self.upload.publish()
        elif name == "join" and self.idle and ring.ends:
            reader, plan = self.idle.pop(0), self.plans.pop(0)
            start = ring.end - 1 if plan.is_late else 0
            reader.ask("/live", *([f"Range: bytes={start}-{STREAMED}"] if start else []))
            if plan.is_pipelining:
                reader.ask("/done")
            self.joined.append((reader, plan, start))
        elif name == "settle":
            await wait_all_tasks_blocked()
        elif name == "yield":
            for _ in range(value):
                await trio.lowlevel.checkpoint()
        elif self.joined and name in ("pause", "resume", "leave"):
            getattr(self.joined[value % len(self.joined)][0], name)()

    async def end(self, how: str) -> None:
        """The writer's end."""
        catalog = self.stage.catalog
        if how == "complete":
            self.upload.commit()
        elif how == "abort":
            self.upload.abort(Abort.WRITER_GONE)
        elif how == "displace":
            self.stage.begin("/live")
        elif how == "delete":
            catalog.delete("/live")
        else:  # completed, and deleted before those who lag have all of it
            self.upload.commit()
            await trio.lowlevel.checkpoint()
            catalog.delete("/live")

    async def check(self, reader: Reader, plan: Plan, start: int) -> None:
        """A clean end means all of a complete generation; any other, a part without an end."""
        generation = self.upload.generation
        ring = generation.ring
        data = payload(0, ring.size_bytes)
        everything = framed_from(data, ring.ends, start)
        answer = await reader.answer()
        if answer.status == 404:  # it came too late for that one
            assert generation.state is not State.COMPLETE
            assert answer.is_whole
        elif answer.is_chunked:
            assert everything.startswith(answer.body)
            if answer.is_whole:
                assert ring.is_sealed
                assert answer.body == everything
            else:
                assert reader.ended
                assert not answer.rest
            if generation.state is State.COMPLETE and reader.ended != "left":
                assert answer.is_whole
        elif answer.status:
            assert ring.is_sealed
            expected = data[start:]
            assert answer.body == expected if answer.is_whole else expected.startswith(answer.body)
        if answer.is_whole and not reader.ended:
            if not plan.is_pipelining:
                with contextlib.suppress(OSError):
                    reader.ask("/done")
            following = await reader.answer()
            if following.status or generation.state is not State.DELETED:
                assert (following.status, following.body) == (200, payload(0, 5000))
            # Else it was cut while its task had yet to learn that all of it was handed over.


@given(
    st.lists(PLANS, min_size=1, max_size=8),
    st.lists(SIZES, min_size=1, max_size=3),
    st.lists(STEPS, max_size=40),
    ENDS,
    st.sampled_from([0, 0, 2, 8]),
)
@examples(120)
def test_any_schedule(
    plans: list[Plan], first: list[int], steps: list[tuple[str, int]], end: str, small_edge: int
) -> None:
    async def main() -> None:
        async with Stage.open(small_edge=small_edge, hold_cap_s=0) as stage:
            stage.store("/done", 5000)
            play = Play(stage, plans)
            await wait_all_tasks_blocked()
            for size in first:
                await play.step("append", size)
            for name, value in [("join", 0), *steps]:
                await play.step(name, value)
            await play.end(end)
            for reader, _, _ in play.joined:
                reader.resume()
            for reader, plan, start in play.joined:
                await play.check(reader, plan, start)
            await wait_all_tasks_blocked()
            assert not play.upload.generation.readers

    trio.run(main)


@pytest.mark.parametrize("kind", ["unix", "tcp", "stream"])
async def test_a_fan_out_with_churn(kind: Kind) -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 100)
        readers = [stage.connect(kind, send_buffer=30_000) for _ in range(150)]
        for reader in readers:
            reader.ask("/live")
        for turn in range(12):
            await trio.lowlevel.checkpoint()
            for reader in readers[turn::17]:
                reader.pause()
            for reader in readers[turn::29]:
                reader.leave()
            stage.append(upload, 20_000)
            if turn % 3 == 2:
                await wait_all_tasks_blocked()
            for reader in readers[turn - 5 :: 17] if turn > 5 else ():
                reader.resume()
        upload.commit()
        ring = upload.generation.ring
        everything = framed_from(payload(0, ring.size_bytes), ring.ends, 0)
        stayed = [reader for reader in readers if reader.ended != "left"]
        assert len(stayed) > 50
        for reader in stayed:
            reader.resume()
            answer = await reader.answer()
            assert answer.is_whole
            assert answer.body == everything
