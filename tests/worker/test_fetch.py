"""One chunk's files over a storage at its worst: right to the last byte, or a clear error."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chunkstore.errors import FetchError, StalledError, StatusError
from chunkstore.testing import Content, Fault, Storage
from chunkstore.worker import DataChunk, Fetching, FileRecord, WorkerConfig
from chunkstore.worker.descriptor import FileFacts
from chunkstore.worker.fetch import file as file_module
from chunkstore.worker.fetch import may_pass
from chunkstore.worker.fetch import partial as partial_module
from chunkstore.worker.fetch.retry import MismatchError
from tests.worker.flaky import FlakyFiles, Threads, open_below

CONTENT = Content(seed=7, size_bytes=200_000)
URL = "http://storage.test/a"
FULL = FileRecord(URL, CONTENT.size_bytes, CONTENT.sha256)
SIZED = FileRecord(URL, CONTENT.size_bytes)
BARE = FileRecord(URL)
RECORDS = {"full": FULL, "sized": SIZED, "bare": BARE}
SAVE_BYTES = 30_000


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 200 kB has as many pieces, and saves, as a large one."""
    monkeypatch.setattr(partial_module, "SAVE_BYTES", SAVE_BYTES)
    monkeypatch.setattr(file_module, "WRITE_BYTES", 10_000)


class Stage:
    """A storage with one file, and a folder that it comes to.

    Attributes:
        learned: what was said of its size.
        wrote: how far it came, each time that changed.
    """

    def __init__(self, folder: Path, *faults: Fault | None, retries: int = 5) -> None:
        self.folder = folder
        self.storage = Storage(random=Random(1))
        self.storage.put("/a", CONTENT)
        self.storage.trouble("/a", *faults)
        self.config = WorkerConfig(retries=retries, stall_s=30)
        self.learned: list[int] = []
        self.wrote: list[int] = []
        self.files = FlakyFiles()

    async def fetch(self, record: FileRecord | dict[str, FileRecord] = FULL) -> FileFacts:
        """Have the file, or several; every limit is given back, whatever comes of it."""
        files = record if isinstance(record, dict) else {"a": record}
        fetching = Fetching(
            self.config,
            connect=self.storage.connect,
            files=self.files,
            in_thread=Threads(Random(2)),
            chance=Random(3).random,
        )
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(self.storage.run)
            try:
                chunk = DataChunk(b"c" * 32, b"d" * 32, range(1), files)
                facts = await fetching.fetch_chunk(
                    chunk, self.folder, wrote=self.wrote.append, learned=self.learn
                )
            except Exception as error:
                failure = error
            finally:
                await fetching.aclose()
                nursery.cancel_scope.cancel()
        assert not open_below(self.folder)
        assert fetching._slots.value == self.config.files_max
        assert not fetching._hosts
        if failure is not None:
            raise failure
        return facts["a"]

    async def learn(self, size_bytes: int) -> None:
        """Servers say so."""
        self.learned.append(size_bytes)

    @property
    def data(self) -> bytes:
        """What has come, whole."""
        assert os.listdir(self.folder) == ["a"]
        return (self.folder / "a").read_bytes()


HARMLESS = [None, Fault.SLOW, Fault.MOVED, Fault.WEAK]
PASSING = [Fault.STALL, Fault.CUT, Fault.BUSY, Fault.BROKEN]
FATAL = [Fault.LOST, Fault.FORBIDDEN, Fault.CIRCLE, Fault.ELSEWHERE, Fault.NOISE]


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize("fault", [*HARMLESS, *PASSING])
async def test_what_passes_costs_nothing_but_time(
    fault: Fault | None, record: FileRecord, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, fault)
    facts = await stage.fetch(record)
    assert stage.data == CONTENT.data
    source = "declared" if record is FULL else "computed"
    etag = "" if fault is Fault.WEAK else CONTENT.etag
    assert facts == FileFacts(URL, CONTENT.size_bytes, CONTENT.sha256, source, etag)  # type: ignore[arg-type]
    assert stage.wrote[-1] == CONTENT.size_bytes
    assert stage.learned == [CONTENT.size_bytes]


@pytest.mark.parametrize("fault", FATAL)
async def test_what_would_fail_again_fails_at_once(fault: Fault, tmp_path: Path) -> None:
    stage = Stage(tmp_path, *[fault] * 9)
    with pytest.raises(FetchError) as failure:
        await stage.fetch()
    assert not may_pass(failure.value)
    assert not (tmp_path / "a").exists()
    assert trio.current_time() < 1


async def test_a_cut_costs_only_what_was_under_way(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Fault.CUT, Fault.CUT, Fault.CUT)
    await stage.fetch(BARE)
    assert stage.data == CONTENT.data
    starts = [one.start for one in stage.storage.asked]
    assert starts == sorted(starts)
    assert starts[-1] > 0


@pytest.mark.parametrize("fault", [Fault.WHOLE, Fault.SHIFTED, Fault.FLIP, Fault.WEAK])
@pytest.mark.parametrize("record", [SIZED, BARE], ids=["sized", "bare"])
async def test_nothing_is_joined_that_does_not_belong_together(
    fault: Fault, record: FileRecord, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, Fault.CUT, fault)
    await stage.fetch(record)
    assert stage.data == stage.storage.content("/a").data


async def test_a_range_that_is_answered_with_all_of_it_is_no_news(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Fault.CUT, Fault.WHOLE, Fault.WHOLE)
    await stage.fetch(BARE)
    assert stage.data == CONTENT.data
    assert [one.start > 0 for one in stage.storage.asked] == [False, True]


async def test_a_wrong_file_is_fetched_twice_and_no_more(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Fault.ROT)
    await stage.fetch()
    assert stage.data == CONTENT.data
    other = Stage(tmp_path, Fault.ROT, Fault.ROT)
    (tmp_path / "a").unlink()
    with pytest.raises(MismatchError, match="its SHA-256 is") as failure:
        await other.fetch()
    assert not may_pass(failure.value)
    assert not (tmp_path / "a").exists()
    assert other.wrote[-1] == 0


@pytest.mark.parametrize("size_bytes", [0, 1, 199_999, 200_001])
async def test_another_size_is_refused_before_it_comes(size_bytes: int, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with pytest.raises(MismatchError, match=f"has 200000 bytes, expected {size_bytes}"):
        await stage.fetch(FileRecord(URL, size_bytes))
    assert max(stage.wrote, default=0) == 0


async def test_chunks_that_end_well_and_early(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Fault.SHORT, Fault.SHORT)
    with pytest.raises(MismatchError, match="bytes, expected 200000"):
        await stage.fetch(SIZED)


async def test_no_size_at_all_is_refused(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Fault.ENDLESS)
    with pytest.raises(FetchError, match="the answer says no size, and none was declared"):
        await stage.fetch(BARE)
    assert max(stage.wrote, default=0) == 0


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
async def test_what_comes_compressed_needs_a_digest_to_be_the_file(
    record: FileRecord, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, Fault.CODED)
    if record is FULL:
        await stage.fetch(record)
        assert stage.data == CONTENT.data
        return
    with pytest.raises(FetchError, match="it came as gzip") as failure:
        await stage.fetch(record)
    assert not may_pass(failure.value)
    assert not (tmp_path / "a").exists()


async def test_a_declared_size_tells_the_end_where_http_does_not(tmp_path: Path) -> None:
    stage = Stage(tmp_path, *[Fault.ENDLESS] * 40)
    await stage.fetch(SIZED)
    assert stage.data == CONTENT.data


async def test_a_server_that_never_gets_anywhere_is_given_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, *[Fault.BROKEN] * 4, retries=3)
    with pytest.raises(StatusError) as failure:
        await stage.fetch()
    assert len(stage.storage.asked) == 4
    assert may_pass(failure.value)
    stage = Stage(tmp_path, Fault.STALL, Fault.STALL, retries=0)
    with pytest.raises(StalledError):
        await stage.fetch()


async def test_one_that_begins_anew_each_time_is_given_up_too(tmp_path: Path) -> None:
    faults = [Fault.CUT if index % 2 else Fault.FLIP for index in range(400)]
    stage = Stage(tmp_path, *faults, retries=3)
    try:
        await stage.fetch(BARE)
    except FetchError:
        assert not (tmp_path / "a").exists()
    else:
        assert stage.data == stage.storage.content("/a").data
    assert len(stage.storage.asked) < 100


async def test_retry_after_is_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Fault.BUSY, Fault.BUSY)
    await stage.fetch()
    assert trio.current_time() >= 4


@given(
    st.lists(st.sampled_from([*HARMLESS, *list(Fault)]), max_size=12),
    st.sampled_from(list(RECORDS.values())),
    st.integers(0, 9),
)
def test_any_sequence_ends_right_or_with_a_clear_error(
    faults: list[Fault | None], record: FileRecord, seed: int
) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(Path(folder), *faults)
            stage.storage._random = Random(seed)
            versions = {CONTENT._replace(seed=CONTENT.seed + n).data for n in range(20)}
            try:
                await stage.fetch(record)
            except FetchError:
                assert not (Path(folder) / "a").exists()
                return
            if record is FULL:
                assert stage.data == CONTENT.data
            elif Fault.ROT not in faults:
                assert any(data.startswith(stage.data) for data in versions)
            is_told = record is not BARE or Fault.SHORT not in faults
            assert not is_told or len(stage.data) == CONTENT.size_bytes

    trio.run(play, clock=MockClock(autojump_threshold=0))


async def test_the_next_life_goes_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Fault.CUT, *[Fault.BROKEN] * 3, retries=2)
    with pytest.raises(StatusError):
        await stage.fetch(BARE)
    came = (tmp_path / ".a.part").stat().st_size
    assert came
    again = Stage(tmp_path)
    await again.fetch(BARE)
    assert again.data == CONTENT.data
    assert again.storage.sent_bytes("/a") == CONTENT.size_bytes - came
    third = Stage(tmp_path)
    await third.fetch(BARE)
    assert third.storage.asked == []


async def test_what_other_files_have_counts_before_they_are_looked_at(tmp_path: Path) -> None:
    """Whichever comes first, and however it ends: it is on the disk."""
    stage = Stage(tmp_path, *[Fault.LOST] * 20)
    stage.config = replace(stage.config, files_max=1)
    undeclared = FileRecord(URL)
    for _ in range(20):  # which one is first is chance
        (tmp_path / "b").write_bytes(CONTENT.data)
        (tmp_path / ".c.part").write_bytes(b"c" * 5000)
        with pytest.raises(StatusError):
            await stage.fetch({"a": undeclared, "b": FULL, "c": undeclared})
        there = sum((tmp_path / name).stat().st_size for name in ("b", ".c.part"))
        assert stage.wrote[-1] == there


async def test_what_is_strange_in_the_folder_goes(tmp_path: Path) -> None:
    for name in ("b", ".a.state", ".a.part", "a.tmp"):
        (tmp_path / name).write_bytes(b"\xff" * 1024)
    stage = Stage(tmp_path)
    await stage.fetch()
    assert stage.data == CONTENT.data


async def test_a_name_may_look_like_that_of_a_partial_file(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.config = replace(stage.config, files_per_chunk=1)
    contents = {name: Content(n, 5000 + n) for n, name in enumerate(("a", "a.part", "a.state"))}
    for name, content in contents.items():
        stage.storage.put(f"/{name}", content)
    await stage.fetch({name: FileRecord(f"http://storage.test/{name}") for name in contents})
    found = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    assert found == {name: content.data for name, content in contents.items()}


@pytest.mark.parametrize("after", [0, 1, 7, 14, 19])
async def test_cancelled_anywhere_it_goes_on_later(after: int, tmp_path: Path) -> None:
    stage = Stage(tmp_path, Fault.SLOW)
    with trio.move_on_after(after * 0.1):
        await stage.fetch(BARE)
    again = Stage(tmp_path)
    await again.fetch(BARE)
    assert again.data == CONTENT.data


@pytest.mark.parametrize(("limit", "expected"), [("files_per_chunk", 2), ("files_per_host", 2)])
async def test_no_more_files_come_at_a_time_than_may(
    limit: str, expected: int, tmp_path: Path
) -> None:
    storage, most = Storage(lambda _: Fault.SLOW), 0
    names = "abcde"
    for name in names:
        storage.put(f"/{name}", CONTENT)
    config = replace(WorkerConfig(), **{limit: expected})  # type: ignore[arg-type]  # by name
    fetching = Fetching(config, connect=storage.connect, in_thread=Threads(Random(2)))

    def wrote(_: int) -> None:
        nonlocal most
        most = max(most, storage.open_count)

    async def learned(_: int) -> None:
        return

    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        files = {name: f"http://storage.test/{name}" for name in names}
        chunk = DataChunk(b"c" * 32, b"d" * 32, range(1), files)
        await fetching.fetch_chunk(chunk, tmp_path, wrote=wrote, learned=learned)
        await fetching.aclose()
        nursery.cancel_scope.cancel()
    assert most == expected
    assert sorted(os.listdir(tmp_path)) == list(names)
