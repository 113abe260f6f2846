"""Copies of the metadata that nodes keep: the newest that is whole."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from chunkstore.client import expect
from chunkstore.cluster.database import disk_errors
from chunkstore.cluster.links import Links
from chunkstore.cluster.listing import list_page
from chunkstore.cluster.names import BACKUPS, backup_path, parse_backup
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.errors import DataDirError, DiskError, FetchError

__all__ = ["Copies"]

PIECE_BYTES = 1 << 20


class Copies:
    """Those of one cluster.

    Args:
        links: to the nodes.
        folder: where what is fetched is kept.
        cluster_id: whose.
        say: told which it is, and what is wrong with others.
        in_thread: calls what blocks, in a thread.
    """

    def __init__(
        self,
        links: Links,
        folder: Path,
        cluster_id: str,
        say: Callable[[str], None],
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        self._links = links
        self._folder = folder
        self._cluster_id = cluster_id
        self._say = say
        self._in_thread = in_thread

    async def newest(self, nodes: Sequence[int]) -> SqliteMeta | None:
        """The newest that can be had, which the caller closes; None: there is none.

        Args:
            nodes: who may have some.
        Raises:
            FetchError: a node doesn't say what it has.
        """
        kept: list[tuple[int, int]] = []
        for node in nodes:
            for row in (await list_page(self._links, node, BACKUPS)).rows:
                found = parse_backup(row.path)
                if found and found[0] == self._cluster_id and row.size_bytes is not None:
                    kept.append((found[1], node))
        for number, node in sorted(kept, reverse=True):
            path = self._folder / f"copy-{number}-{node}.sqlite"
            try:
                await self._fetch(node, backup_path(self._cluster_id, number), path)
                meta: SqliteMeta = await self._in_thread(partial(SqliteMeta, path))
            except (DataDirError, DiskError, FetchError, zlib.error) as error:
                self._say(f"a copy of the metadata, {number}, can't be used: {error}")
                continue
            if meta.cluster_id == self._cluster_id:
                self._say(f"a copy of the metadata was found: {number}")
                return meta
            meta.close()
        self._say("no copy of the metadata was found: each part has to say what it is")
        return None

    async def _fetch(self, node: int, path: str, to: Path) -> None:
        """Have a copy in a file, unpacked.

        Raises:
            zlib.error: it isn't whole.
        """
        unpacker = zlib.decompressobj()

        def append(data: bytes) -> None:
            with disk_errors(to), to.open("ab") as file:
                while data:  # in pieces: a little may be a lot, unpacked
                    file.write(unpacker.decompress(data, PIECE_BYTES))
                    data = unpacker.unconsumed_tail

        def finish() -> None:
            with disk_errors(to), to.open("ab") as file:
                file.write(unpacker.flush())

        async with self._links.request(node, "GET", path, generation=None) as answer:
            await expect(answer, 200)
            while data := await answer.some(PIECE_BYTES):
                await self._in_thread(partial(append, data))
        await self._in_thread(finish)
        if not unpacker.eof:
            raise zlib.error("it ends too soon")
