"""Takeover over real sockets: who is at the edge, who is behind, who comes by TLS."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from chunkstore.live import Upload
from chunkstore.objects import Abort
from chunkstore.policy import Policy
from chunkstore.testing import ReferenceStore
from tests.examples import examples
from tests.live.rig import Answer, Kind, Reader, Stage, framed, payload

KINDS: tuple[Kind, ...] = ("unix", "tcp", "stream")


def body_of(answer: Answer) -> bytes:
    """The payload of a chunked body."""
    data, rest = b"", answer.body
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line, 16)
        data, rest = data + rest[:size], rest[size + 2 :]
    return data


@pytest.mark.parametrize("small_edge", [0, 100])
async def test_all_at_the_edge_go_on(small_edge: int) -> None:
    """By the pump, and by the writer's task."""
    async with Stage.open(small_edge=small_edge) as stage:
        first = stage.begin("/live", Policy())
        stage.append(first, 100)
        readers = [await stage.follow("/live", kind) for kind in KINDS for _ in range(3)]
        first.abort(Abort.WRITER_GONE)
        second = stage.begin("/live", Policy())
        stage.append(second, 60)
        await wait_all_tasks_blocked()
        stage.append(second, 90)
        await wait_all_tasks_blocked()
        stage.append(second, 50)
        second.commit()
        for reader in readers:
            answer = await reader.answer()
            assert answer.is_whole
            # What it had, the rest of the chunk in which it came over, and the chunk behind that.
            assert answer.body == framed(payload(0, 200), [100, 150, 200])
            reader.ask("/live")
            assert len((await reader.answer()).body) == 200
        assert stage.origin.metrics.taken_over == len(readers)


async def test_who_is_behind_goes_on_where_its_frame_ends() -> None:
    async with Stage.open() as stage:
        first = stage.begin("/live", Policy())
        for _ in range(20):
            stage.append(first, 60_000)
        reader = stage.connect("unix", send_buffer=1)
        reader.pause()
        reader.ask("/live")
        await wait_all_tasks_blocked()
        second = stage.begin("/live", Policy())  # displaces the first; the reader is in mid-frame
        stage.append(second, 1_300_000)
        second.commit()
        reader.resume()
        answer = await reader.answer()
        assert answer.is_whole
        assert body_of(answer) == payload(0, 1_300_000)


async def test_who_is_behind_the_difference_goes_on_and_who_is_past_it_is_cut() -> None:
    async with Stage.open() as stage:
        first = stage.begin("/live", Policy())
        for _ in range(20):
            stage.append(first, 60_000)
        behind = stage.connect("unix", send_buffer=1)
        behind.pause()
        behind.ask("/live")
        ahead = await stage.follow("/live", "unix")
        await ahead.until(20 * 60_000)
        second = stage.begin("/live", Policy())
        stage.append(second, 1_000_000)
        other = b"other" * 50_000
        assert second.append([Run(other)], max_bytes=2**30) is None
        second.commit()
        answer = await ahead.answer()
        assert (answer.is_whole, ahead.ended) == (False, "eof")  # a Unix socket has no reset
        behind.resume()
        answer = await behind.answer()
        assert answer.is_whole
        assert body_of(answer) == payload(0, 1_000_000) + other


async def test_a_tcp_reader_that_is_lost_is_reset() -> None:
    async with Stage.open() as stage:
        first = stage.begin("/live", Policy())
        stage.append(first, 100)
        reader = await stage.follow("/live", "tcp")
        second = stage.begin("/live", Policy())
        assert second.append([Run(b"different")], max_bytes=2**30) is None
        answer = await reader.answer()
        assert (answer.is_whole, reader.ended) == (False, "reset")
        second.commit()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_who_leaves_during_the_grace_leaves_nothing(kind: Kind) -> None:
    async with Stage.open() as stage:
        first = stage.begin("/live", Policy())
        stage.append(first, 100)
        reader = await stage.follow("/live", kind)
        first.abort(Abort.WRITER_GONE)
        assert stage.catalog.has_superseded("/live")
        reader.leave()
        with trio.fail_after(0.5):  # long before the grace is over
            await wait_all_tasks_blocked(0.01)
        assert not stage.catalog.has_superseded("/live")
        assert stage.catalog.store.used_bytes == 0


class Run:
    """Some payload that isn't the usual one."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.chunk_end = True


SIZES = st.sampled_from([1, 30, 5000, 20_000, 70_000])
STEPS = st.one_of(
    st.tuples(st.just("append"), SIZES),
    st.tuples(st.just("append"), SIZES),
    st.tuples(st.just("join"), st.sampled_from(KINDS)),
    st.tuples(st.just("pause"), st.integers(0, 4)),
    st.tuples(st.just("resume"), st.integers(0, 4)),
    st.tuples(st.just("settle"), st.none()),
    st.tuples(st.just("retry"), st.sampled_from(["same", "same", "other"])),
)


class Play:
    """Uploads that are displaced again and again, and readers of every kind."""

    def __init__(self, stage: Stage, *, has_store: bool) -> None:
        self.stage = stage
        self.has_store = has_store
        self.readers: list[Reader] = []
        self.uploads: list[bytearray] = []
        self.fill = 0
        self.begin()

    def begin(self) -> None:
        """The next upload."""
        self.upload: Upload = self.stage.begin("/live", Policy())
        self.uploads.append(bytearray())

    def step(self, name: str, value: object) -> None:
        """One step; none lets anybody else run."""
        if name == "append":
            assert isinstance(value, int)
            at = len(self.uploads[-1])
            run = Run(payload(at + self.fill, value))
            self.uploads[-1] += run.data
            assert self.upload.append([run], max_bytes=2**30) is None
        elif name == "retry":
            self.fill += value == "other"  # from here on all bytes differ
            self.begin()
        elif name == "join":
            reader = self.stage.connect(cast(Kind, value), send_buffer=20_000)
            reader.ask("/live", *["TE: trailers"][: len(self.readers) % 2])
            self.readers.append(reader)
        elif self.readers and name in ("pause", "resume"):
            assert isinstance(value, int)
            getattr(self.readers[value % len(self.readers)], name)()

    async def check(self) -> None:
        """Each reader got one upload's bytes, and all of them if it was told that."""
        for reader in self.readers:
            reader.resume()
        whole = bytes(self.uploads[-1])
        await self.upload.hand_over(is_whole=True)
        self.upload.commit()
        for index, reader in enumerate(self.readers):
            answer = await reader.answer()
            if answer.status != 200:
                assert answer.status == 404
                continue
            body = body_of(answer) if answer.is_chunked else answer.body
            if answer.is_whole:
                assert body == whole
                is_told = index % 2 and answer.is_chunked and self.has_store
                assert answer.trailer == (digest_line(whole) if is_told else b"")
            else:
                assert any(upload.startswith(body) for upload in self.uploads)
        assert not self.stage.origin.metrics.endings["failed"]


def digest_line(whole: bytes) -> bytes:
    """What trailers say of it."""
    return b"Repr-Digest: sha-256=:%b:\r\n" % b64encode(hashlib.sha256(whole).digest())


@given(st.lists(STEPS, max_size=30), st.sampled_from([0, 2]), st.booleans())
@examples(60)
def test_any_schedule_of_retries(
    steps: list[tuple[str, object]], small_edge: int, has_store: bool
) -> None:
    async def main() -> None:
        store = ReferenceStore() if has_store else None  # which knows digests
        async with Stage.open(small_edge=small_edge, store=store) as stage:
            play = Play(stage, has_store=has_store)
            for name, value in steps:
                play.step(name, value)
                if name == "settle":
                    await wait_all_tasks_blocked()
            await play.check()

    trio.run(main)
