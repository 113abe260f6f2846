"""Copies of the metadata, as they come from nodes."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chunkstore.cluster.names import backup_path
from chunkstore.cluster.recover.copies import PIECE_BYTES, Copies
from tests.cluster.nodes import SIGNER, Nodes
from tests.origin.drive import WALL_S

CLUSTER = "c" * 32


async def inline(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
    """As if it were a thread."""
    return call()


async def fetched(nursery: trio.Nursery, folder: Path, packed: bytes) -> Path:
    """A copy, from the node that has it."""
    nodes = await Nodes.open(nursery, 1)
    path, to = backup_path(CLUSTER, 7), folder / "copy"
    field = SIGNER.field("PUT", path, now_s=WALL_S + trio.current_time(), length=len(packed))
    assert (await nodes.sites[1].put(path, packed, ": ".join(field))).status == 201
    async with nodes.links() as links:
        copies = Copies(links, folder, CLUSTER, lambda _: None, inline)
        await copies._fetch(1, path, to)
    return to


async def test_one_that_is_large_unpacked_takes_no_memory(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    whole = bytes(64 * PIECE_BYTES) + b"its end"
    packed = zlib.compress(whole)
    tracemalloc.start()
    try:
        to = await fetched(nursery, tmp_path, packed)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert to.read_bytes() == whole
    assert peak_bytes < 8 * PIECE_BYTES


@pytest.mark.parametrize("cut", [1, 4, 100])
async def test_one_that_is_cut_is_told_from_a_whole_one(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, cut: int
) -> None:
    with pytest.raises(zlib.error):
        await fetched(nursery, tmp_path, zlib.compress(bytes(3 * PIECE_BYTES))[:-cut])
