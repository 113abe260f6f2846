"""A reader whose bytes leave the window while it is sent others: it goes on in the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from chunkstore.live import Piece, Visit
from chunkstore.live import Reader as LiveReader
from chunkstore.live.reader import FIRST_BYTES
from chunkstore.metrics import Ending
from chunkstore.objects import FileRange
from tests.live.rig import GUARD_S, Stage, payload

CHUNK_BYTES = 5000
CHUNKS = 60


class FileSource:
    """The whole payload in a file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self.is_committed = False
        self.read_bytes = 0

    def hold(self) -> None:
        """It stays anyway."""

    def let_go(self) -> None:
        """As before."""

    async def range(self, offset: int, limit_bytes: int) -> FileRange:
        """All that is asked for."""
        self.read_bytes += limit_bytes
        return FileRange(self._fd, offset, limit_bytes)

    async def read(self) -> bytes:
        """Nothing here is small."""
        raise AssertionError

    def close(self) -> None:
        """The file."""
        os.close(self._fd)


class Sink:
    """An outlet that takes so much at a time, without letting anybody else run."""

    raw = None

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.received = b""

    async def send_some(self, pieces: Sequence[Piece]) -> int:
        """Take a part of it."""
        data = b"".join(pieces)[: self._most_bytes]
        self.received += data
        return len(data)

    async def send_file(self, head: Piece, part: FileRange) -> int:
        """The same."""
        return await self.send_some([head, os.pread(part.fd, part.size, part.position)])

    async def watch(self) -> NoReturn:
        """Nobody leaves."""
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    def cut(self, ending: Ending) -> None:
        """Nobody is cut."""
        raise AssertionError(ending)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[FileSource]:
    """All that the test writes."""
    path = tmp_path / "payload"
    path.write_bytes(payload(0, CHUNKS * CHUNK_BYTES))
    source = FileSource(path)
    yield source
    source.close()


def unframed(data: bytes) -> bytes:
    """The payload of a chunked body, whose last chunk is there."""
    found, at = b"", 0
    while True:
        line, _, _ = data[at : at + 20].partition(b"\r\n")
        size, at = int(line, 16), at + len(line) + 2
        found, at = found + data[at : at + size], at + size
        assert data[at : at + 2] == b"\r\n"
        at += 2
        if not size:
            assert at == len(data)
            return found


@pytest.mark.parametrize("most_bytes", [700, 16_384, FIRST_BYTES])
@pytest.mark.parametrize("ahead", [CHUNK_BYTES, 3 * CHUNK_BYTES])
async def test_the_window_goes_on_between_any_two_sends(
    source: FileSource, most_bytes: int, ahead: int
) -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        generation, sink = upload.generation, Sink(most_bytes)
        for _ in range(CHUNKS):
            stage.append(upload, CHUNK_BYTES)
        generation.source, ring = source, generation.ring
        reader = LiveReader(
            stage.catalog.broadcast(generation), Visit(stage.catalog, generation), sink, b""
        )
        endings: list[Ending] = []

        async def follow() -> None:
            endings.append(await reader.follow())

        with trio.fail_after(GUARD_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                while reader.at.start < ring.end:
                    # Behind what it is about to send, if it gathered that before it let us run.
                    ring.trim(min(reader.at.start + ahead, ring.end))
                    stage.catalog.store.charge(generation)
                    await trio.lowlevel.checkpoint()
                upload.commit()
            stage.catalog.delete("/live")
        assert endings == [Ending.COMPLETE]
        assert source.read_bytes > 0
        assert unframed(sink.received) == payload(0, CHUNKS * CHUNK_BYTES)
