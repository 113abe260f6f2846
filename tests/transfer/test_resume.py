"""What may be joined after a cut: decided by heads alone, and never wrong."""

from __future__ import annotations

import re

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.errors import ChunkstoreError, CutError, FetchError
from chunkstore.transfer import download
from chunkstore.transfer.resume import Resume, Step
from tests.client.peer import Peer, Stream
from tests.transfer.stage import MemorySink, retrying

TAG = {"etag": '"a"'}


def begun(data: bytes = b"abc", etag: str = '"a"') -> Resume:
    """An object of which some bytes came before a cut."""
    resume = Resume()
    assert resume.answered(200, {"etag": etag, "content-length": "10"}) is Step.TAKE
    assert resume.take(data) == data
    resume.cut()
    return resume


def test_it_asks_for_the_rest_and_for_what_is_still_to_come() -> None:
    assert Resume().fields() == []
    assert begun().fields() == [("Range", "bytes=3-9007199254740991"), ("If-Range", '"a"')]
    assert begun(b"").fields() == []
    for weak in ('W/"a"', ""):
        assert begun(etag=weak).fields() == []


@pytest.mark.parametrize(
    ("status", "fields", "step"),
    [
        (206, {"content-range": "bytes 3-9/10"}, Step.TAKE),
        (206, {"content-range": "bytes 3-9007199254740991/*"}, Step.TAKE),
        (206, {"content-range": "bytes 3-5/*"}, Step.TAKE),
        (206, {"content-range": "bytes 2-9/10"}, Step.REPEAT),
        (206, {"content-range": "bytes 4-9/10"}, Step.REPEAT),
        (206, {"content-range": "bytes 3-10/10"}, Step.REPEAT),
        (206, {"content-range": "bytes 3-2/10"}, Step.REPEAT),
        (206, {"content-range": "octets 3-9/10"}, Step.REPEAT),
        (206, {}, Step.REPEAT),
        (206, {"content-range": "bytes 3-9/10", "etag": '"b"'}, Step.REPEAT),
        (416, {"content-range": "bytes */3"}, Step.WHOLE),
        (416, {"content-range": "bytes */3", "etag": '"b"'}, Step.REPEAT),
        (416, {"content-range": "bytes */2"}, Step.REPEAT),
        (416, {}, Step.REPEAT),
        (200, {"etag": '"b"'}, Step.RESTART),
        (200, {}, Step.RESTART),
        (200, {"etag": '"a"'}, Step.TAKE),
        (404, {}, None),
        (304, {}, None),
    ],
)
def test_what_an_answer_means(status: int, fields: dict[str, str], step: Step | None) -> None:
    assert begun().answered(status, fields) is step
    if status in (206, 416):
        assert Resume().answered(status, fields) is None  # nobody asked for a part


def test_a_server_without_ranges_sends_it_all_again() -> None:
    resume = begun()
    assert resume.answered(200, {**TAG, "content-length": "10"}) is Step.TAKE
    assert [resume.take(b"ab"), resume.take(b"cde")] == [b"", b"de"]
    resume.cut()
    assert resume.offset == 5
    resume.answered(200, {**TAG, "content-length": "10"})
    resume.take(b"abc")
    resume.cut()
    assert resume.offset == 5  # what was there stays there
    with pytest.raises(FetchError, match="more bytes than its head says, 10"):
        resume.take(b"x" * 6)


def test_the_end_is_where_the_head_said() -> None:
    resume = begun()
    resume.answered(206, {"content-range": "bytes 3-5/10"})
    resume.take(b"de")
    with pytest.raises(CutError, match="ended at byte 5, not at 6"):
        resume.ended()
    resume.take(b"f")
    assert not resume.ended()
    resume.answered(206, {"content-range": "bytes 6-9/10"})
    resume.take(b"ghij")
    assert resume.ended()


class Model:
    """A server of one object that may change with each request, on connections that are cut.

    Args:
        plan: for each request, the version it meets, whether ranges are known, and after how many
            bytes of the answer the connection ends.
    """

    def __init__(self, versions: list[bytes], plan: list[tuple[int, bool, int]]) -> None:
        self._versions = versions
        self._plan = plan

    async def script(self, stream: Stream) -> None:
        """One connection."""
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            some = await stream.receive_some()
            if not some:
                return
            request += some
        version, knows_ranges, cut = self._plan.pop(0) if self._plan else (-1, True, 10**6)
        await stream.send_all(self._answer(request, version, knows_ranges)[:cut])

    def _answer(self, request: bytes, version: int, knows_ranges: bool) -> bytes:
        data = self._versions[version]
        etag = b'ETag: "%d"\r\n' % (version % len(self._versions))
        asked = re.search(rb'Range: bytes=(\d+)-\d+\r\nIf-Range: ("\d+")', request)
        if asked is None or not knows_ranges or asked[2] not in etag:
            return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (etag, len(data), data)
        first = int(asked[1])
        if first >= len(data):
            head = b"HTTP/1.1 416 x\r\n%bContent-Range: bytes */%d\r\nContent-Length: 0\r\n\r\n"
            return head % (etag, len(data))
        part = data[first:]
        where = b"Content-Range: bytes %d-%d/%d\r\n" % (first, len(data) - 1, len(data))
        head = b"HTTP/1.1 206 x\r\n%b%bContent-Length: %d\r\n\r\n"
        return head % (etag, where, len(part)) + part


@given(
    versions=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3),
    plan=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 160)), max_size=8),
    can_restart=st.booleans(),
)
def test_any_series_of_cuts_is_the_object_or_an_honest_failure(
    versions: list[bytes], plan: list[tuple[int, bool, int]], can_restart: bool
) -> None:
    plan = [(version % len(versions), *rest) for version, *rest in plan]  # type: ignore[misc]
    sink, planned = MemorySink(can_restart=can_restart), len(plan)

    async def main() -> None:
        model = Model(versions, plan)
        async with trio.open_nursery() as nursery:
            peer = Peer(nursery, *[model.script] * 20)
            async with peer.client() as client:
                try:
                    size = await download(client, "/a", sink, retrying())
                except ChunkstoreError:
                    assert any(one.startswith(sink.data) for one in versions), "bytes were mixed"
                    assert planned > 5 or not can_restart
                else:
                    assert sink.data in versions
                    assert size == len(sink.data)

    trio.run(main, clock=MockClock(autojump_threshold=0))
