"""The storage that misbehaves: well by itself, and as badly as it is told, over a real client."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chunkstore.client import Answer, Client, Timeouts, parse_url
from chunkstore.errors import CutError, FetchError, StalledError
from chunkstore.testing import Content, Fault, Storage

CONTENT = Content(seed=7, size_bytes=300_000)
RANGE = [("Range", "bytes=1000-")]


async def ask(fault: Fault | None, fields: Any = ()) -> tuple[Answer, bytes | Exception, Storage]:  # noqa: ANN401 - pairs
    """What comes of a request, and of its body."""
    storage = Storage()
    storage.put("/a", CONTENT)
    storage.trouble("/a", fault)
    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        timeouts = Timeouts(stall_s=30)
        async with Client(
            parse_url("http://storage.test/"), connect=storage.connect, timeouts=timeouts
        ) as client:
            answer = await client.request("GET", "/a", fields)
            try:
                body: bytes | Exception = await answer.body()
            except FetchError as error:
                body = error
        nursery.cancel_scope.cancel()
    return answer, body, storage


async def test_it_serves_files_and_ranges(autojump_clock: MockClock) -> None:
    answer, body, storage = await ask(None)
    assert (answer.status, body, answer.etag) == (200, CONTENT.data, CONTENT.etag)
    assert storage.sent_bytes("/a") == CONTENT.size_bytes
    answer, body, _ = await ask(None, RANGE)
    assert (answer.status, body) == (206, CONTENT.data[1000:])
    assert answer.fields["content-range"] == "bytes 1000-299999/300000"
    answer, body, _ = await ask(None, [("Range", "bytes=300000-")])
    assert (answer.status, body) == (416, b"")


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.BUSY, 503),
        (Fault.BROKEN, 500),
        (Fault.LOST, 404),
        (Fault.FORBIDDEN, 403),
        (Fault.CIRCLE, 302),
        (Fault.MOVED, 307),
        (Fault.ELSEWHERE, 301),
    ],
)
async def test_some_have_no_body(fault: Fault, status: int, autojump_clock: MockClock) -> None:
    answer, body, _ = await ask(fault)
    assert (answer.status, body) == (status, b"")
    assert ("location" in answer.fields) == (300 <= status < 400)


async def test_bodies_end_as_told(autojump_clock: MockClock) -> None:
    for fault, error in [(Fault.CUT, CutError), (Fault.STALL, StalledError)]:
        assert isinstance((await ask(fault))[1], error)
    assert isinstance((await ask(Fault.ENDLESS))[1], CutError)
    body = (await ask(Fault.SHORT))[1]
    assert isinstance(body, bytes)
    assert len(body) < CONTENT.size_bytes
    assert CONTENT.data.startswith(body)


async def test_lies_are_told(autojump_clock: MockClock) -> None:
    answer, body, _ = await ask(Fault.WHOLE, RANGE)
    assert (answer.status, body) == (200, CONTENT.data)
    answer, body, _ = await ask(Fault.SHIFTED, RANGE)
    assert (answer.status, body) == (206, CONTENT.data[999:])
    answer, body, _ = await ask(Fault.FLIP)
    assert answer.etag != CONTENT.etag
    assert body != CONTENT.data
    answer, body, _ = await ask(Fault.ROT)
    assert answer.etag == CONTENT.etag
    assert body != CONTENT.data
    assert (await ask(Fault.CODED))[0].fields["content-encoding"] == "gzip"
    assert (await ask(Fault.WEAK))[0].etag.startswith("W/")


async def test_slowness_takes_time(autojump_clock: MockClock) -> None:
    began_s = trio.current_time()
    assert (await ask(Fault.SLOW))[1] == CONTENT.data
    assert trio.current_time() - began_s == pytest.approx(0.5 * 5)


async def test_it_listens_on_sockets_too() -> None:
    storage = Storage()
    storage.put("/a", CONTENT)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            url = await storage.listen(nursery)
            async with Client(parse_url(url)) as client:
                answer = await client.request("GET", "/a")
                assert await answer.body() == CONTENT.data
            nursery.cancel_scope.cancel()
    assert storage.open_count == 0
