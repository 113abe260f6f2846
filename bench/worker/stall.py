"""How late a loop is beside which large chunks are deleted, and beside nothing.

A run in which the loop was late with nothing to do, before or behind the deletions, says nothing of
them: it is void.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import trio

from bench.contest import Results
from bench.harness import JsonLines, Result
from bench.outcome import Verdicts
from bench.worker.made import fill
from chunkstore.worker import open_manager

__all__ = ["ask"]

_STALL_MS = 20.0
_IDLE_MS = 10.0
"""An idle loop that is later says that the machine is at work for others."""
_IDLE_S = 0.5
_TICK_S = 0.001
_FILES = 4


def ask(
    chunks: int, chunk_bytes: int, runs: int, place: str | None, out: JsonLines, verdicts: Verdicts
) -> None:
    """Delete all chunks of a folder at once, again and again; the worst of the runs that count."""
    results = Results(out)
    case = f"{chunks} chunks of {chunk_bytes / 1e6:g} MB"
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=place, prefix="bench-worker-") as folder:
            data = Path(folder, "data")
            fill(data, chunks, [chunk_bytes // _FILES] * _FILES)
            os.sync()
            figures = trio.run(_measure, data)
        idle_ms = figures["idle late ms"]
        fault = f"void: an idle loop was late, too, by {idle_ms:.1f} ms" * (idle_ms > _IDLE_MS)
        results.add(Result("worker", f"delete {case}", "ours", figures, fault))
    found = results.values(f"delete {case}", "late ms").get("ours")
    if found is None:
        verdicts.add(f"stall: no run counts: {'; '.join(results.faults)}", False)
        return
    text = f"stall: loop late by {max(found):.1f} ms <= {_STALL_MS:.0f} ms, deleting {case}"
    verdicts.add(text, max(found) <= _STALL_MS)


async def _measure(data: Path) -> dict[str, float]:
    async with open_manager(data) as manager:
        await manager.settled()
        chunks = manager.list_chunks()
        late: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tick, late)
            await trio.sleep(_IDLE_S)
            idle, late[:] = max(late), []
            began_s = trio.current_time()
            for chunk in chunks:
                manager.delete_chunk(chunk.id)
            await manager.settled()
            took_s = trio.current_time() - began_s
            await trio.sleep(2 * _TICK_S)
            deleting, late[:] = max(late), []
            await trio.sleep(_IDLE_S)
            idle = max(idle, *late)
            nursery.cancel_scope.cancel()
    assert not list((data / "trash").iterdir())
    return {"late ms": deleting * 1e3, "idle late ms": idle * 1e3, "took s": took_s}


async def _tick(late: list[float]) -> None:
    """Note how much later than asked for this loop goes on."""
    while True:
        due_s = trio.current_time() + _TICK_S
        await trio.sleep_until(due_s)
        late.append(trio.current_time() - due_s)
