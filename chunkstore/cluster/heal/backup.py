"""A copy of the metadata on three nodes, made anew now and then.

It saves `chunkstore cluster recover` from asking every part what it is, and it knows what was
deleted. The copy before the newest is kept with it; older ones are taken from nodes that are up.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import trio

from chunkstore.client import expect
from chunkstore.cluster.database import disk_errors
from chunkstore.cluster.listing import list_page
from chunkstore.cluster.meta import Meta
from chunkstore.cluster.names import BACKUPS, backup_path, parse_backup
from chunkstore.errors import DiskError, FetchError

if TYPE_CHECKING:
    from chunkstore.cluster.store import ClusterStore

__all__ = ["COPIES", "Backup"]

COPIES = 3
"""Nodes that have the newest one."""
KEPT = 2
LOOK_S = 10.0
"""Whether a copy is due is looked at so often, for the first time behind so long a start."""
RETRY_S = 60.0
PIECE_BYTES = 1 << 20
LEVEL = 1
"""Of zlib: a third of the size, at 100 MB/s or more."""

_Held = tuple[int, int]
"""Number of a copy, and of a node that has it."""


class Backup:
    """Makes the copies.

    Args:
        store: whose nodes, links and threads it uses.
        meta: what is copied.
        folder: for files while they are on their way.
        every_s: how often, if something has changed.
        note: told in words when copies can't be made, and when they can again.
        wall_s: Unix time: copies are numbered by it.
    """

    def __init__(
        self,
        store: ClusterStore,
        meta: Meta,
        folder: Path,
        every_s: float,
        note: Callable[[str], None],
        *,
        wall_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._meta = meta
        self._file = folder / "backup.sqlite"
        self._packed = folder / "backup.sqlite.z"
        self._every_s = every_s
        self._note = note
        self._wall_s = wall_s
        self._next_s = 0.0
        self._registered: frozenset[int] = frozenset()
        self._holders: tuple[int, ...] = ()
        self._change_count = -1
        self._trouble = ""

    async def run(self) -> None:
        """Work until cancelled.

        Cancellation: what is being read or written in a thread is finished.
        """
        while True:
            await trio.sleep(LOOK_S)
            if self._is_due():
                await self._make()

    def _is_due(self) -> bool:
        fleet, now_s = self._store.fleet, trio.current_time()
        up_count = sum(map(fleet.is_up, fleet.numbers))
        if not up_count:
            return False
        if self._registered == frozenset(fleet.numbers) and now_s < self._next_s:
            return False
        held_count = sum(map(fleet.is_up, self._holders))
        if held_count < min(COPIES, up_count) or self._change_count != self._meta.change_count:
            return True
        self._next_s = now_s + self._every_s
        return False

    async def _make(self) -> None:
        fleet = self._store.fleet
        self._registered, change_count = frozenset(fleet.numbers), self._meta.change_count
        wanted = min(COPIES, len(self._registered))
        trouble = ""
        try:
            held = await self._held()
            number = max([int(1000 * self._wall_s()), *(one + 1 for one, _ in held)])
            size_bytes = await self._store.in_thread(self._pack)
            self._holders, trouble = await self._spread(number, size_bytes, wanted)
            if self._holders:
                self._change_count = change_count
                await self._clean(held, number)
        except DiskError as error:
            self._holders, trouble = (), str(error)
        finally:
            with trio.CancelScope(shield=True), suppress(DiskError):  # the next one makes room
                await self._store.in_thread(self._tidy)
        is_short = len(self._holders) < wanted
        self._say(trouble or "too few nodes are up and have room" if is_short else "", wanted)
        pause_s = min(self._every_s, RETRY_S) if is_short else self._every_s
        self._next_s = trio.current_time() + pause_s

    def _say(self, trouble: str, wanted: int) -> None:
        """Once a change: as long as it goes on it is no news."""
        if trouble and not self._trouble:
            count = len(self._holders)
            self._note(f"the metadata is copied to {count} of {wanted} nodes: {trouble}")
        elif self._trouble and not trouble:
            self._note(f"the metadata is copied to {wanted} nodes again")
        self._trouble = trouble

    # --- the file ------------------------------------------------------------------------------

    def _pack(self) -> int:
        """Make it, compressed; its size; blocking."""
        self._meta.backup(self._file)
        packer = zlib.compressobj(LEVEL)
        with disk_errors(self._packed):
            with (
                self._file.open("rb") as source,
                open(os.open(self._packed, _NEW, 0o600), "wb") as target,
            ):
                while data := source.read(PIECE_BYTES):
                    target.write(packer.compress(data))
                target.write(packer.flush())
            return self._packed.stat().st_size

    def _tidy(self) -> None:
        with disk_errors(self._file):
            self._file.unlink(missing_ok=True)
            self._packed.unlink(missing_ok=True)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Raises: DiskError: they can't be read."""
        in_thread = self._store.in_thread
        with disk_errors(self._packed):
            file: BinaryIO = await in_thread(lambda: self._packed.open("rb"))
        with file:
            while True:
                with disk_errors(self._packed):
                    data: bytes = await in_thread(partial(file.read, PIECE_BYTES))
                if not data:
                    return
                yield data

    # --- the nodes -----------------------------------------------------------------------------

    async def _held(self) -> list[_Held]:
        """The copies of this cluster, as far as nodes are up."""
        found: list[_Held] = []
        for node in filter(self._store.fleet.is_up, list(self._store.fleet.numbers)):
            try:
                page = await list_page(self._store.fetcher.links, node, BACKUPS)
            except FetchError:
                continue  # it is cleared another time
            for row in page.rows:
                copy = parse_backup(row.path)
                if copy is not None and copy[0] == self._meta.cluster_id:
                    found.append((copy[1], node))
        return found

    async def _spread(
        self, number: int, size_bytes: int, wanted: int
    ) -> tuple[tuple[int, ...], str]:
        """Put the file on so many nodes; who has it, and what went wrong with others."""
        path = backup_path(self._meta.cluster_id, number)
        holders: list[int] = []
        tried: set[int] = set()
        trouble = ""
        while missing := wanted - len(holders):
            nodes = self._store.fleet.place(missing, size_bytes, tried)
            if not nodes:
                break
            for node in nodes:
                tried.add(node)
                try:
                    async with self._store.fetcher.links.request(
                        node, "PUT", path, generation=None, body=self._pieces(), length=size_bytes
                    ) as answer:
                        await expect(answer, 200, 201)
                        await answer.body()
                    holders.append(node)
                except FetchError as error:
                    trouble = str(error)
        return tuple(holders), trouble

    async def _clean(self, held: Collection[_Held], newest: int) -> None:
        """Take away what is older than the copy before the newest."""
        kept = sorted({newest, *(number for number, _ in held)})[-KEPT:]
        for number, node in held:
            if number not in kept:
                path = backup_path(self._meta.cluster_id, number)
                try:
                    async with self._store.fetcher.links.request(
                        node, "DELETE", path, generation=None
                    ) as answer:
                        await expect(answer, 200, 204, 404)
                        await answer.body()
                except FetchError:
                    continue  # another time


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
