"""What is fetched of a chunk that is deleted and asked for again while somebody has it: nothing.

The storage is `chunkstore.testing`'s, which counts the bytes that it sends. The chunk is asked for
again at once, and once more when its deletion has come to rest.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import trio

from bench.build import BenchError
from bench.harness import JsonLines, Result
from bench.outcome import Verdicts
from chunkstore.testing.storage import Content, Storage
from chunkstore.worker import DataChunk, open_manager

__all__ = ["ask"]

_SIZE_BYTES = 8 << 20


def ask(place: str | None, out: JsonLines, verdicts: Verdicts) -> None:
    """Once: it is a count."""
    with tempfile.TemporaryDirectory(dir=place, prefix="bench-worker-") as folder:
        first, again = trio.run(_measure, Path(folder, "data"))
    if first != _SIZE_BYTES:
        raise BenchError(f"the first download fetched {first} bytes of {_SIZE_BYTES}")
    figures = {"first, bytes": float(first), "again, bytes": float(again)}
    out.write("result", asdict(Result("worker", "deleted, held, asked again", "ours", figures)))
    print(f"deleted, held, asked again: {again} bytes fetched, {first} the first time", flush=True)
    verdicts.add(f"again: {again} bytes fetched of a chunk that was held <= 0", again == 0)


async def _measure(data: Path) -> tuple[int, int]:
    """Bytes sent for the first download, and for those behind the deletions."""
    storage, path = Storage(), "/a/blocks"
    storage.put(path, Content(1, _SIZE_BYTES))
    async with trio.open_nursery() as nursery:
        url = await storage.listen(nursery)
        chunk = DataChunk(bytes(32), bytes(32), range(10), {"blocks": url + path})
        async with open_manager(data) as manager:
            manager.download_chunk(chunk)
            await manager.wait_for(chunk.id)
            first = storage.sent_bytes(path)
            reference = manager.find_chunk(chunk.dataset_id, 0)
            if reference is None:
                raise BenchError("what was downloaded isn't found")
            with reference:
                manager.delete_chunk(chunk.id)
                manager.download_chunk(chunk)
                await manager.wait_for(chunk.id)
                await manager.settled()
                manager.delete_chunk(chunk.id)
                await manager.settled()
                manager.download_chunk(chunk)
                await manager.wait_for(chunk.id)
            await manager.settled()
            again = storage.sent_bytes(path) - first
        nursery.cancel_scope.cancel()
    return first, again
