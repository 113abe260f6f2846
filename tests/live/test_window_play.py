"""A ring that is a window before a store: whoever falls out of it gets every byte all the same.

Each example is a list of commands for one upload and its readers, over real sockets with small
buffers; window, runs and gathered sends are so small that readers leave it and come back all the
time. Nobody may get a byte that isn't the object's, or a clean end of what wasn't complete.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from typing import NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from chunkstore.live import Upload, broadcast, shelf, spool
from chunkstore.live import reader as live_reader
from chunkstore.objects import Abort
from chunkstore.testing import FaultyStore, ReferenceStore
from tests.live.rig import Answer, Kind, Reader, Stage, payload

KEY = "/live"
RUN_BYTES = 300
WINDOW_BYTES = 500
CHUNK_BYTES = 3000
BLOCK_BYTES = 1 << 20
BUFFER_BYTES = 4096
VERY_LARGE = 2**53 - 1
SMALL = {
    (spool, "RUN_BYTES"): RUN_BYTES,
    (spool, "WINDOW_BYTES"): WINDOW_BYTES,
    (shelf, "KEPT_BYTES"): 2000,
    (live_reader, "FIRST_BYTES"): 700,
    (live_reader, "GATHER_BYTES"): 3000,
    (live_reader, "DISK_FRAME_BYTES"): 900,
    (broadcast, "PUSH_BYTES"): 400,
}


class Command(NamedTuple):
    """What to do; what the numbers mean is the command's."""

    name: str
    which: int = 0
    number: int = 0


def commands() -> st.SearchStrategy[list[Command]]:
    """One that makes no sense when its turn comes is skipped."""
    which, size = st.integers(0, 4), st.integers(1, CHUNK_BYTES)
    often = [
        st.builds(Command, st.just("append"), st.integers(0, 1), size),
        st.builds(Command, st.just("append"), st.just(1), st.integers(1500, CHUNK_BYTES)),
        st.builds(Command, st.just("burst"), st.integers(2, 9), size),
        st.builds(Command, st.just("toggle"), which),
    ]
    others = [
        st.builds(Command, st.just("join"), which, st.just(0) | st.integers(0, 60_000)),
        st.builds(Command, st.just("leave"), which),
        st.builds(Command, st.just("settle")),
        st.builds(Command, st.sampled_from(["pause", "resume"])),
    ]
    return st.lists(st.one_of(*often, *often, *others), min_size=10, max_size=60)


class Watcher(NamedTuple):
    """A reader, where it began, and whether it asked for trailers."""

    reader: Reader
    start: int
    is_told: bool


class Play:
    """Runs commands.

    Args:
        stage: has the origin.
        store: is behind it.
    """

    def __init__(self, stage: Stage, store: FaultyStore) -> None:
        self._stage = stage
        self._store = store
        self._upload: Upload = stage.begin(KEY)
        self._watchers: list[Watcher] = []
        self._is_paused = False

    @property
    def size(self) -> int:
        """Bytes of the object so far."""
        return self._upload.generation.ring.size_bytes

    async def run(self, todo: Iterable[Command], ending: str) -> None:
        """All of them, and then an end; everybody gets what is theirs."""
        await self.do_append(Command("append", 1, 1))
        await self.do_join(Command("join"))
        for command in todo:
            await getattr(self, f"do_{command.name}")(command)
        is_whole = await getattr(self, f"end_{ending}")()
        for watcher in self._watchers:
            watcher.reader.resume()
        for watcher in self._watchers:
            if watcher.reader.ended != "left":
                answer = await watcher.reader.answer()
                self._judge(answer, watcher.start, is_whole=is_whole)
                if is_whole:
                    self._judge_digest(answer, is_told=watcher.is_told)

    def _judge_digest(self, answer: Answer, *, is_told: bool) -> None:
        whole = payload(0, self.size)
        field = b"Repr-Digest: sha-256=:%b:" % b64encode(hashlib.sha256(whole).digest())
        assert (b"Trailer: Repr-Digest" in answer.head) == (is_told and answer.is_chunked)
        if answer.is_chunked:
            assert answer.trailer == (field + b"\r\n" if is_told else b"")

    def _judge(self, answer: Answer, start: int, *, is_whole: bool) -> None:
        assert answer.is_whole or not is_whole
        if answer.is_whole and answer.is_chunked:
            assert is_whole
        found = deframed(answer.body) if answer.is_chunked else answer.body
        expected = payload(start, self.size - start)
        assert found == expected if answer.is_whole else expected.startswith(found)

    # --- endings -------------------------------------------------------------------------------

    async def end_commit(self) -> bool:
        """It becomes complete; the store may be late with that, and with the digest."""
        await self._upload.hand_over(is_whole=True)
        self._upload.commit()
        await wait_all_tasks_blocked()
        self._store.resume()
        assert await self._upload.stored() is None
        return True

    async def end_abort(self) -> bool:
        """Its writer is gone."""
        self._upload.abort(Abort.WRITER_GONE)
        self._store.resume()
        return False

    async def end_delete(self) -> bool:
        """Somebody takes it away."""
        self._stage.catalog.delete(KEY)
        self._store.resume()
        return False

    # --- commands ------------------------------------------------------------------------------

    async def do_append(self, command: Command) -> None:
        """Bytes come, and go to the store as the server has them do."""
        self._stage.append(self._upload, command.number, chunk_end=bool(command.which))
        if self._upload.publish_at_s is not None:
            self._upload.publish()
        if self._upload.has_run:
            await self._upload.hand_over()

    async def do_burst(self, command: Command) -> None:
        """Several at once, with readers between them as chance has it."""
        for _ in range(command.which):
            await self.do_append(Command("append", 1, command.number))
            await trio.lowlevel.checkpoint()

    async def do_join(self, command: Command) -> None:
        """Another reader, from any byte that is there."""
        kinds: list[Kind] = ["unix", "stream", "tcp"]
        start = command.number % self._upload.generation.ring.end
        if len(self._watchers) < 5:
            kind = kinds[command.which % 3]
            reader = self._stage.connect(kind, send_buffer=BUFFER_BYTES)
            lines = [f"Range: bytes={start}-{VERY_LARGE}"] if start else []
            is_told = len(self._watchers) % 2 == 0
            reader.ask(KEY, *lines, *["TE: trailers"][:is_told])
            self._watchers.append(Watcher(reader, start, is_told))
            await reader.until(1)

    async def do_toggle(self, command: Command) -> None:
        """A reader stops, or goes on."""
        if command.which < len(self._watchers):
            reader = self._watchers[command.which].reader
            reader.pause() if reader.is_reading else reader.resume()

    async def do_leave(self, command: Command) -> None:
        """A reader is gone."""
        if command.which < len(self._watchers):
            self._watchers[command.which].reader.leave()

    async def do_pause(self, _: Command) -> None:
        """The store takes its time; the window can't move meanwhile."""
        self._store.pause()
        self._is_paused = True

    async def do_resume(self, _: Command) -> None:
        """It goes on."""
        self._store.resume()
        self._is_paused = False

    async def do_settle(self, _: Command) -> None:
        """All that can happen has: the ring is no larger than its window, in what it holds, too."""
        await wait_all_tasks_blocked()
        if not self._is_paused:
            ring = self._upload.generation.ring
            bound = WINDOW_BYTES + RUN_BYTES + CHUNK_BYTES
            assert ring.size_bytes - ring.base <= bound
            assert sum(map(len, ring._blocks)) <= bound + 2 * BLOCK_BYTES
            assert self._stage.catalog.store.used_bytes <= bound + 128 * len(ring.ends)


def deframed(body: bytes) -> bytes:
    """The payload of whole frames, and of a last one that was cut."""
    found, position = b"", 0
    while (stop := body.find(b"\r\n", position)) >= 0:
        size = int(body[position:stop], 16)
        found += body[stop + 2 : stop + 2 + size]
        position = stop + 2 + size
        assert body[position : position + 2] in (b"\r\n", b"\r", b"")
        position += 2
    return found


@pytest.mark.parametrize("ending", ["commit", "abort", "delete"])
@pytest.mark.parametrize("small_edge", [0, 8], ids=["pump", "at once"])
def test_every_reader_gets_every_byte(small_edge: int, ending: str) -> None:
    async def play(todo: list[Command]) -> None:
        store = FaultyStore(ReferenceStore())
        async with Stage.open(small_edge=small_edge, store=store) as stage:
            await Play(stage, store).run(todo, ending)

    @given(commands())
    def test(todo: list[Command]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for (module, name), value in SMALL.items():
                patch.setattr(module, name, value)
            trio.run(play, todo)

    test()
