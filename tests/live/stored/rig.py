"""An origin with a store that does as it is told, and what it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.errors import StoreError
from chunkstore.testing import FaultyStore
from tests.origin.drive import GUARD_S, WALL_S, Answer, Site

__all__ = [
    "Later",
    "Life",
    "Wall",
    "fail",
    "later_delete",
    "later_put",
    "restarted",
    "shows",
    "work",
]

MINUTE = [{"match": "*", "ttl": "60s", "hold": "0s"}]


class Wall:
    """Unix time, which goes as the test's clock does."""

    @staticmethod
    def time() -> float:
        """Seconds since 1970."""
        return WALL_S + trio.current_time()


class Life(Site):
    """An origin that can be stopped before the test ends.

    Attributes:
        home: where it runs, and another one can be begun.
        store: what it has behind it.
    """

    home: trio.Nursery
    store: FaultyStore
    _ended: trio.Event

    @classmethod
    async def begin(cls, home: trio.Nursery, store: FaultyStore) -> Life:
        """Start one, where objects live for a minute."""
        life: Life = await home.start(cls._run, home, store)
        return life

    @classmethod
    async def _run(
        cls, home: trio.Nursery, store: FaultyStore, *, task_status: trio.TaskStatus[Life]
    ) -> None:
        ended = trio.Event()
        async with trio.open_nursery() as nursery:
            life = await cls.open(nursery, disk=store, policies=MINUTE)
            assert isinstance(life, Life)
            life.home, life.store, life._ended = home, store, ended
            task_status.started(life)
        ended.set()

    async def end(self) -> None:
        """Stop it, whatever is under way."""
        self.nursery.cancel_scope.cancel()
        await self._ended.wait()


def fail(store: FaultyStore, kind: str, error: StoreError, *, after: int = 0) -> None:
    """From now on, but for the first few, all of a kind fail."""
    left = iter(range(after))

    def before(what: str, _: str) -> None:
        if what == kind and next(left, None) is None:
            raise error

    store.before = before


def work(store: FaultyStore) -> None:
    """Nothing fails any more."""
    store.before = lambda kind, key: None


class Later:
    """An answer that is waited for while other things happen."""

    def __init__(self, nursery: trio.Nursery, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._answer: Answer | None = None
        self._came = trio.Event()
        self._ask = ask
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        self._answer = await self._ask()
        self._came.set()

    async def get(self) -> Answer:
        """Wait for it."""
        with trio.fail_after(GUARD_S):
            await self._came.wait()
        assert self._answer is not None
        return self._answer

    @property
    def is_there(self) -> bool:
        """It came."""
        return self._came.is_set()


async def later_put(site: Site, target: str, body: bytes, *lines: str) -> Later:
    """A PUT that has gone as far as it can."""
    later = Later(site.nursery, lambda: site.put(target, body, *lines))
    await wait_all_tasks_blocked()
    return later


async def later_delete(site: Site, target: str) -> Later:
    """A DELETE that has gone as far as it can."""
    later = Later(site.nursery, lambda: site.ask("DELETE", target))
    await wait_all_tasks_blocked()
    return later


async def shows(site: Site, target: str) -> bytes | None:
    """The bytes that a name has, in all that says so; None: it has nothing."""
    head, got = await site.ask("HEAD", target), await site.get(target)
    assert head.status == got.status
    assert (target in await site.list()) == (got.status == 200)
    prefixes = await site.list("/?delimiter=/")
    folder = target[: target.index("/", 1) + 1]
    assert (folder in prefixes) == (got.status == 200)
    if got.status == 404:
        return None
    assert got.is_whole
    assert head.etag == got.etag
    return got.body


async def restarted(site: Life) -> Life:
    """Another origin on the same store, once this one was stopped as by a signal."""
    await site.end()
    return await Life.begin(site.home, site.store)
