"""Carries out what a packager says: uploads that grow, playlists, removals, each on its connection.

An upload that grows has a connection of its own, so that one which broke holds nobody up. Playlists
have one that is kept, and so do removals. The stream waits for an answer in two cases: for that to
the init segment, and when more is under way than may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import trio

from bench.build import BenchError
from bench.studio.packager import Append, Begin, End, Publish, Remove, Step, Store
from bench.studio.upload import Link, LostError, Tally, Upload

__all__ = ["Packages", "Publisher", "carry", "publishing"]

UPLOADS: Final = 16
"""That have begun and not been answered; the next one waits, and the encoder with it."""
REMOVALS: Final = 64
"""That wait to be sent; likewise."""
_RECEIVE_BYTES: Final = 64 * 1024


class Publisher:
    """PUTs and DELETEs under a folder of an origin; made by `publishing`.

    Args:
        host: the origin's.
        port: the origin's, or that of a proxy in front of it.
        folder: path of the folder, with a slash at both ends.
        nursery: where the uploads run.

    Attributes:
        tally: what became of the uploads, up to now.
        removals: answers to DELETEs, by status; 0 for those that got none.
    """

    def __init__(self, host: str, port: int, folder: str, nursery: trio.Nursery) -> None:
        self.tally = Tally()
        self.removals: Counter[int] = Counter()
        self._host = host
        self._port = port
        self._folder = folder
        self._nursery = nursery
        self._slots = trio.CapacityLimiter(UPLOADS)
        self._growing: dict[str, Upload] = {}
        self._newest: dict[str, bytes] = {}  # versions that wait to be sent
        self._has_newer = trio.Event()
        self._to_remove, self._removed = trio.open_memory_channel[str](REMOVALS)
        self._is_over = False

    async def take(self, steps: Iterable[Step]) -> None:
        """Set steps going, in their order; waits for no answer but an init segment's.

        Raises:
            BenchError: an upload has grown larger than what is kept for retries.
        Cancellation: what came before the step that it waited for is under way.
        """
        for step in steps:
            if isinstance(step, Append):
                self._growing[step.name].append(step.data)
            elif isinstance(step, Publish):
                self._newest[step.name] = step.data
                self._has_newer.set()
            elif isinstance(step, Begin):
                upload = Upload(self._folder + step.name, self.tally)
                await self._slots.acquire_on_behalf_of(upload)
                self._growing[step.name] = upload
                self._nursery.start_soon(self._run, upload)
            elif isinstance(step, End):
                self._growing.pop(step.name).finish()
            elif isinstance(step, Store):
                async with Link(self._host, self._port) as link:
                    await self._put(link, step.name, step.data)
            else:
                assert isinstance(step, Remove)
                await self._to_remove.send(step.name)

    def close(self) -> None:
        """No more steps come; every upload that has begun must have its end."""
        assert not self._growing, f"not ended: {', '.join(self._growing)}"
        self._is_over = True
        self._has_newer.set()
        self._to_remove.close()

    async def run_lists(self) -> None:
        """Send versions, the newest alone where several wait, until it is over."""
        async with Link(self._host, self._port) as link:
            while True:
                while self._newest:
                    name = next(iter(self._newest))
                    await self._put(link, name, self._newest.pop(name))
                if self._is_over:
                    return
                await self._has_newer.wait()
                self._has_newer = trio.Event()

    async def run_removals(self) -> None:
        """Send removals until it is over. One that gets no answer isn't tried again."""
        async with Link(self._host, self._port) as link, self._removed:
            async for name in self._removed:
                try:
                    status = await link.exchange("DELETE", self._folder + name)
                except LostError:
                    status = 0
                self.removals[status] += 1

    async def _put(self, link: Link, name: str, data: bytes) -> None:
        upload = Upload(self._folder + name, self.tally, [data])
        upload.finish()
        await upload.run(link)

    async def _run(self, upload: Upload) -> None:
        try:
            async with Link(self._host, self._port) as link:
                await upload.run(link)
        finally:
            self._slots.release_on_behalf_of(upload)


@asynccontextmanager
async def publishing(host: str, port: int, folder: str) -> AsyncIterator[Publisher]:
    """A publisher for the length of the block, which ends when all is answered or given up.

    What comes to nothing is counted and raises nothing: the stream goes on, as an encoder's does.
    An error in the block cuts what is under way, so that no half segment passes for a whole one.
    """
    failure: BenchError | None = None
    async with trio.open_nursery() as nursery:
        publisher = Publisher(host, port, folder, nursery)
        nursery.start_soon(publisher.run_lists)
        nursery.start_soon(publisher.run_removals)
        try:
            yield publisher
        except BenchError as error:
            failure = error
            nursery.cancel_scope.cancel()
        else:
            publisher.close()
    if failure is not None:
        raise failure  # the one error itself, not a group around it


class Packages(Protocol):
    """What makes steps of a stream, as `Packager` does."""

    def feed(self, data: bytes | bytearray | memoryview) -> list[Step]:
        """The steps that some bytes are cause for."""
        ...

    def finish(self) -> list[Step]:
        """Those that the end is cause for."""
        ...


async def carry(source: trio.abc.ReceiveStream, packager: Packages, publisher: Publisher) -> None:
    """Package and publish a stream, such as ffmpeg's stdout, to its end.

    Raises:
        Mp4Error: as `Packager.feed`.
        StreamError: as `Packager.feed`.
    """
    while data := await source.receive_some(_RECEIVE_BYTES):
        await publisher.take(packager.feed(data))
    await publisher.take(packager.finish())
