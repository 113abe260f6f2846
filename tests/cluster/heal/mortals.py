"""Nodes in memory that can be killed and lose all they have; what may be wrong with them; and what
a name may have while it isn't known which of several writes took effect."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio.testing import memory_stream_pair

from chunkstore.client import Url
from chunkstore.cluster.meta import Manifest
from chunkstore.cluster.names import Part
from chunkstore.errors import DiskError, DiskFullError
from chunkstore.server import Exchange, Handler, StreamTransport
from tests.cluster.nodes import Nodes, parts_of

__all__ = [
    "Mortals",
    "Name",
    "broken",
    "copy_meta",
    "full",
    "no_room",
    "restore_meta",
    "slow",
    "well",
]


class Mortals(Nodes):
    """Nodes that can be killed, with what they are doing."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self._lives: dict[int, set[trio.CancelScope]] = {}

    def kill(self, number: int) -> None:
        """It is gone, in the middle of whatever it does."""
        self.down.add(number)
        for life in self._lives.pop(number, ()):
            life.cancel()

    async def wipe(self, number: int) -> None:
        """It comes back with nothing, as another process."""
        count = len(self.sites)
        spare = await self.add(with_store=True)
        assert spare == count + 1
        self.sites[number] = self.sites.pop(spare)
        handlers = self.sites[number].origin.server._handlers
        assert isinstance(handlers, dict)
        for method, answer in list(handlers.items()):
            assert isinstance(answer, partial)
            handlers[method] = partial(self._answer, number, answer.args[1])

    async def right(self, manifest: Manifest, data: bytes) -> list[int]:
        """Parts that lie right on the disk where the manifest says."""
        wanted = parts_of(data, manifest.generation, 2, b"")
        right = []
        for index, node in enumerate(manifest.nodes):
            if node:
                found = await self.kept(node, Part(manifest.generation, index))
                if found is not None and len(found) == manifest.part_bytes:
                    if found.startswith(wanted[index]):
                        right.append(index)
        return right

    async def kept(self, node: int, part: Part) -> bytes | None:
        """A part as it lies on a disk, whatever is wrong with its node."""
        ill, self.mishaps[node] = self.mishaps.get(node), well
        is_stopped = node in self.stopped
        self.stopped.discard(node)
        try:
            return await self.content(node, part)
        finally:
            if is_stopped:
                self.stopped.add(node)
            self.mishaps.pop(node)
            if ill is not None:
                self.mishaps[node] = ill

    async def _connect(self, url: Url) -> trio.abc.Stream:
        number = int(url.host.removeprefix("node").removesuffix(".test"))
        await trio.lowlevel.checkpoint()
        if number in self.down:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = memory_stream_pair()
        life, lives = trio.CancelScope(), self._lives.setdefault(number, set())
        lives.add(life)
        transport = StreamTransport(theirs, "memory")
        serve = self.sites[number].origin.server.serve

        async def live() -> None:
            with life:
                await serve(transport)
            lives.discard(life)
            await trio.aclose_forcefully(theirs)

        self._nursery.start_soon(live)
        return ours


async def full(exchange: Exchange, handler: Handler) -> None:
    """It takes no part."""
    if exchange.request.method == "PUT":
        await exchange.refuse(507, "as told")
    else:
        await handler(exchange)


async def broken(exchange: Exchange, handler: Handler) -> None:
    """It fails at everything."""
    await exchange.refuse(500, "as told")


async def slow(exchange: Exchange, handler: Handler) -> None:
    """It is late with everything."""
    if exchange.request.method != "PUT":  # these nodes don't refuse late writes, as others do
        await trio.sleep(1.5)
    await handler(exchange)


def copy_meta(path: Path) -> None:
    """Keep the metadata as it is now."""
    for one in (path, path.with_name(path.name + "-wal")):
        if one.exists():
            shutil.copy(one, one.with_name("then-" + one.name))


def restore_meta(path: Path) -> None:
    """Have it be as it was then."""
    for name in (path.name, path.name + "-wal"):
        then = path.with_name("then-" + name)
        path.with_name(name).unlink(missing_ok=True)
        if then.exists():
            then.rename(path.with_name(name))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)


class Name:
    """What a key may have: all that was asked for, in order.

    Attributes:
        acked: what was acknowledged last.
        later: what was asked for since, and isn't known to have failed.
    """

    def __init__(self) -> None:
        self.acked: bytes | None = None
        self.later: list[tuple[int, bytes | None]] = []
        self._acked_at = 0
        self._count = 0

    def ask(self, data: bytes | None) -> int:
        """Something takes its turn."""
        self._count += 1
        self.later.append((self._count, data))
        return self._count

    def done(self, number: int, data: bytes | None, error: DiskError | None) -> None:
        """It was told what came of it."""
        self.later = [one for one in self.later if one[0] != number]
        if error is None and number > self._acked_at:
            self.acked, self._acked_at = data, number
            self.later = [one for one in self.later if one[0] > number]

    def is_possible(self, data: bytes | None) -> bool:
        """Whether that may be what it has."""
        return data == self.acked or any(data == one for _, one in self.later)

    def settle(self, data: bytes | None) -> None:
        """It has this, and nothing is under way any more."""
        self.acked, self.later, self._acked_at = data, [], self._count


def no_room(*_: object, **__: object) -> list[Any]:
    """In place of a batch of changes, on a full disk."""
    raise DiskFullError("as told")


async def well(exchange: Exchange, handler: Handler) -> None:
    """It does what it is asked."""
    await handler(exchange)
