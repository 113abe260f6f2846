"""A worker is killed at any moment, again and again, on one folder that nobody tends.

WORKER_KILLS says how often.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import trio

from chunkstore.testing import Fault, Storage
from chunkstore.worker.disk.folder import ChunkFolder
from tests.faults.running import ROOT
from tests.faults.worker_life import CHUNKS, chunk_of, contents_of

pytestmark = pytest.mark.real

KILLS = int(os.environ.get("WORKER_KILLS", "5"))
ROUND_S = 120.0
MOMENT_S = 0.4
"""The blow comes up to so much after the start."""


async def life(folder: Path, url: str, chance: Random) -> list[list[str]]:
    """What a worker says before it is killed, word by word, line by line."""
    words = [sys.executable, "-m", "tests.faults.worker_life", str(folder), url]
    words.append(str(chance.randrange(10**6)))
    process = await trio.lowlevel.open_process(words, stdout=subprocess.PIPE, cwd=ROOT)
    said = bytearray()
    assert process.stdout is not None
    try:
        with trio.fail_after(ROUND_S):
            while b"\n" not in said:
                some = await process.stdout.receive_some()
                assert some, "it ended before it began"
                said += some
            with trio.move_on_after(chance.random() * MOMENT_S):
                while some := await process.stdout.receive_some():
                    said += some
            process.kill()
            while some := await process.stdout.receive_some():
                said += some
            assert await process.wait() == -9
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
    return [line.split() for line in said.decode().split("\n")[:-1]]


def check(folder: Path) -> list[int]:
    """All that shows is whole; which of all chunks it is."""
    opened = ChunkFolder(folder)
    known = {
        chunk_of(number, variant, "http://x").identity: (number, variant)
        for number in range(CHUNKS)
        for variant in (0, 1)
    }
    found = opened.scan()
    assert not found.strangers
    numbers = []
    for one in found.ready:
        number, variant = known[one.name.identity]
        path = opened.ready(one.dataset_id, one.name)
        for name, content in contents_of(number, variant).items():
            assert (path / name).read_bytes() == content.data
        assert opened.checked_size(one.dataset_id, one.name) is not None
        numbers.append(number * 2 + variant)
    opened.close()
    return sorted(numbers)


async def test_no_chunk_shows_that_is_not_whole_after_any_kill(tmp_path: Path) -> None:
    chance = Random(7)
    faults = [None] * 20 + [Fault.CUT, Fault.WHOLE, Fault.BROKEN, Fault.SHIFTED, Fault.MOVED]
    storage = Storage(lambda path: chance.choice(faults), random=chance)
    for number in range(CHUNKS):
        for variant in (0, 1):
            for name, content in contents_of(number, variant).items():
                storage.put(f"/{number}/{variant}/{name}", content)
    ChunkFolder(tmp_path / "data").close()
    shown, settled_count = list[int](), 0
    async with trio.open_nursery() as nursery:
        url = await storage.listen(nursery)
        for _ in range(KILLS):
            lines = await life(tmp_path / "data", url, chance)
            assert lines[0] == ["found", *(str(number // 2) for number in shown)]
            shown = check(tmp_path / "data")
            settled_count += lines[-1][0] == "settled"
            if lines[-1][0] == "settled":
                assert shown == [int(number) for number in lines[-1][1:]]
        nursery.cancel_scope.cancel()
    assert storage.asked
    print(f"{KILLS} kills, {settled_count} of them at rest; {len(storage.asked)} requests")
