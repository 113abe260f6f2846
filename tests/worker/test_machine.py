"""Anything said in any order, over a storage and a disk that fail, through lives that end anyhow.

MACHINE_STEPS says how many steps in all; a step is a call, a failure to come, some time, or an end.
"""

from __future__ import annotations

import errno
import math
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.testing import Fault
from chunkstore.worker import ChunkManager, WorkerConfig
from chunkstore.worker.core.states import State
from chunkstore.worker.fetch import file as file_module
from chunkstore.worker.fetch import partial as partial_module
from tests.worker.flaky import open_below
from tests.worker.world import IDS, VARIANTS, World, chunk_of

STEPS = int(os.environ.get("MACHINE_STEPS") or (10_000 if os.environ.get("CI") else 1_000))
STEPS_EACH = 60
LONG_S = 1e9
"""Of a clock that jumps: longer than all pauses there can be."""

Step: TypeAlias = tuple[Any, ...]

NUMBERS, VARIANT = st.integers(0, IDS - 1), st.integers(0, VARIANTS - 1)
INDEX = st.integers(0, 9)
TIMES = st.sampled_from([0.0, 0.01, 0.1, 0.5, 2.0, 5.0, 5.0, 40.0, 1000.0])
KINDS = ["create", "write", "sync", "rename", "unlink", "make_folder", "sync_folder", "free_bytes"]
ERRORS = [errno.ENOSPC, errno.EIO]
FULL = st.sampled_from([0, 2**40, 2**40, 2**40])
WEIGHTS: list[tuple[int, st.SearchStrategy[Step]]] = [
    (1, st.just(("nothing",))),
    (8, st.tuples(st.just("want"), NUMBERS, VARIANT, st.sampled_from("ab"))),
    (2, st.tuples(st.just("delete"), NUMBERS)),
    (1, st.tuples(st.just("desire"), st.dictionaries(NUMBERS, VARIANT, max_size=IDS))),
    (6, st.tuples(st.just("find"), INDEX)),
    (6, st.tuples(st.sampled_from(["again", "drop"]), INDEX)),
    (3, st.tuples(st.sampled_from(["close", "clone", "leak"]), INDEX)),
    (8, st.tuples(st.just("pass"), TIMES)),
    (3, st.tuples(st.just("trouble"), NUMBERS, VARIANT, INDEX, st.sampled_from(list(Fault)))),
    (1, st.tuples(st.just("disk"), st.sampled_from(KINDS), st.sampled_from(ERRORS))),
    (1, st.tuples(st.just("free"), FULL)),
    (2, st.just(("settle",))),
    (1, st.tuples(st.just("restart"), st.booleans(), st.booleans())),
]
STEP = st.sampled_from([one for weight, one in WEIGHTS for _ in range(weight)]).flatmap(
    lambda strategy: strategy
)
CONFIGS = st.builds(
    WorkerConfig,
    chunks_max=st.integers(1, 3),
    files_max=st.integers(1, 4),
    files_per_host=st.integers(1, 3),
    quota_bytes=st.sampled_from([None, None, None, 9000, 20_000]),
    reserve_bytes=st.just(1000),
    retries=st.integers(0, 2),
    refuse_private=st.just(False),
)


async def call(world: World, manager: ChunkManager, step: Step) -> None:
    """One step of a life."""
    match step:
        case ("want", number, variant, host):
            chunk = chunk_of(number, variant, host)[0]
            world.desired[chunk.id] = chunk
            world.is_certain = False
            manager.download_chunk(chunk)
        case ("delete", number):
            world.desired.pop(bytes([number]) * 32, None)
            world.is_certain = False
            manager.delete_chunk(bytes([number]) * 32)
        case ("desire", wanted):
            chunks = [chunk_of(number, variant)[0] for number, variant in wanted.items()]
            world.desired = {chunk.id: chunk for chunk in chunks}
            world.is_certain = False
            manager.set_desired(chunks)
        case ("find", index) if manager.list_chunks():
            infos = sorted(manager.list_chunks(), key=lambda one: one.id)
            info = infos[index % len(infos)]
            reference = manager.find_chunk(info.dataset_id, info.block_range.start + index)
            if reference is not None:
                names = world.desired[reference.info.id].files
                data = {name: (reference.path / name).read_bytes() for name in names}
                world.held.append((reference, data))
        case ("again" | "drop", index) if world.held:
            chunk = world.chunk_of(world.held[index % len(world.held)][0])
            world.is_certain = False
            if step[0] == "again":
                world.desired[chunk.id] = chunk
                manager.download_chunk(chunk)
            else:
                world.desired.pop(chunk.id, None)
                manager.delete_chunk(chunk.id)
        case ("close" | "clone" | "leak", index) if world.held:
            let_go(world, step[0], index % len(world.held))
        case ("pass", time_s):
            await trio.sleep(time_s)
        case ("trouble", number, variant, index, fault):
            world.trouble(number, variant, index, fault)
        case ("disk", kind, number):
            world.files.due.append((kind, number))
        case ("free", free):
            world.files.free = free
        case ("settle",):
            with trio.fail_after(LONG_S):
                await world.check_settled(manager)


def let_go(world: World, how: str, index: int) -> None:
    """Of a reference; or have another one."""
    reference, data = world.held[index]
    if how == "clone":
        world.held.append((reference.clone(), data))
        return
    del world.held[index]
    if how == "close":
        reference.close()
        reference.close()
        with pytest.raises(ValueError, match="was closed"):
            _ = reference.path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del reference


async def come_to_rest(world: World, manager: ChunkManager) -> None:
    """Nothing fails any more, and nobody holds anything: it comes to what was asked for."""
    world.heal()
    for reference, _ in world.held:
        reference.close()
    world.held.clear()
    with trio.fail_after(LONG_S):
        for _ in range(2):  # an answer that was under way may yet make one fail for good
            for chunk in world.desired.values():
                manager.download_chunk(chunk)
            await trio.sleep(1000)
        await world.check_settled(manager)
    states = set(manager.status().counts)
    assert states <= ({State.READY} if world.config.quota_bytes is None else {*states, State.READY})
    assert State.FAILED not in states


async def play(world: World, steps: list[Step]) -> None:
    """All of them, in as many lives as they make."""
    left = steps[::-1]
    has_ended, is_reasserted = False, False
    async with trio.open_nursery() as nursery:
        await nursery.start(world.storage.run)
        while not has_ended:
            folder = world.folder
            world.files.due.clear()
            async with world.life() as manager:
                world.begun(manager, is_reasserted=is_reasserted)
                while left and left[-1][0] != "restart":
                    await call(world, manager, left.pop())
                    world.check(manager)
                if not left:
                    await come_to_rest(world, manager)
                    has_ended = True
                else:
                    _, is_abrupt, is_reasserted = left.pop()
                    if is_abrupt:
                        world.copied()
            for reference, _ in world.held:
                reference.close()
            world.held.clear()
            assert not open_below(folder)
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some thousand bytes have as many pieces, and saves, as large ones."""
    monkeypatch.setattr(partial_module, "SAVE_BYTES", 1000)
    monkeypatch.setattr(file_module, "WRITE_BYTES", 400)


@settings(
    max_examples=math.ceil(STEPS / STEPS_EACH),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(st.lists(STEP, min_size=STEPS_EACH, max_size=STEPS_EACH), CONFIGS, st.integers(0, 2**32 - 1))
def test_whatever_is_said_and_fails(steps: list[Step], config: WorkerConfig, seed: int) -> None:
    note(f"{[step for step in steps if step != ('nothing',)]}")
    with tempfile.TemporaryDirectory(prefix="machine-") as folder:
        world = World(Path(folder), config, seed)
        trio.run(play, world, steps, clock=MockClock(autojump_threshold=0))
