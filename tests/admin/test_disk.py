"""What an operator sees of the disk: bytes, damage, and that something is wrong with it."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from chunkstore.store.disk import DataDir, DiskStore, Engine, Files
from tests.admin.conftest import Office
from tests.jumping import run_for_real
from tests.origin.drive import Site

RUN = run_for_real
"""On a real clock: a disk has a thread of its own."""


class FailingFiles(Files):
    """A disk whose syncs fail when told to."""

    fails = False

    def sync(self, fd: int) -> None:
        if self.fails:
            raise OSError(errno.EIO, "Input/output error")
        super().sync(fd)


class Notes:
    """What was said, and when."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._said = trio.Event()

    def add(self, line: str) -> None:
        """As `DiskStore` says it."""
        self.lines.append(line)
        self._said.set()

    async def first(self) -> str:
        """Wait for it."""
        with trio.fail_after(30):
            await self._said.wait()
        return self.lines[0]


@asynccontextmanager
async def opened(
    folder: Path, files: Files, notes: Notes, scrub_s: float = 0.0
) -> AsyncIterator[Office]:
    """An origin with a disk, and its admin side."""
    data = DataDir(folder)
    engine = Engine(data, files)
    async with trio.open_nursery() as nursery:
        disk = DiskStore(engine, scrub_s=scrub_s, note=notes.add)
        site = await Site.open(nursery, disk=disk)
        office = Office(site, nursery)
        await nursery.start(office.admin.run, ())
        yield office
        nursery.cancel_scope.cancel()
    engine.close()
    data.close()


async def test_bytes_of_the_disk(tmp_path: Path) -> None:
    async with opened(tmp_path, Files(), Notes()) as office:
        before = await office.metrics()
        assert (await office.site.put("/a", bytes(100_000))).status == 201
        assert (await office.site.put("/a", bytes(50_000))).status == 200
        after = await office.metrics()
    use = 'chunkstore_disk_bytes{use="%s"}'
    assert 50_000 < after[use % "live"] - before[use % "live"] < 51_000
    assert 100_000 < after[use % "garbage"] - before[use % "garbage"] < 101_000
    assert after[use % "free"] > 0
    assert after["chunkstore_disk_troubles"] == 0


async def test_a_sync_that_fails_is_loud(tmp_path: Path) -> None:
    files, notes = FailingFiles(), Notes()
    async with opened(tmp_path, files, notes) as office:
        assert (await office.get("/health/ready")).status == 200
        files.fails = True
        answer = await office.site.put("/a", b"x")
        assert answer.status == 500
        assert "the disk failed" in answer.body.decode()
        files.fails = False
        ready = await office.get("/health/ready")
        assert ready.status == 503
        assert "00000001.vol" in ready.body.decode()
        assert (await office.metrics())["chunkstore_disk_troubles"] == 1
        assert "00000001.vol" in await notes.first()
        assert (await office.site.put("/b", b"x")).status == 201  # in another volume


async def test_damage_that_a_reader_meets_is_counted(tmp_path: Path) -> None:
    async with opened(tmp_path, Files(), Notes()) as office:
        assert (await office.site.put("/a", b"x" * 300_000)).status == 201
        [volume] = (tmp_path / "volumes").iterdir()
        whole = volume.read_bytes()
        at = whole.index(b"x" * 1000) + 5000
        volume.write_bytes(whole[:at] + b"y" + whole[at + 1 :])
        answer = await office.site.get("/a")
        assert answer.status == 500
        assert (await office.metrics())["chunkstore_reads_failed_total"] == 1


async def test_damage_that_the_scrub_finds_is_counted_and_named(tmp_path: Path) -> None:
    async with opened(tmp_path, Files(), Notes()) as office:
        await office.site.put("/a", b"x" * 1000)
        await office.site.put("/b", b"z" * 1000)
    [volume] = (tmp_path / "volumes").iterdir()
    whole = volume.read_bytes()
    volume.write_bytes(whole.replace(b"x" * 1000, b"x" * 999 + b"y"))
    notes = Notes()
    async with opened(tmp_path, Files(), notes, scrub_s=0.05) as office:
        assert "/a is damaged" in await notes.first()
        assert (await office.metrics())["chunkstore_disk_flaws_total"] >= 1
        answer = await office.site.get("/a")
        assert answer.status == 500
        assert (await office.site.get("/b")).body == b"z" * 1000
