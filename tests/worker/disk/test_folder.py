"""A folder of chunks: whose it is, what a start finds, and what a failure leaves."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chunkstore.errors import DataDirError
from chunkstore.store.disk.datadir import DataDir
from chunkstore.worker.core.chunk import DataChunk
from chunkstore.worker.core.generation import Found
from chunkstore.worker.core.names import DOOMED, ChunkName, wanted_name
from chunkstore.worker.descriptor import Descriptor, FileFacts
from chunkstore.worker.disk.folder import ChunkFolder
from tests.worker.flaky import FlakyFiles

CHUNK = DataChunk(b"c" * 32, b"d" * 32, range(5, 9), {"a": "http://x/a"})
FACTS = FileFacts("http://x/a", 3, b"s" * 32, "computed", "")
DESCRIPTOR = Descriptor(CHUNK, {"a": FACTS})


def named(number: int, chunk: DataChunk = CHUNK) -> ChunkName:
    """A generation of the chunk."""
    blocks = chunk.block_range
    return ChunkName(blocks.start, blocks.stop, chunk.id, number, chunk.identity)


def published(folder: ChunkFolder, number: int) -> Path:
    """A whole chunk."""
    (folder.incoming(named(number)) / "a").write_bytes(b"abc")
    return folder.publish(named(number), DESCRIPTOR)


def tree(path: Path) -> list[tuple[str, bytes]]:
    """All there is."""
    return sorted(
        (str(one.relative_to(path)), one.read_bytes() if one.is_file() else b"")
        for one in path.rglob("*")
    )


def refused(path: Path) -> str:
    """Why a folder can't be used; nothing in it is touched."""
    before = tree(path) if path.is_dir() else None
    with pytest.raises(DataDirError) as error:
        ChunkFolder(path)
    assert before == (tree(path) if path.is_dir() else None)
    assert error.value.folder == path
    return error.value.detail


# --- whose it is -------------------------------------------------------------------------------


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    assert refused(tmp_path / "x") == "Not a directory"
    assert refused(tmp_path / "x" / "y") == "Not a directory"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert refused(tmp_path) == "not empty, and no folder of chunks: it has 'photos'"


def test_the_data_dir_of_a_server_is_left_alone(tmp_path: Path) -> None:
    DataDir(tmp_path).close()
    assert "no folder of chunks" in refused(tmp_path)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b'{"format": 2}', "its format is 2, and this program knows 1"),
        (b"[]", "its format is None, and this program knows 1"),
        (b"\xff", "chunkstore-worker.json is damaged"),
        (b"", "chunkstore-worker.json is damaged"),
        (b"[" * 4000, "chunkstore-worker.json is damaged"),
        (b" " * 5000, "chunkstore-worker.json is damaged"),
    ],
)
def test_another_format_is_left_alone(data: bytes, detail: str, tmp_path: Path) -> None:
    (tmp_path / "chunkstore-worker.json").write_bytes(data)
    assert refused(tmp_path) == detail


def test_one_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    words = "\n".join(
        (
            "from pathlib import Path",
            "from chunkstore.worker.disk.folder import ChunkFolder",
            f"ChunkFolder(Path({str(folder)!r}))",
            "print(flush=True)",
            "input()",
        )
    )
    with subprocess.Popen(
        [sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert refused(folder) == f"in use by process {process.pid}"
        process.kill()
    ChunkFolder(folder).close()


def test_a_lock_that_is_a_link_leads_nowhere(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"abc")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lock").symlink_to(other)
    assert refused(tmp_path / "data") == "Too many levels of symbolic links"
    assert other.read_bytes() == b"abc"


def test_a_fork_of_whoever_had_it_keeps_nobody_out(tmp_path: Path) -> None:
    folder = ChunkFolder(tmp_path / "data")
    assert folder._lock is not None
    with open(os.dup(folder._lock), "rb"):  # as a child has it
        folder.close()
        ChunkFolder(tmp_path / "data").close()


def test_one_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    class ReadOnly(FlakyFiles):
        def create(self, path: Path) -> int:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with pytest.raises(DataDirError, match="Read-only file system"):
        ChunkFolder(tmp_path, ReadOnly())
    ChunkFolder(tmp_path).close()  # the lock was given back


@pytest.mark.parametrize("kind", ["create", "write", "sync", "sync_folder"])
def test_a_beginning_that_failed_is_gone_on_from(kind: str, tmp_path: Path) -> None:
    files = FlakyFiles()
    files.due.append((kind, errno.ENOSPC))
    with pytest.raises(DataDirError, match="No space left"):
        ChunkFolder(tmp_path / "data", files)
    folder = ChunkFolder(tmp_path / "data", files)
    folder.close()
    assert json.loads((tmp_path / "data" / "chunkstore-worker.json").read_text()) == {"format": 1}
    assert not (tmp_path / "data" / "chunkstore-worker.part").exists()


# --- what a start finds ------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> ChunkFolder:
    """An empty one; its lock goes with the process."""
    return ChunkFolder(tmp_path / "data", FlakyFiles())


def test_a_chunk_through_its_life(folder: ChunkFolder) -> None:
    folder.write_wanted([CHUNK])
    folder.write_wanted([CHUNK])
    folder.incoming(named(7))
    found = folder.scan()
    assert found.wanted == {(CHUNK.id, CHUNK.identity)}
    assert found.partial == [Found(b"", named(7))]
    assert found.next_number == 8
    path = published(folder, 7)
    folder.forget_wanted(found.wanted)
    found = folder.scan()
    assert (found.ready, found.partial, found.wanted) == (
        [Found(CHUNK.dataset_id, named(7))],
        [],
        set(),
    )
    assert path == folder.ready(CHUNK.dataset_id, named(7))
    assert folder.read_descriptor(CHUNK.dataset_id, named(7)) == DESCRIPTOR
    assert folder.checked_size(CHUNK.dataset_id, named(7)) == 3
    folder.mark_doomed(CHUNK.dataset_id, named(7))
    folder.mark_doomed(CHUNK.dataset_id, named(7))
    found = folder.scan()
    assert (found.ready, found.doomed) == ([], [Found(CHUNK.dataset_id, named(7))])
    folder.unmark(CHUNK.dataset_id, named(7))
    folder.unmark(CHUNK.dataset_id, named(7))
    assert folder.scan().ready
    folder.mark_doomed(CHUNK.dataset_id, named(7))
    folder.remove(CHUNK.dataset_id, named(7))
    folder.remove(CHUNK.dataset_id, named(7))
    assert not any(path.parent.iterdir())
    assert not os.listdir(folder.path / "trash")


def test_the_last_that_was_made_counts(folder: ChunkFolder) -> None:
    for number in (3, 12, 5):
        published(folder, number)
        folder.incoming(named(number + 100))
    folder.write_wanted([CHUNK])
    found = folder.scan()
    assert [one.name.number for one in found.ready] == [12]
    assert sorted(one.name.number for one in found.doomed) == [3, 5]
    assert [one.name.number for one in found.partial] == [112]
    assert sorted(one.name.number for one in found.discarded) == [103, 105]


def test_two_with_one_number_are_not_both_taken(folder: ChunkFolder) -> None:
    published(folder, 3)
    other = DataChunk(b"e" * 32, CHUNK.dataset_id, range(7, 9), {"a": "http://x/a"})
    copied = folder.ready(CHUNK.dataset_id, named(3, other))
    copied.mkdir()
    found = folder.scan()
    assert len(found.ready) == 1
    assert len(found.strangers) == 1


def test_strangers_are_named_and_left(folder: ChunkFolder) -> None:
    published(folder, 1)
    dataset = folder.path / "ready" / CHUNK.dataset_id.hex()
    (dataset / (str(named(2)) + DOOMED)).write_bytes(b"")
    strangers = [
        folder.path / "ready" / "x",
        dataset / "x",
        dataset / ("x" + DOOMED),
        folder.path / "incoming" / "x",
        folder.path / "trash" / "x",
        folder.path / "wanted" / wanted_name(b"a" * 3, "b"),
        folder.path / "wanted" / wanted_name(CHUNK.id, CHUNK.identity),
        dataset / (str(named(1)) + DOOMED),
        dataset / (str(named(3)) + DOOMED),
        dataset / str(named(10**12 - 1)),
    ]
    for path in strangers:
        path.mkdir()
    (folder.path / "ready" / "y").write_bytes(b"")
    found = folder.scan()
    assert found.strays == [dataset / (str(named(2)) + DOOMED)]
    assert sorted(found.strangers) == sorted(map(str, [*strangers, folder.path / "ready" / "y"]))
    assert [one.name for one in found.ready] == [named(1)]
    assert (found.wanted, found.next_number) == (set(), 2)


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_what_only_has_the_name_of_a_chunk_is_none_and_leads_nowhere(
    kind: str, is_late: bool, folder: ChunkFolder, tmp_path: Path
) -> None:
    path = published(folder, 1)
    others = path.rename(tmp_path / "others")
    if kind == "file":
        path.write_bytes(b"x")
    else:
        path.symlink_to(others if kind == "link" else tmp_path / "nowhere")
    if is_late:  # it came behind the scan
        folder.remove(CHUNK.dataset_id, named(1))
        assert not os.listdir(folder.path / "trash")
        assert not os.listdir(path.parent)
    else:
        found = folder.scan()
        assert (found.ready, found.strangers, found.next_number) == ([], [str(path)], 2)
    assert (others / "a").read_bytes() == b"abc"


# --- what isn't what it was --------------------------------------------------------------------


@pytest.mark.parametrize("change", ["cut", "gone", "link", "descriptor", "none", "other", "range"])
def test_damage_is_seen(change: str, folder: ChunkFolder) -> None:
    path = published(folder, 1)
    name = named(1)
    if change == "cut":
        os.truncate(path / "a", 2)
    elif change == "gone":
        (path / "a").unlink()
    elif change == "link":
        (path / "a").unlink()
        (path / "b").write_bytes(b"abc")
        (path / "a").symlink_to(path / "b")
    elif change == "descriptor":
        (path / ".chunk.json").write_bytes(b"{}")
    elif change == "none":
        (path / ".chunk.json").unlink()
    elif change == "range":  # it would be found for blocks that it doesn't have
        name = name._replace(stop=1000)
        path.rename(path.with_name(str(name)))
    else:
        other = DataChunk(CHUNK.id, CHUNK.dataset_id, range(5, 8), {"a": "http://x/a"})
        (path / ".chunk.json").write_bytes(Descriptor(other, {"a": FACTS}).encode())
    assert folder.checked_size(CHUNK.dataset_id, name) is None


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["create", "write", "sync", "make_folder", "sync_folder", "rename"]
)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_chunk_that_was_not_published_is_published_by_the_next_try(
    kind: str, after: int, folder: ChunkFolder
) -> None:
    files = folder._files
    assert isinstance(files, FlakyFiles)
    (folder.incoming(named(1)) / "a").write_bytes(b"abc")
    seen = 0
    plain = files._meet

    def meet(this: str) -> None:
        nonlocal seen
        seen += this == kind
        if this == kind and seen == after + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        plain(this)

    files._meet = meet  # type: ignore[method-assign,assignment]
    try:
        folder.publish(named(1), DESCRIPTOR)
    except OSError:
        assert (folder.path / "incoming" / str(named(1)) / "a").exists()
        assert not folder.scan().ready
        folder.publish(named(1), DESCRIPTOR)
    assert folder.checked_size(CHUNK.dataset_id, named(1)) == 3
    assert not os.listdir(folder.path / "incoming")


def test_what_somebody_put_into_a_chunk_goes_with_it(folder: ChunkFolder) -> None:
    path = published(folder, 1)
    (path / "cache" / "more").mkdir(parents=True)
    (path / "cache" / "more" / "x").write_bytes(b"")
    (path / "link").symlink_to(folder.path)
    folder.remove(CHUNK.dataset_id, named(1))
    assert not folder.scan().ready
    assert not os.listdir(folder.path / "trash")
    assert (folder.path / "wanted").exists()
