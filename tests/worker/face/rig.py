"""A worker with its face over memory streams; what it downloads comes from memory, too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair

from chunkstore.auth import parse_token
from chunkstore.config import Settings
from chunkstore.server import Log, StreamTransport
from chunkstore.testing import Content, Storage
from chunkstore.worker import DataChunk, Fetching, FileRecord, WorkerConfig
from chunkstore.worker.descriptor import encode_chunk
from chunkstore.worker.face import Worker
from chunkstore.worker.face.office import Office
from tests.origin.drive import WALL_S, Answer, Client

__all__ = ["DATASET", "NAME", "Rig", "identifier", "inline"]

NAME = "blöcke 1.parquet"
"""A file's name that takes escapes."""
SIZES = {NAME: 300_000, "empty": 0, "small": 100}


def identifier(text: object) -> bytes:
    """32 bytes that stand for something."""
    return hashlib.sha256(str(text).encode()).digest()


DATASET = identifier("dataset")


async def inline(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - what it returns
    """What blocks, called at once: a clock that jumps knows no threads."""
    await trio.lowlevel.checkpoint()
    return call()


class Rig:
    """A worker, its storage, and clients of both of its listeners."""

    def __init__(self, nursery: trio.Nursery, folder: Path, log: Log, settings: Settings) -> None:
        self.nursery = nursery
        self.folder = folder
        self.storage = Storage()
        self.worker = Worker(
            settings,
            log,
            fetching=self._fetching,
            connect=self.storage.connect,
            in_thread=inline,
            wall_s=lambda: WALL_S,
        )
        self.office = Office(self.worker, wall_s=lambda: WALL_S)

    @classmethod
    async def open(
        cls,
        nursery: trio.Nursery,
        folder: Path,
        *,
        tokens: tuple[dict[str, object], ...] = (),
        log: Log | None = None,
        **changes: object,
    ) -> Rig:
        """A worker that runs."""
        rows = tuple(parse_token(row, "token") for row in tokens)
        settings = Settings(data=str(folder), log="off", tokens=rows, **changes)  # type: ignore[arg-type]
        rig = cls(nursery, folder, log or Log("off"), settings)
        await nursery.start(rig.storage.run)
        await nursery.start(rig.worker.run)
        await nursery.start(rig.office.run, ())
        return rig

    def _fetching(self, config: WorkerConfig) -> Fetching:
        return Fetching(config, connect=self.storage.connect, in_thread=inline)

    def chunk(
        self, seed: int, blocks: range, dataset_id: bytes = DATASET, *, is_there: bool = True
    ) -> DataChunk:
        """A chunk, and its files in the storage."""
        files: dict[str, FileRecord | str] = {}
        for index, (name, size_bytes) in enumerate(SIZES.items()):
            content = Content(seed * 10 + index, size_bytes)
            if is_there:
                self.storage.put(f"/{seed}/{index}", content)
            url = f"http://storage.test/{seed}/{index}"
            files[name] = FileRecord(url, size_bytes, content.sha256)
        return DataChunk(identifier(seed), dataset_id, blocks, files)

    def content(self, seed: int, name: str) -> bytes:
        """The bytes of a file."""
        return Content(seed * 10 + list(SIZES).index(name), SIZES[name]).data

    async def have(self, chunk: DataChunk) -> None:
        """Put a chunk, and wait until it is there."""
        answer = await self.put(chunk)
        assert answer.status == 202, answer.body
        await self.until_state(chunk.id, "ready")

    async def until_state(self, chunk_id: bytes, state: str | None) -> dict[str, Any]:
        """Wait until a chunk is in a state; None: it is gone."""
        with trio.fail_after(600):
            while True:
                answer = await self.get(f"/chunks/{chunk_id.hex()}")
                members: dict[str, Any] = answer.json if answer.status == 200 else {}
                if members.get("state") == state:
                    return members
                await trio.sleep(0.1)

    # --- clients -------------------------------------------------------------------------------

    def connect(self) -> Client:
        """A connection to the worker."""
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.worker.server.serve, StreamTransport(theirs, "memory"))
        return Client(ours)

    def connect_slowly(self) -> Client:
        """One whose bytes wait until they are read."""
        ours, theirs = lockstep_stream_pair()
        self.nursery.start_soon(self.worker.server.serve, StreamTransport(theirs, "memory"))
        return Client(ours)

    async def ask(self, method: str, target: str, *lines: str, body: bytes | None = None) -> Answer:
        """A request on a connection of its own."""
        client = self.connect()
        answer = await client.ask(method, target, *lines, body=body)
        await client.close()
        return answer

    async def get(self, target: str, *lines: str) -> Answer:
        """A GET."""
        return await self.ask("GET", target, *lines)

    async def put(self, chunk: DataChunk, *lines: str) -> Answer:
        """A PUT of a chunk."""
        target = f"/chunks/{chunk.id.hex()}"
        return await self.ask("PUT", target, *lines, body=encode_chunk(chunk))

    async def rows(self, target: str = "/chunks") -> list[dict[str, Any]]:
        """What GET /chunks lists."""
        answer = await self.get(target)
        assert answer.status == 200
        return [json.loads(line) for line in answer.body.splitlines()]

    async def admin(self, target: str, *lines: str) -> Answer:
        """GET on the operator's listener."""
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.office.server.serve, StreamTransport(theirs, "memory"))
        client = Client(ours)
        answer = await client.ask("GET", target, *(lines or ("Host: localhost",)))
        await client.close()
        return answer

    def held(self) -> int:
        """References that are open."""
        reporter = self.worker._reporter
        assert reporter is not None
        return reporter._manager.status().hold_count
