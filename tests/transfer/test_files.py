"""Folders and the names of what is in them; files that show only when they are whole."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import PathError
from chunkstore.paths import parse_key
from chunkstore.transfer import FileSink, StreamSink, for_each, path_below, walk


def test_walking_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("b/c/d", "a", ".hidden", ".git/x", "b-"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (tmp_path / "outside").write_text("secret")
    (root / "in").symlink_to("b/c/d")
    (root / "out").symlink_to("../outside")
    (root / "loop").symlink_to(".")
    (root / "dead").symlink_to("none")
    os.mkfifo(root / "pipe")
    found = list(walk(root))
    assert [one.name for one in found if not one.why_not] == ["a", "b/c/d", "b-", "in"]
    left_out = {one.name: one.why_not for one in found if one.why_not}
    assert left_out == {
        "out": "a link that leads out of the folder",
        "loop": "a link that leads to no file",
        "dead": "a link that leads to no file",
        "pipe": "neither a file nor a folder",
    }
    hidden = {one.name for one in walk(root, hidden=True)} - {one.name for one in found}
    assert hidden == {".hidden", ".git/x"}


def test_folders_may_lie_deeper_than_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(200):
        os.mkdir("a")
        os.chdir("a")
    Path("b").write_text("x")
    os.chdir(tmp_path)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        found = list(walk(Path()))
    finally:
        sys.setrecursionlimit(limit)
    assert [(one.name[-4:], one.why_not) for one in found] == [("/a/b", "")]


def test_a_folder_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    [found] = walk(tmp_path / "none")
    assert found.is_fault
    assert found.why_not == "No such file or directory"


@pytest.mark.parametrize(
    ("base", "name", "path"),
    [
        ("/", "a", "/a"),
        ("/v", "a/b", "/v/a/b"),
        ("/v%20w/", "é ?#%.txt", "/v%20w/%C3%A9%20%3F%23%25.txt"),
    ],
)
def test_paths_below_a_place(base: str, name: str, path: str) -> None:
    assert path_below(base, name) == path


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1))
def test_any_file_name_is_a_key_or_an_error(name: str) -> None:
    try:
        path = path_below("/v/", name)
    except PathError:
        return
    assert parse_key(path) == "/v/" + name


def test_a_name_that_is_not_utf_8_is_said() -> None:
    with pytest.raises(PathError, match="must be valid UTF-8"):
        path_below("/", os.fsdecode(b"\xff"))


async def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    link = tmp_path / "link"
    link.symlink_to("a")
    sink = FileSink(link)
    await sink.write(b"wrong")
    sink.restart()
    await sink.write(b"ab")
    await sink.write(b"c")
    assert (path.read_text(), sink.part.read_text()) == ("old", "abc")
    with pytest.raises(OSError, match="is being written by another process"):
        FileSink(path)
    sink.finish()
    assert sink.leave() == 0
    assert path.read_text() == "abc"
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["a", "link"]


@pytest.mark.parametrize("data", [b"", b"abc"])
async def test_what_came_of_a_file_stays_beside_it(data: bytes, tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "a")
    await sink.write(data)
    assert sink.leave() == len(data)
    assert os.listdir(tmp_path) == (["a.part"] if data else [])
    again = FileSink(tmp_path / "a")
    again.finish()
    assert (tmp_path / "a").read_bytes() == b""


def test_what_has_the_name_of_a_part_and_is_no_file_is_left_alone(tmp_path: Path) -> None:
    """Whoever may write there could have another file emptied, or the loop wait for ever."""
    part, other = tmp_path / "a.part", tmp_path / "other"
    other.write_text("precious")
    part.symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        FileSink(tmp_path / "a")
    assert other.read_text() == "precious"
    part.unlink()
    os.mkfifo(part)
    reading = os.open(part, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="is no regular file"):
            FileSink(tmp_path / "a")
    finally:
        os.close(reading)
    with pytest.raises(OSError, match="No such device"):
        FileSink(tmp_path / "a")
    assert part.is_fifo()


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_stream_takes_all_and_cannot_begin_anew(is_blocking: bool) -> None:
    async def main() -> bytes:
        reading, writing = os.pipe()
        os.set_blocking(writing, is_blocking)  # as others that share it may
        sink = StreamSink(writing)
        assert not sink.can_restart
        async with trio.lowlevel.FdStream(reading) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sink.write, b"x" * 1_000_000)
                got = b""
                while len(got) < 1_000_000:
                    got += await stream.receive_some()
        with pytest.raises(BrokenPipeError):
            await sink.write(b"x")
        os.close(writing)
        return got

    assert trio.run(main) == b"x" * 1_000_000  # with a thread: not on a clock that jumps
    with pytest.raises(TypeError):
        StreamSink(1).restart()


async def test_several_at_a_time_and_each_once() -> None:
    items, done, busy = list(range(20)), [], 0

    async def next_item() -> int | None:
        await trio.lowlevel.checkpoint()
        return items.pop(0) if items else None

    async def work(worker: str, item: int) -> None:
        nonlocal busy
        busy += 1
        assert busy <= 3
        await trio.sleep(1)
        done.append(item)
        busy -= 1

    await for_each(next_item, work, ["a", "b", "c"])
    assert sorted(done) == list(range(20))


async def test_the_first_failure_ends_all_without_a_group() -> None:
    async def next_item() -> int:
        return 1

    async def work(worker: int, item: int) -> None:
        await trio.sleep(worker)
        raise OSError(worker)

    with pytest.raises(OSError, match="1"):
        await for_each(next_item, work, [3, 1, 2])
