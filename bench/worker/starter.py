"""A process that starts on a folder of many chunks, and times itself: see `many.py`."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from bench.build import BenchError
from bench.worker.made import BLOCKS, dataset_of
from bench.worker.many import DATASETS
from chunkstore.worker import DataManager, State

__all__: list[str] = []

_FINDS = 100_000
_LISTS = 100
_COUNTED_S = 300.0


def _find_us(manager: DataManager, count: int, turns: int) -> list[float]:
    """What each of so many look-ups takes, sorted, in us."""
    chance = random.Random(turns)  # which blocks: always the same
    taken_us = []
    for _ in range(turns):
        dataset = dataset_of(chance.randrange(DATASETS))
        block = chance.randrange(count // DATASETS * BLOCKS)
        began_ns = time.perf_counter_ns()
        reference = manager.find_chunk(dataset, block)
        taken_us.append((time.perf_counter_ns() - began_ns) / 1e3)
        if reference is None:
            raise BenchError(f"no chunk of dataset {dataset.hex()} has block {block}")
        reference.close()
    return sorted(taken_us)


def _list_ms(manager: DataManager, count: int) -> list[float]:
    """What each of some listings takes, sorted, in ms."""
    taken_ms = []
    for _ in range(_LISTS):
        began_s = time.perf_counter()
        found = manager.list_chunks()
        taken_ms.append((time.perf_counter() - began_s) * 1e3)
        if len(found) != count:
            raise BenchError(f"{len(found)} chunks are listed, there are {count}")
    return sorted(taken_ms)


def _wait_until_counted(manager: DataManager, bytes_all: int) -> None:
    deadline_s = time.monotonic() + _COUNTED_S
    while (status := manager.status()).stored_bytes < bytes_all:
        if time.monotonic() > deadline_s:
            raise BenchError(f"after {_COUNTED_S:.0f} s only {status.stored_bytes} bytes are known")
        time.sleep(0.2)
    assert status.counts[State.READY]


def _started(data: Path, count: int, asked_s: float) -> dict[str, float]:
    """The start, and look-ups directly behind it."""
    began_s = time.monotonic()
    with DataManager(data) as manager:
        opened_s = time.monotonic()
        _find_us(manager, count, 1)
        usable_s = time.monotonic()
        taken_us = _find_us(manager, count, _FINDS)
    return {
        "usable s": usable_s - asked_s,
        "imports s": began_s - asked_s,
        "open s": opened_s - began_s,
        "find p50 us": taken_us[len(taken_us) // 2],
        "find p99 us": taken_us[len(taken_us) * 99 // 100],
    }


def _at_rest(data: Path, count: int) -> dict[str, float]:
    """What a manager answers that has nothing else to do."""
    with DataManager(data) as manager:
        began_s = time.monotonic()
        _wait_until_counted(manager, count * 16)
        counted_s = time.monotonic() - began_s
        taken_us = _find_us(manager, count, _FINDS)
        taken_ms = _list_ms(manager, count)
        return {
            "looked at s": counted_s,
            "find p50 us": taken_us[len(taken_us) // 2],
            "find p99 us": taken_us[len(taken_us) * 99 // 100],
            "list p50 ms": taken_ms[len(taken_ms) // 2],
            "list max ms": taken_ms[-1],
        }


def _main() -> None:
    what, data, count, asked_s = sys.argv[1:]
    if what == "start":
        figures = _started(Path(data), int(count), float(asked_s))
    else:
        figures = _at_rest(Path(data), int(count))
    print(json.dumps(figures))


if __name__ == "__main__":
    _main()
