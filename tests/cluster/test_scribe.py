"""The metadata's thread: changes in order, many in one transaction, none lost at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from chunkstore.cluster.meta import Meta
from chunkstore.cluster.scribe import BATCH_COUNT, Scribe
from chunkstore.cluster.sqlite import SqliteMeta
from chunkstore.errors import DiskError, StaleError


class Counted(SqliteMeta):
    """Counts what comes together, and can fail."""

    sizes: list[int]
    fails = False

    def batch(
        self, changes: Sequence[Callable[[Meta], Any]], *, is_lasting: bool = True
    ) -> list[Any]:
        """As the real one."""
        self.sizes.append(len(changes))
        if self.fails:
            raise DiskError("gone")
        return super().batch(changes, is_lasting=is_lasting)


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[Counted]:
    """An empty one."""
    made = Counted(tmp_path / "meta.sqlite")
    made.sizes = []
    yield made
    made.close()


def stale(_: Meta) -> int:
    """Refused."""
    raise StaleError("so")


async def test_what_waits_goes_together_in_order(meta: Counted, nursery: trio.Nursery) -> None:
    scribe, told = Scribe(meta), list[tuple[int | None, str]]()
    for _ in range(BATCH_COUNT + 3):
        scribe.put(lambda m: m.reserve(1), lambda n, error: told.append((n, str(error))))
    scribe.put(stale, lambda n, error: told.append((n, str(error))))
    await nursery.start(scribe.run)
    assert await scribe.ask(lambda m: m.reserve(1)) == BATCH_COUNT + 4
    numbers = [(n, "None") for n in range(1, BATCH_COUNT + 4)]
    assert told == [*numbers, (None, "so")]
    assert meta.sizes[0] == BATCH_COUNT
    assert len(meta.sizes) <= 3
    with pytest.raises(StaleError):
        await scribe.ask(stale)


async def test_what_was_put_is_made_before_the_end(meta: Counted) -> None:
    scribe, told = Scribe(meta), list[int | None]()
    async with trio.open_nursery() as nursery:
        await nursery.start(scribe.run)
        for _ in range(2 * BATCH_COUNT):
            scribe.put(lambda m: m.reserve(1), lambda n, _: told.append(n))
        nursery.cancel_scope.cancel()
    assert told == list(range(1, 2 * BATCH_COUNT + 1))
    with trio.fail_after(5), pytest.raises(DiskError, match="closed"):  # nobody waits for ever
        await scribe.ask(lambda m: m.reserve(1))


async def test_a_disk_that_fails_is_told_to_each(meta: Counted, nursery: trio.Nursery) -> None:
    scribe = Scribe(meta)
    await nursery.start(scribe.run)
    meta.fails = True
    with pytest.raises(DiskError, match="gone"):
        await scribe.ask(lambda m: m.reserve(1))
    meta.fails = False
    assert await scribe.ask(lambda m: m.reserve(1)) == 1


async def test_who_is_cancelled_leaves_the_others(meta: Counted, nursery: trio.Nursery) -> None:
    scribe = Scribe(meta)
    with trio.move_on_after(0):
        await scribe.ask(lambda m: m.reserve(1))
    await nursery.start(scribe.run)
    assert await scribe.ask(lambda m: m.reserve(1)) == 2
