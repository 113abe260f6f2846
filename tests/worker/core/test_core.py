"""All chunks together, beside a naive model, in any order of calls and of what becomes of them."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from chunkstore.worker.core.chunk import DataChunk, FileRecord
from chunkstore.worker.core.core import Core
from chunkstore.worker.core.generation import Found, Generation
from chunkstore.worker.core.states import ACTIVE, Event, State

DATASETS = [b"D" * 32, b"E" * 32]
RANGES = [range(0, 10), range(5, 10), range(5, 15), range(10, 30), range(0, 64)]
CHUNKS = st.builds(
    lambda number, dataset, blocks, size, host: DataChunk(
        bytes([number]) * 32,
        DATASETS[dataset],
        blocks,
        {"a": FileRecord(f"http://{host}/a", size)},
    ),
    st.integers(0, 4),
    st.integers(0, 1),
    st.sampled_from(RANGES),
    st.sampled_from([None, 1]),
    st.sampled_from(["x", "y"]),
)
BLOCKS = st.integers(0, 70)


class Machine(RuleBasedStateMachine):
    """A core, whose shell is this machine, and what callers may expect of it.

    Attributes:
        wanted: the last that was said of each chunk.
        ready: numbers of generations that are whole and were not removed.
        tasks: those that a task is at.
    """

    held = Bundle("held")

    @initialize(found=st.lists(CHUNKS, unique_by=lambda chunk: chunk.id, max_size=3))
    def start(self, found: list[DataChunk]) -> None:
        """Some were there before."""
        from chunkstore.worker.core.names import ChunkName

        self.wanted: dict[bytes, str] = {chunk.id: chunk.identity for chunk in found}
        ready = [
            Found(
                chunk.dataset_id,
                ChunkName(
                    chunk.block_range.start,
                    chunk.block_range.stop,
                    chunk.id,
                    number,
                    chunk.identity,
                ),
            )
            for number, chunk in enumerate(found, 1)
        ]
        self.core = Core(ready, (), len(found) + 1)
        self.whole = {one.name.number for one in ready}
        self.tasks: dict[int, Generation] = {}
        self.holds: list[Generation] = []

    # --- callers -------------------------------------------------------------------------------

    @rule(chunk=CHUNKS)
    def want(self, chunk: DataChunk) -> None:
        self.core.want(chunk)
        self.wanted[chunk.id] = chunk.identity

    @rule(number=st.integers(0, 4))
    def unwant(self, number: int) -> None:
        self.core.unwant(bytes([number]) * 32)
        self.wanted.pop(bytes([number]) * 32, None)

    @rule(chunks=st.lists(CHUNKS, unique_by=lambda chunk: chunk.id, max_size=4))
    def desire(self, chunks: list[DataChunk]) -> None:
        self.core.desire(chunks)
        self.wanted = {chunk.id: chunk.identity for chunk in chunks}

    @rule(target=held, dataset=st.sampled_from(DATASETS), block=BLOCKS)
    def find(self, dataset: bytes, block: int) -> Generation | None:
        found = self.core.find(dataset, block)
        assert (found and found.name.number) == self.expected(dataset, block)
        if found is not None:
            self.holds.append(found)
        return found

    def expected(self, dataset: bytes, block: int) -> int | None:
        """By looking at all of them."""
        fits = [
            (one.name.stop - one.name.start, -one.name.number)
            for one in self.core.generations()
            if one.state is State.READY
            and self.wanted.get(one.id) == one.name.identity
            and one.dataset_id == dataset
            and one.name.start <= block < one.name.stop
        ]
        return -min(fits)[1] if fits else None

    @rule(generation=consumes(held))
    def release(self, generation: Generation | None) -> None:
        if generation is not None:
            self.core.release(generation)
            self.holds.remove(generation)

    # --- the shell -----------------------------------------------------------------------------

    @rule(room=st.booleans())
    def begin(self, room: bool) -> None:
        generation = self.core.next_start(lambda _: room)
        if generation is not None:
            assert generation.state is State.DOWNLOADING
            assert generation.name.number not in self.whole
            self.tasks[generation.name.number] = generation

    @rule(data=st.data(), event=st.sampled_from(["on", "broke", "refused", "full", "stopped"]))
    def goes_on(self, data: st.DataObject, event: str) -> None:
        if not self.tasks:
            return
        number = data.draw(st.sampled_from(sorted(self.tasks)))
        self.proceed(number, event)

    def proceed(self, number: int, event: str) -> None:
        """What a task meets."""
        generation = self.tasks[number]
        if generation.state is State.CANCELLING:
            del self.tasks[number]
            if event == "on":  # the cancelling came too late
                self.whole.add(number)
                self.core.apply(generation, Event.PUBLISHED)
            else:
                self.core.stopped(generation)
            return
        if event == "on" and generation.state is State.DOWNLOADING:
            self.core.apply(generation, Event.FETCHED)
            return
        del self.tasks[number]
        if event == "on":
            self.whole.add(number)
            self.core.apply(generation, Event.PUBLISHED)
        else:
            generation.due_s = 10.0
            ends = {"broke": Event.BROKE, "refused": Event.REFUSED, "full": Event.NO_SPACE}
            self.core.apply(generation, ends.get(event, Event.BROKE))

    @rule()
    def time_passes(self) -> None:
        assert self.core.due(11.0) is None
        self.core.freed(lambda _: True)

    @rule()
    def damage(self) -> None:
        for generation in self.core.generations():
            if generation.state is State.READY and generation.chunk is not None:
                self.core.damaged(generation)
                return

    @rule()
    def look(self) -> None:
        for generation in self.core.touched():
            if generation.state is State.DOOMED and not generation.hold_count:
                self.core.apply(generation, Event.REMOVE)
            if generation.state is State.REMOVING:
                assert generation not in self.holds
                self.whole.discard(generation.name.number)
                self.core.apply(generation, Event.REMOVED)

    # --- what holds ----------------------------------------------------------------------------

    @invariant()
    def shown_is_whole_and_wanted(self) -> None:
        listed = {info.id for info in self.core.listed()}
        ready = [
            one
            for one in self.core.generations()
            if one.state is State.READY and self.wanted.get(one.id) == one.name.identity
        ]
        assert listed == {one.id for one in ready}
        assert {one.name.number for one in ready} <= self.whole
        assert len(listed) == len(ready)

    @invariant()
    def held_ones_stay(self) -> None:
        for generation in self.holds:
            assert generation.name.number in self.whole
            assert generation.state in (State.READY, State.DOOMED)

    @invariant()
    def one_task_a_chunk(self) -> None:
        active = [one.id for one in self.core.generations() if one.state in ACTIVE]
        assert len(active) == len(set(active))

    def teardown(self) -> None:
        """Left alone, with every download a success, it comes to what is wanted and no more."""
        if not hasattr(self, "core"):
            return
        for generation in self.holds:
            self.core.release(generation)
        self.holds.clear()
        for generation in list(self.core.generations()):
            if generation.state is State.FAILED:
                assert generation.chunk is not None
                self.core.want(generation.chunk)
        for _ in range(200):
            self.time_passes()
            self.begin(True)
            for number in list(self.tasks):
                self.proceed(number, "on")
            self.look()
        states = {one.id: one for one in self.core.generations()}
        assert len(states) == len(list(self.core.generations())) == len(self.wanted)
        assert {one.name.identity for one in states.values()} == set(self.wanted.values())
        assert {one.state for one in states.values()} <= {State.READY}
        assert self.whole == {one.name.number for one in states.values()}


STEPS = int(os.environ.get("CORE_EXAMPLES") or (300 if os.environ.get("CI") else 75))
TestCore: Any = Machine.TestCase
TestCore.settings = settings(max_examples=STEPS, stateful_step_count=40, deadline=None)
