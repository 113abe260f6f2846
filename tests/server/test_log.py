"""The log: one line a request, in two forms or none, and never a reason to wait."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest
import trio

from chunkstore.server import Log, log
from tests.server.rig import GET, connect, dial, listen, serving


class Pipe:
    """Where a log writes to."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self._is_open = True

    def rest(self) -> list[str]:
        """All lines; nothing is written after it."""
        self.close_writing()
        with os.fdopen(os.dup(self.reading)) as file:
            return file.read().splitlines()

    def close_writing(self) -> None:
        """Close the writer's end."""
        if self._is_open:
            self._is_open = False
            os.close(self.writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe."""
    pipe = Pipe()
    yield pipe
    pipe.close_writing()
    os.close(pipe.reading)


BAD = b"GET /\x01 HTTP/1.1\r\n\r\n"


async def test_json_is_one_object_a_line(pipe: Pipe, nursery: trio.Nursery) -> None:
    async with serving(log=Log("json", pipe.writing)) as server:
        await dial(server, nursery).ask(GET)
        await dial(server, nursery).ask(BAD)
        await dial(server, nursery).ask(b"GET /fail HTTP/1.1\r\nHost: h\r\n\r\n")
    lines = [json.loads(line) for line in pipe.rest()]
    assert [(line.get("status"), line.get("ending")) for line in lines] == [
        (200, "complete"),
        (400, "refused"),
        (None, None),
        (500, "failed"),
    ]
    first = lines[0]
    assert (first["client"], first["method"], first["target"]) == ("memory", "GET", "/")
    assert first["bytes"] > 0
    assert 0 <= first["first_byte_ms"] <= first["total_ms"]
    assert first["generation"] == "-"
    assert lines[1]["why"]
    assert "Traceback" in lines[2]["note"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["time"]) for one in lines)


async def test_human_is_one_line_with_the_same(pipe: Pipe, nursery: trio.Nursery) -> None:
    async with serving(log=Log("human", pipe.writing)) as server:
        await dial(server, nursery).ask(GET)
        await dial(server, nursery).ask(BAD)
    lines = pipe.rest()
    assert len(lines) == 2
    assert re.fullmatch(r"\S+Z memory GET / 200 \d+ [\d.]+ [\d.]+ - complete", lines[0])
    assert re.fullmatch(r"\S+Z memory 400 refused .+", lines[1])


async def test_auto_is_human_on_a_terminal_and_json_elsewhere(
    pipe: Pipe, nursery: trio.Nursery
) -> None:
    async with serving(log=Log("auto", pipe.writing)) as server:
        await dial(server, nursery).ask(GET)
    [line] = pipe.rest()
    assert json.loads(line)["status"] == 200
    ours, theirs = os.openpty()
    try:
        async with serving(log=Log("auto", theirs)) as server:
            await dial(server, nursery).ask(GET)
        assert re.match(rb"\S+Z memory GET / 200 ", os.read(ours, 1000))
    finally:
        os.close(ours)
        os.close(theirs)


async def test_off_still_notes_what_an_operator_must_know(
    pipe: Pipe, nursery: trio.Nursery
) -> None:
    async with serving(log=Log("off", pipe.writing)) as server:
        await dial(server, nursery).ask(GET)
        await dial(server, nursery).ask(BAD)
        server.log.note("the disk is full")
    lines = pipe.rest()
    assert len(lines) == 1
    assert lines[0].endswith("Z the disk is full")


async def test_a_stalled_pipe_stops_nobody_and_what_is_dropped_is_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "LINES_MAX", 50)
    monkeypatch.setattr(log, "PAUSE_S", 0.0)
    os.set_blocking(pipe.writing, False)
    filled = 0
    try:
        while True:
            filled += os.write(pipe.writing, bytes(1024))
    except BlockingIOError:
        os.set_blocking(pipe.writing, True)
    listener = listen()
    async with serving(listener, log=Log("human", pipe.writing)) as server:
        peer = await connect(listener)
        with trio.fail_after(20):
            for _ in range(200):
                assert (await peer.ask(GET)).body == b"hello"
        assert len(server.log._lines) == 50
        dropped = server.log.dropped_count
        assert 0 < dropped <= 150
        with trio.fail_after(20):  # somebody reads at last
            while filled:
                filled -= len(await trio.to_thread.run_sync(os.read, pipe.reading, filled))
        await peer.ask(GET)
        await peer.stream.aclose()
    lines = pipe.rest()
    said = [found[1] for line in lines if (found := re.search(r"log: (\d+) lines dropped", line))]
    assert said  # once, or again if the last request came before the queue had room
    assert len(lines) - len(said) + sum(map(int, said)) == 201


async def test_a_server_with_a_stalled_pipe_ends(
    pipe: Pipe, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "LAST_LINES_S", 0.1)
    os.set_blocking(pipe.writing, False)
    try:
        while True:
            os.write(pipe.writing, bytes(1024))
    except BlockingIOError:
        os.set_blocking(pipe.writing, True)
    with trio.fail_after(10):
        async with serving(log=Log("human", pipe.writing)) as server:
            await dial(server, nursery).ask(GET)
    os.read(pipe.reading, 1 << 20)  # lets the abandoned thread go


async def test_a_pipe_that_nobody_reads_any_more_is_no_reason_to_stop(
    pipe: Pipe, nursery: trio.Nursery
) -> None:
    reading = pipe.reading
    pipe.reading = os.dup(pipe.writing)
    os.close(reading)
    async with serving(log=Log("human", pipe.writing)) as server:
        for _ in range(3):
            assert (await dial(server, nursery).ask(GET)).body == b"hello"
