"""What a file or a URL says is what a worker has, as it changes; a bad one changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.server import Exchange, Log, StreamTransport
from chunkstore.wire import field_block
from chunkstore.worker import DataChunk
from chunkstore.worker.assignment import FILE_POLL_S, PAUSE_MOST_S, Assignment, parse_assignment
from chunkstore.worker.descriptor import chunk_members
from tests.server.rig import serving
from tests.worker.face.conftest import OpenRig
from tests.worker.face.rig import DATASET, identifier, inline


def chunk(number: int) -> DataChunk:
    """One of many."""
    files = {"a": f"http://storage.test/{number}"}
    return DataChunk(identifier(number), DATASET, range(number, number + 1), files)


def text_of(chunks: Iterable[DataChunk]) -> str:
    """An assignment."""
    return json.dumps({"chunks": [chunk_members(one) for one in chunks]})


class Told:
    """What a manager would be told, and an operator."""

    def __init__(self, source: str, *, limit_bytes: int = 2**20, **others: Any) -> None:  # noqa: ANN401 - as Assignment has them
        self.sets: list[set[bytes]] = []
        self.notes: list[str] = []
        self.assignment = Assignment(
            source,
            self._desire,
            poll_s=10.0,
            limit_bytes=limit_bytes,
            note=self.notes.append,
            in_thread=inline,
            chance=lambda: 0.5,
            **others,
        )

    def _desire(self, chunks: Iterable[DataChunk]) -> None:
        self.sets.append({one.id for one in chunks})


def ids(*numbers: int) -> set[bytes]:
    """Of some chunks."""
    return {identifier(number) for number in numbers}


async def look() -> None:
    """Long enough for it to be seen."""
    await trio.sleep(FILE_POLL_S * 1.5)


# --- a file --------------------------------------------------------------------------------------


async def test_a_file_is_told_whenever_it_changes(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = tmp_path / "assignment.json"
    path.write_text(text_of(map(chunk, [1, 2])))
    told = Told(str(path))
    nursery.start_soon(told.assignment.run)
    await look()
    assert told.sets == [ids(1, 2)]
    await trio.sleep(100)
    assert len(told.sets) == 1, "what hasn't changed isn't told again"
    other = tmp_path / "other.json"
    other.write_text(text_of(map(chunk, [2, 3])))
    other.rename(path)
    await look()
    assert told.sets[1:] == [ids(2, 3)]
    path.write_text(text_of([]))
    await look()
    assert told.sets[2:] == [set()]
    os.utime(path)
    await look()
    assert len(told.sets) == 3
    assert told.assignment.count == 0
    assert told.notes == []


async def test_a_bad_file_keeps_the_last_good_one_and_is_said_once(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    path = tmp_path / "assignment.json"
    told = Told(str(path))
    nursery.start_soon(told.assignment.run)
    await trio.sleep(60)
    assert len(told.notes) == 1
    assert "No such file" in told.notes[0]
    assert "what is there stays" in told.notes[0]
    path.write_text(text_of([chunk(1)]))
    await look()
    assert told.sets == [ids(1)]
    path.write_text(text_of([chunk(1)]).replace(identifier(1).hex(), "77"))
    await trio.sleep(60)
    assert told.sets == [ids(1)]
    assert "chunks[0]: id: expected 32 bytes" in told.assignment.error
    assert [line for line in told.notes if "chunks[0]" in line] == told.notes[2:]
    assert "the last good one stays" in told.notes[2]
    assert told.assignment.count == 1
    path.write_text(text_of([chunk(2)]))
    await look()
    assert told.assignment.error == ""
    assert told.sets == [ids(1), ids(2)]
    path.unlink()
    await look()
    assert "No such file" in told.assignment.error
    assert len(told.sets) == 2


@pytest.mark.parametrize("kind", ["folder", "fifo", "large"])
async def test_what_is_no_file_or_too_large(
    tmp_path: Path, nursery: trio.Nursery, kind: str
) -> None:
    path = tmp_path / "assignment.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text(text_of(map(chunk, range(100))))
    told = Told(str(path), limit_bytes=1000)
    nursery.start_soon(told.assignment.run)
    await look()
    assert told.sets == []
    expected = "it has more than 1000 bytes" if kind == "large" else "it is no file"
    assert told.assignment.error == expected


# --- a URL ---------------------------------------------------------------------------------------


class Source:
    """A server of one assignment."""

    def __init__(self) -> None:
        self.text = text_of([chunk(1)])
        self.status = 200
        self.asked: list[tuple[float, str | None]] = []

    async def answer(self, exchange: Exchange) -> None:
        """As it is set."""
        known = exchange.request.fields.get("if-none-match")
        self.asked.append((trio.current_time(), known))
        etag = f'"{hash(self.text)}"'
        if self.status != 200:
            await exchange.refuse(self.status, "not now")
        elif known == etag:
            await exchange.respond(304, field_block([("ETag", etag)]))
        else:
            await exchange.respond(200, field_block([("ETag", etag)]), self.text.encode())


async def test_a_url_is_asked_for_and_tells_what_is_new(nursery: trio.Nursery) -> None:
    source = Source()
    async with serving(handlers={"GET": source.answer}) as server:

        async def connect(url: object) -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve, StreamTransport(theirs, "memory"))
            return ours

        url = "http://user:geheim@assigner.test/worker/1?signature=geheim"
        told = Told(url, connect=connect)
        nursery.start_soon(told.assignment.run)
        await trio.sleep(25)
        assert told.sets == [ids(1)]
        assert [known is None for _, known in source.asked] == [True, False, False]
        source.text = text_of(map(chunk, [1, 2]))
        await trio.sleep(10)
        assert told.sets == [ids(1), ids(1, 2)]

        source.status = 503
        await trio.sleep(3600)
        failed = [at_s for at_s, _ in source.asked[4:]]
        pauses = [b - a for a, b in zip(failed, failed[1:], strict=False)]
        assert pauses == sorted(pauses), "less and less often"
        assert pauses[-1] == pytest.approx(PAUSE_MOST_S / 2)
        assert len(told.notes) == 1
        assert "503" in told.notes[0]
        assert "geheim" not in told.notes[0] + told.assignment.source + told.assignment.error

        source.status, source.text = 200, text_of([]).replace("[]", "7")
        await trio.sleep(PAUSE_MOST_S)
        assert told.sets == [ids(1), ids(1, 2)]
        assert told.assignment.error == 'expected {"chunks": […]}'
        source.text = text_of([])
        await trio.sleep(10)
        assert told.sets[2:] == [set()]
        assert told.assignment.error == ""
        nursery.cancel_scope.cancel()


# --- the worker as a whole -----------------------------------------------------------------------


async def test_a_worker_has_what_its_assignment_says(open_rig: OpenRig, tmp_path: Path) -> None:
    path = tmp_path / "assignment.json"
    read, write = os.pipe()
    rig = await open_rig(assignment=str(path), log=Log("off", write))
    chunks = [rig.chunk(number, range(number, number + 1)) for number in range(4)]
    path.write_text(text_of(chunks[:3]))
    for one in chunks[:3]:
        await rig.until_state(one.id, "ready")
    path.write_text(text_of(chunks[2:]))
    await rig.until_state(chunks[3].id, "ready")
    assert {row["id"] for row in await rig.rows()} == {one.id.hex() for one in chunks[2:]}
    path.write_text("{")
    await look()
    status = (await rig.get("/status")).json
    assert status["assignment"]["source"] == str(path)
    assert status["assignment"]["chunks"] == 2
    assert "expected" in status["assignment"]["error"]
    assert status["troubles"] == [
        f"the assignment is not in force: {status['assignment']['error']}"
    ]
    ready = await rig.admin("/health/ready")
    assert ready.status == 200
    assert b"the assignment is not in force" in ready.body
    assert len(await rig.rows()) == 2
    os.close(read)
    os.close(write)


# --- the form ------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50), unique=True), st.sampled_from([None, 1, "\t"]))
def test_what_was_written_is_read(numbers: list[int], indent: int | str | None) -> None:
    chunks = list(map(chunk, numbers))
    text = json.dumps({"chunks": [chunk_members(one) for one in chunks]}, indent=indent)
    assert parse_assignment(text.encode()) == chunks


@given(st.data())
def test_anything_that_is_changed_is_an_error_or_another_assignment(data: st.DataObject) -> None:
    text = text_of(map(chunk, range(3)))
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from(["", "x", "[", "}", ",", '"', "\\", "\x00"]))
    changed += text[at + data.draw(st.integers(0, 2)) :]
    try:
        expected: object = json.loads(changed)
    except ValueError:
        with pytest.raises(ValueError, match="."):
            parse_assignment(changed.encode())
        return
    try:
        found = parse_assignment(changed.encode())
    except ValueError:
        return
    assert isinstance(expected, dict)
    assert [one.id.hex() for one in found] == [row["id"].lower() for row in expected["chunks"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected {"),
        ("[]", "expected {"),
        ('{"chunks": {}}', "expected {"),
        ('{"chunks": [], "more": 1}', "chunks[0]: Expecting value"),
        ('{"chunks": []} x', "expected {"),
        ('{"chunks": [1 2]}', "chunks[0]: expected an object"),
        ('{"chunks": [' + "[" * 100_000, "chunks[0]: it is nested too deeply"),
        (text_of([chunk(1), chunk(1)]), "chunks[1]: id: "),
        ('{"chunks": [{"id": 1, "id": 2}]}', "chunks[0]: 'id' is there twice"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_assignment(text.encode())
    assert words in str(caught.value)
