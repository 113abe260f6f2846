"""What every store is held against: any calls, interleaved in any way, beside a naive model.

An example is a list of lives, each of them a list of commands for one run of the store. What a
store told decides what the model has: so the same commands hold for one that fails now and then.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import trio
import trio.testing
from hypothesis import strategies as st

from chunkstore.errors import DamagedError, DiskError, DiskFullError
from chunkstore.objects import FileRange, Source
from chunkstore.store import Incoming, Store
from chunkstore.testing import FaultyStore

__all__ = ["Command", "Open", "Stage", "lives", "payload", "tell"]

KEYS = ("/a", "/b/c", "/b/d.m4s", "/ü")
DEADLINE_S = 60.0
"""Nothing here takes a second; what takes this long hangs."""

Open = Callable[[], AbstractAsyncContextManager[Store]]
"""Starts the store of an example, once for each of its lives."""


class Command(NamedTuple):
    """What to do; what the numbers mean is the command's."""

    name: str
    which: int = 0
    number: int = 0


def lives(*, with_faults: bool) -> st.SearchStrategy[list[list[Command]]]:
    """Examples; one that makes no sense when its turn comes is skipped."""
    index, size = st.integers(0, 5), st.integers(1, 3000)
    key = st.integers(0, len(KEYS) - 1)
    kinds = [
        st.builds(Command, st.just("begin"), key),
        st.builds(Command, st.just("append"), index, size),
        st.builds(Command, st.just("append"), index, size),
        st.builds(Command, st.just("commit"), index),
        st.builds(Command, st.just("commit"), index),
        st.builds(Command, st.just("abandon"), index),
        st.builds(Command, st.just("put"), key, st.integers(0, 3000)),
        st.builds(Command, st.just("put"), key, st.integers(0, 3000)),
        st.builds(Command, st.just("delete"), key, st.integers(0, 1)),
        st.builds(Command, st.just("hold"), key),
        st.builds(Command, st.just("hold_open"), index),
        st.builds(Command, st.just("read"), index, st.integers(0, 9000)),
        st.builds(Command, st.just("let_go"), index),
        st.builds(Command, st.just("settle")),
    ]
    if with_faults:
        kinds.append(st.builds(Command, st.just("fail"), st.integers(0, len(FAULTS) - 1)))
        kinds += [st.builds(Command, st.just(name)) for name in ("pause", "resume")]
    return st.lists(st.lists(st.one_of(*kinds), min_size=10, max_size=50), min_size=1, max_size=3)


FAULTS: tuple[tuple[str, type[DiskError]] | None, ...] = (
    None,
    None,
    ("append", DiskFullError),
    ("append", DiskError),
    ("commit", DiskFullError),
    ("commit", DiskError),
    ("delete", DiskError),
)


def payload(generation: int, start: int, stop: int) -> bytes:
    """The bytes of an object: no two have the same anywhere."""
    words = range(start // 8, (stop + 7) // 8)
    whole = b"".join((generation << 40 | word).to_bytes(8, "big") for word in words)
    return whole[start % 8 :][: stop - start]


@dataclass(eq=False)
class Change:
    """A commit or delete that was asked for, and what was told of it: None for good."""

    key: str
    has: tuple[int, int, bytes] | None  # number, size, facts
    told: list[DiskError | None] = field(default_factory=list)
    done: trio.Event = field(default_factory=trio.Event)


class Reader:
    """Who holds a source, and what it must read there."""

    def __init__(self, source: Source, generation: int, size: Callable[[], int]) -> None:
        self.source = source
        self.generation = generation
        self._size = size
        self._size_seen = 0

    @property
    def size(self) -> int:
        """So much can be read; it never becomes less."""
        self._size_seen = max(self._size_seen, self._size())
        return self._size_seen

    async def read(self, start: int, stop: int) -> None:
        """A range comes in parts, each where its descriptor says, and each right."""
        while start < stop:
            part = await self.source.range(start, stop - start)
            if isinstance(part, FileRange):
                assert part.size <= stop - start
                found = os.pread(part.fd, part.size, part.position)
                assert len(found) == part.size
            else:
                found = bytes(part)
            assert 0 < len(found) <= stop - start
            assert found == payload(self.generation, start, start + len(found))
            start += len(found)


def tell(change: Change) -> Callable[[DiskError | None], None]:
    """For `on_done`: told once, and never again."""

    def told(error: DiskError | None) -> None:
        assert not change.told, "told twice"
        change.told.append(error)
        change.done.set()

    return told


class Stage:
    """A store through its lives, beside what it must have.

    Args:
        open_store: starts it.
        newest_only: it refuses to commit what was begun before what its name has.
    """

    def __init__(self, open_store: Open, *, newest_only: bool = False) -> None:
        self._open = open_store
        self._newest_only = newest_only
        self._has: dict[str, tuple[int, int, bytes]] = {}
        self._changes: list[Change] = []
        self._uploads: list[tuple[Incoming, str]] = []
        self._readers: list[Reader] = []
        self._highest = 0
        self._fault: tuple[str, type[DiskError]] | None = None

    async def run(self, todo: Iterable[Iterable[Command]]) -> None:
        """All lives; behind each, and at the end, it has what the model has."""
        with trio.fail_after(DEADLINE_S):
            for commands in todo:
                async with self._open() as self._store:
                    self._check(is_settled=True)
                    if isinstance(self._store, FaultyStore):
                        self._store.before = self._before
                    for command in commands:
                        await getattr(self, f"do_{command.name}")(command)
                        self._check(is_settled=False)
                    for index in reversed(range(len(self._readers))):
                        await self.do_read(Command("read", index))
                        await self.do_let_go(Command("let_go", index))
                await trio.testing.wait_all_tasks_blocked()
                self._settle()
                self._uploads.clear()
                self._fault = None
            async with self._open() as self._store:
                self._check(is_settled=True)
                for key in KEYS:
                    await self._read_whole(key)

    def _before(self, kind: str, _: str) -> None:
        if self._fault is not None and self._fault[0] == kind:
            raise self._fault[1]("as told")

    # --- judging -------------------------------------------------------------------------------

    def _settle(self) -> None:
        """What was told takes effect in the order of the calls."""
        for change in self._changes:
            [error] = change.told
            if self._is_stale(change):
                assert error is not None, "what began before what is there may not replace it"
                continue
            assert error is None or isinstance(self._store, FaultyStore), error
            if error is None and change.has is None:
                self._has.pop(change.key, None)
            elif error is None and change.has is not None:
                self._has[change.key] = change.has
        self._changes.clear()

    def _is_stale(self, change: Change) -> bool:
        before = self._has.get(change.key)
        is_older = change.has is not None and before is not None and change.has[0] < before[0]
        return self._newest_only and is_older

    def _check(self, *, is_settled: bool) -> None:
        """It shows what it must; while something is under way, what may come of it."""
        for key in KEYS:
            stored = self._store.stored(key)
            shown = (stored.generation, stored.size_bytes, stored.facts) if stored else None
            may = [self._has.get(key)]
            may += [one.has for one in self._changes if one.key == key and one.told in ([], [None])]
            assert shown in may, key
        if is_settled:
            listed = {key: (number, facts) for key, number, facts in self._store.objects()}
            assert listed == {key: (one[0], one[2]) for key, one in self._has.items()}

    async def _read_whole(self, key: str) -> None:
        if key not in self._has:
            return
        generation, size, _ = self._has[key]
        stored = self._store.stored(key)
        assert stored is not None
        digest = hashlib.sha256(payload(generation, 0, size)).digest()
        assert stored.sha256 in (None, digest)
        source = self._store.source(key, generation)
        assert source.is_committed
        source.hold()
        assert await source.read() == payload(generation, 0, size)
        await Reader(source, generation, lambda: size).read(0, size)
        source.let_go()

    # --- commands ------------------------------------------------------------------------------

    async def do_begin(self, command: Command) -> None:
        """Another upload."""
        key = KEYS[command.which]
        incoming = self._store.begin(key)
        assert incoming.generation > self._highest
        self._highest = incoming.generation
        self._uploads.append((incoming, key))

    async def do_append(self, command: Command) -> None:
        """A run, in one or two pieces; what was written can be read at once."""
        if command.which < len(self._uploads):
            incoming, _ = self._uploads[command.which]
            start = incoming.handed_bytes
            data = payload(incoming.generation, start, start + command.number)
            half = command.number // 2
            pieces = [memoryview(data)[:half], memoryview(data)[half:]]
            await incoming.append(pieces[not half :])
            assert incoming.handed_bytes == start + command.number
            assert incoming.written_bytes <= incoming.handed_bytes

    async def do_commit(self, command: Command) -> None:
        """The end of an upload."""
        if command.which < len(self._uploads):
            incoming, key = self._uploads.pop(command.which)
            size, facts = incoming.handed_bytes, b"facts of %d" % incoming.generation
            change = Change(key, (incoming.generation, size, facts))
            self._changes.append(change)
            must_fail = incoming.error is not None
            told = tell(change)

            def done(error: DiskError | None) -> None:
                assert error or (incoming.sha256 is not None) == incoming.has_digest
                told(error)

            incoming.commit(size, facts, done)
            if must_fail:
                await self._until_told()
                assert change.told != [None]

    async def do_put(self, command: Command) -> None:
        """A whole upload, which is not waited for."""
        await self.do_begin(command)
        index = len(self._uploads) - 1
        if command.number:
            await self.do_append(Command("append", index, command.number))
        await self.do_commit(Command("commit", index))

    async def do_abandon(self, command: Command) -> None:
        """An upload broke off."""
        if command.which < len(self._uploads):
            incoming, _ = self._uploads.pop(command.which)
            incoming.abandon()

    async def do_delete(self, command: Command) -> None:
        """A name goes, whether it is there or not; or soon."""
        change = Change(KEYS[command.which], None)
        self._changes.append(change)
        self._store.delete(change.key, tell(change), is_urgent=not command.number)

    async def do_hold(self, command: Command) -> None:
        """Somebody reads what a name has; if it goes just then, there is nothing to read."""
        key = KEYS[command.which]
        stored = self._store.stored(key)
        if stored is not None:
            source, size = self._store.source(key, stored.generation), stored.size_bytes
            with suppress(DamagedError):
                source.hold()
                self._readers.append(Reader(source, stored.generation, lambda: size))
                return
            assert self._changes, "it was there, and nobody has changed it"

    async def do_hold_open(self, command: Command) -> None:
        """Somebody reads what is being written."""
        if command.which < len(self._uploads):
            incoming, _ = self._uploads[command.which]
            incoming.source.hold()
            reader = Reader(incoming.source, incoming.generation, lambda: incoming.written_bytes)
            self._readers.append(reader)

    async def do_read(self, command: Command) -> None:
        """Any range of what is there by now, all of it if nothing was asked for."""
        if command.which < len(self._readers):
            reader = self._readers[command.which]
            start = command.number % (reader.size + 1)
            stop = reader.size if not command.number else min(start + command.number, reader.size)
            await reader.read(start, stop)

    async def do_let_go(self, command: Command) -> None:
        """A reader leaves."""
        if command.which < len(self._readers):
            self._readers.pop(command.which).source.let_go()

    async def do_fail(self, command: Command) -> None:
        """From now on, something fails."""
        self._fault = FAULTS[command.which]

    async def do_pause(self, _: Command) -> None:
        """From now on, nothing is done."""
        assert isinstance(self._store, FaultyStore)
        self._store.pause()

    async def do_resume(self, _: Command) -> None:
        """It is done now."""
        assert isinstance(self._store, FaultyStore)
        self._store.resume()

    async def do_settle(self, _: Command) -> None:
        """Wait until all was told; then it is there, byte for byte."""
        await self._until_told()
        self._settle()
        self._check(is_settled=True)
        for key in KEYS:
            await self._read_whole(key)

    async def _until_told(self) -> None:
        if isinstance(self._store, FaultyStore):
            self._store.resume()
        for change in self._changes:
            await change.done.wait()
