"""One life of a worker: told what to have, again and again, until it is killed. A process.

It says on stdout what it does: "found", "moving" and "settled", with the chunks in their order.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random

from chunkstore.testing import Content
from chunkstore.worker import DataChunk, DataManager, FileRecord, WorkerConfig

__all__ = ["CHUNKS", "DATASET", "chunk_of", "contents_of"]

CHUNKS = 6
DATASET = b"d" * 32
SIZES = (0, 70_000, 300_000, 1_500_000)


def contents_of(number: int, variant: int) -> dict[str, Content]:
    """What the files of a chunk have."""
    chance = Random(number * 2 + variant)
    return {
        f"f{index}": Content(number * 100 + variant * 10 + index, chance.choice(SIZES))
        for index in range(3)
    }


def chunk_of(number: int, variant: int, url: str) -> DataChunk:
    """One of ten blocks; the first variant declares what its files are."""
    records = {
        name: FileRecord(
            f"{url}/{number}/{variant}/{name}",
            None if variant else content.size_bytes,
            None if variant else content.sha256,
        )
        for name, content in contents_of(number, variant).items()
    }
    blocks = range(number * 10, number * 10 + 10)
    return DataChunk(bytes([number]) * 32, DATASET, blocks, records)


def main(folder: str, url: str, seed: str) -> None:
    """Work until killed."""
    chance = Random(int(seed))
    chunks = [[chunk_of(number, variant, url) for variant in (0, 1)] for number in range(CHUNKS)]
    with DataManager(Path(folder), WorkerConfig(backoff_s=0.01, reserve_bytes=0)) as manager:
        say("found", [one.id[0] for one in manager.list_chunks()])
        while True:
            say("moving", [])
            wanted = chance.sample(chunks, chance.randrange(CHUNKS + 1))
            desired = [chance.choice(variants) for variants in wanted]
            manager.set_desired(desired)
            for _ in range(chance.randrange(4)):
                number = chance.randrange(CHUNKS)
                reference = manager.find_chunk(DATASET, number * 10)
                if reference is None:
                    continue
                with reference:
                    manager.delete_chunk(reference.info.id)
                    for path in reference.path.glob("f*"):
                        path.read_bytes()
                    manager.set_desired(desired)
            if chance.random() < 0.5:
                manager.settled(timeout_s=60)
                numbers = [chunk.id[0] for chunk in desired]
                are_second = [chunks[number][1] in desired for number in numbers]
                pairs = zip(numbers, are_second, strict=True)
                say("settled", [number * 2 + is_second for number, is_second in pairs])
                time.sleep(chance.random() * 0.1)  # a blow may come meanwhile


def say(what: str, numbers: list[int]) -> None:
    """To whoever started it."""
    print(what, *sorted(numbers), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
