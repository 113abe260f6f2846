"""The digest of an object that was followed to its end, behind its last chunk."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest
from trio.testing import wait_all_tasks_blocked

from chunkstore.errors import DiskError
from chunkstore.live import Upload
from chunkstore.testing import FaultyStore, ReferenceStore
from tests.live.rig import Answer, Kind, Stage, framed, payload

KINDS: tuple[Kind, ...] = ("unix", "tcp", "stream")
SMALL_EDGES = pytest.mark.parametrize("small_edge", [0, 100], ids=["pump", "at once"])
WISH = "TE: trailers"


def trailer_of(data: bytes) -> bytes:
    """The field, as a line."""
    return b"Repr-Digest: sha-256=:%b:\r\n" % b64encode(hashlib.sha256(data).digest())


async def commit(upload: Upload) -> None:
    """As the server ends an upload; what the store does of it comes later."""
    await upload.hand_over(is_whole=True)
    upload.commit()
    await wait_all_tasks_blocked()


@SMALL_EDGES
async def test_those_who_asked_wait_for_it_and_the_others_do_not(small_edge: int) -> None:
    store = FaultyStore(ReferenceStore())
    async with Stage.open(small_edge=small_edge, store=store) as stage:
        upload = stage.begin("/live")
        stage.append(upload, 100)
        readers = [(await stage.follow("/live", kind), False) for kind in KINDS]
        for kind in KINDS:
            for line in (WISH, "te: deflate;q=0.5 , Trailers"):
                reader = stage.connect(kind)
                reader.ask("/live", line)
                readers.append((reader, True))
        await wait_all_tasks_blocked()
        stage.append(upload, 50)
        store.pause()
        await commit(upload)
        body = framed(payload(0, 150), [100, 150])
        for reader, is_told in readers:
            assert reader.received.endswith(b"\r\n0\r\n\r\n") != is_told
            assert b"\r\n\r\n" + body in reader.received  # the end alone is held back
        store.resume()
        await wait_all_tasks_blocked()
        for reader, is_told in readers:
            answer = await reader.answer()
            assert answer.is_whole
            assert answer.body == body
            assert answer.trailer == (trailer_of(payload(0, 150)) if is_told else b"")
            assert (b"\r\nTrailer: Repr-Digest\r\n" in answer.head + b"\r\n") == is_told
            reader.ask("/live", WISH)  # complete by now: it is in the head
            answer = await reader.answer()
            assert not answer.is_chunked
            assert trailer_of(payload(0, 150)).strip() in answer.head


@pytest.mark.parametrize("line", ["TE: gzip", "TE: trailers;q=1", "TE: xtrailers", "TE:"])
async def test_who_asks_for_something_else_gets_none(line: str) -> None:
    async with Stage.open(store=ReferenceStore()) as stage:
        upload = stage.begin("/live")
        stage.append(upload, 100)
        reader = stage.connect()
        reader.ask("/live", line)
        await wait_all_tasks_blocked()
        await commit(upload)
        answer = await reader.answer()
        assert answer.is_whole
        assert (answer.trailer, b"Trailer" in answer.head) == (b"", False)


async def test_without_a_store_that_computes_it_there_is_none() -> None:
    async with Stage.open() as stage:
        upload = stage.begin("/live")
        stage.append(upload, 100)
        reader = stage.connect()
        reader.ask("/live", WISH)
        await wait_all_tasks_blocked()
        await commit(upload)
        answer = await reader.answer()
        assert answer.is_whole
        assert (answer.trailer, b"Trailer" in answer.head) == (b"", False)


@SMALL_EDGES
async def test_a_commit_that_fails_leaves_them_without(small_edge: int) -> None:
    store = FaultyStore(ReferenceStore())
    async with Stage.open(small_edge=small_edge, store=store) as stage:
        upload = stage.begin("/live")
        stage.append(upload, 100)
        readers = [stage.connect(kind) for kind in KINDS]
        for reader in readers:
            reader.ask("/live", WISH)
        await wait_all_tasks_blocked()

        def before(kind: str, _: str) -> None:
            if kind == "commit":
                raise DiskError("no")

        store.before = before
        await commit(upload)
        for reader in readers:
            answer = await reader.answer()
            assert answer.is_whole  # as that of all who read it: its bytes were all there
            assert answer.trailer == b""


@SMALL_EDGES
@pytest.mark.parametrize("is_ended", [False, True], ids=["aborted", "deleted while it is due"])
async def test_what_is_cut_has_no_end(is_ended: bool, small_edge: int) -> None:
    store = FaultyStore(ReferenceStore())
    async with Stage.open(small_edge=small_edge, store=store) as stage:
        upload = stage.begin("/live")
        stage.append(upload, 100)
        readers = [stage.connect(kind) for kind in KINDS]
        for reader in readers:
            reader.ask("/live", WISH)
        await wait_all_tasks_blocked()
        store.pause()
        if is_ended:
            await commit(upload)
        stage.catalog.delete("/live")
        await wait_all_tasks_blocked()
        store.resume()
        for reader in readers:
            answer: Answer = await reader.answer()
            assert not answer.is_whole
            assert answer.body == framed(payload(0, 100), [100])


async def test_a_large_end_of_those_who_lag_is_whole() -> None:
    """A socket that takes a byte or two at a time: the trailer's rest isn't lost."""
    async with Stage.open(store=ReferenceStore()) as stage:
        upload = stage.begin("/live")
        for _ in range(20):
            stage.append(upload, 20_000)
        reader = stage.connect("unix", send_buffer=1)
        reader.pause()
        reader.ask("/live", WISH)
        await wait_all_tasks_blocked()
        await commit(upload)
        reader.resume()
        answer = await reader.answer()
        assert answer.body == framed(payload(0, 400_000), list(range(20_000, 400_001, 20_000)))
        assert answer.trailer == trailer_of(payload(0, 400_000))
