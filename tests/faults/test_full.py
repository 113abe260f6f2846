"""A disk that is full for real: a small file system, and a server that is not told how small it is.

The server keeps a reserve by asking how much is free; somebody else who fills the disk takes that,
too, and then every write fails as the system has it: of a run, a commit, a tombstone, the index.

DISK_MIB says how large it is, in memory: with 1700 there are several volumes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
import trio

from chunkstore.client import Client
from tests.faults.running import Body, Running, reading, serving

pytestmark = pytest.mark.real

DISK_BYTES = int(os.environ.get("DISK_MIB", "96")) << 20
RESERVE_BYTES = DISK_BYTES // 8
TEST_S = 180.0 + DISK_BYTES / (5 << 20)
ROOM_S = 30.0
"""Room that was made is used again within so long: garbage is looked for and cleared in steps."""
SMALL_BYTES, MIDDLE_BYTES = 300, 1_500_000
DONE, FULL = (200, 201), 507


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no program mount")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here (that takes root): {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Somebody else has all that is free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            if file.write(bytes(1 << 16)) < 1 << 16:  # the last bytes one page at a time
                break
    try:
        assert os.statvfs(disk).f_bavail == 0
        yield
    finally:
        ballast.unlink()


class Desk:
    """One client of a server, and what it must have.

    Attributes:
        bodies: what each name has.
        statuses: of all PUTs, in their order.
        answered: set at the next one.
    """

    def __init__(self) -> None:
        self.bodies: dict[str, Body] = {}
        self.statuses: list[int] = []
        self.answered = trio.Event()
        self._seeds = count()

    @asynccontextmanager
    async def at(self, disk: Path) -> AsyncIterator[tuple[Running, Client]]:
        """A server on that disk, with all that it must have; and a client of it."""
        config = disk.parent / "settings.toml"
        config.write_text(f"disk_reserve = {RESERVE_BYTES}\n")
        with trio.fail_after(TEST_S):
            async with (
                serving(disk / "data", "--config", str(config)) as server,
                server.client() as client,
            ):
                await self.check(client)
                yield server, client

    async def put(self, client: Client, key: str, size_bytes: int) -> int:
        """Put something new there; the status."""
        body = Body(next(self._seeds), size_bytes)

        async def content() -> AsyncIterator[bytes]:
            yield body.content()

        answer = await client.request("PUT", key, body=content(), length=size_bytes)
        await answer.body()
        assert answer.status in (*DONE, FULL), answer.status
        if answer.status in DONE:
            self.bodies[key] = body
        self.statuses.append(answer.status)
        self.answered.set()
        self.answered = trio.Event()
        return answer.status

    async def delete(self, client: Client, key: str) -> int:
        """Take it away; the status."""
        answer = await client.request("DELETE", key)
        await answer.body()
        assert answer.status in (200, FULL), answer.status
        if answer.status == 200:
            del self.bodies[key]
        return answer.status

    async def fill(self, client: Client, folder: str, size_bytes: int) -> None:
        """Put one object after the other, until there is no room for another one."""
        for number in count():
            if await self.put(client, f"/{folder}/{number}", size_bytes) == FULL:
                return

    async def check(self, client: Client) -> None:
        """All is there, and nothing else."""
        for key, body in self.bodies.items():
            assert await reading(client, key) == body.content(), key
        answer = await client.request("LIST", "/")
        assert sorted((await answer.body()).decode().split()) == sorted(self.bodies)

    async def put_when_there_is_room(self, client: Client, key: str, size_bytes: int) -> None:
        """Ask again and again."""
        with trio.fail_after(ROOM_S):
            # Nobody tells when there is room again: clients try again, too.
            while await self.put(client, key, size_bytes) == FULL:  # noqa: ASYNC110
                await trio.sleep(0.2)


async def test_a_full_disk_refuses_and_loses_nothing(disk: Path) -> None:
    desk = Desk()
    async with desk.at(disk) as (_, client):
        await desk.fill(client, "middle", MIDDLE_BYTES)
        await desk.fill(client, "small", SMALL_BYTES)
        assert await desk.put(client, "/middle/0", MIDDLE_BYTES) == FULL  # what was there stays
        await desk.check(client)
    async with desk.at(disk) as (server, client):
        assert await desk.put(client, "/one/more", MIDDLE_BYTES) == FULL
        server.kill()
    async with desk.at(disk):
        pass


async def test_what_was_deleted_makes_room(disk: Path) -> None:
    desk = Desk()
    async with desk.at(disk) as (_, client):
        await desk.fill(client, "middle", MIDDLE_BYTES)
        for key in list(desk.bodies)[::2]:
            assert await desk.delete(client, key) == 200  # of the reserve
        await desk.check(client)
        await desk.put_when_there_is_room(client, "/again", MIDDLE_BYTES)
        await desk.check(client)
    async with desk.at(disk):
        pass


@pytest.mark.parametrize("size", [SMALL_BYTES, MIDDLE_BYTES])
async def test_somebody_else_fills_the_disk(disk: Path, size: int) -> None:
    desk = Desk()
    async with desk.at(disk) as (_, client):
        for number in range(10):
            assert await desk.put(client, f"/{number}", size) == 201
        with filled(disk):
            assert await desk.put(client, "/new", size) == FULL
            assert await desk.put(client, "/0", size) == FULL
            await desk.delete(client, "/1")
            await desk.check(client)
        await desk.put_when_there_is_room(client, "/new", size)
        assert await desk.put(client, "/0", size) == 200
        await desk.check(client)
    async with desk.at(disk):
        pass


async def test_a_start_on_a_disk_without_a_byte_left(disk: Path) -> None:
    desk = Desk()
    async with desk.at(disk) as (_, client):
        for number in range(10):
            assert await desk.put(client, f"/{number}", MIDDLE_BYTES) == 201
    with filled(disk):
        async with desk.at(disk) as (server, client):
            assert await desk.put(client, "/new", SMALL_BYTES) == FULL
            server.kill()
        async with desk.at(disk):
            pass
    async with desk.at(disk) as (_, client):
        await desk.put_when_there_is_room(client, "/new", SMALL_BYTES)


async def test_the_disk_is_filled_under_uploads(disk: Path) -> None:
    desk = Desk()
    async with desk.at(disk) as (server, client):
        async with trio.open_nursery() as nursery:
            for writer in range(8):
                nursery.start_soon(_write_on, desk, server, f"/{writer}")
            for _ in range(5):
                await _more_writes(desk, 20)
                with filled(disk):
                    await _more_writes(desk, 20)
            nursery.cancel_scope.cancel()
        assert FULL in desk.statuses
        await desk.put_when_there_is_room(client, "/after", MIDDLE_BYTES)
        assert await reading(client, "/after") == desk.bodies["/after"].content()


async def _write_on(desk: Desk, server: Running, folder: str) -> None:
    async with server.client() as client:
        for number in count():
            key, size = f"{folder}/{number % 5}", (SMALL_BYTES, MIDDLE_BYTES)[number % 2]
            had = desk.bodies.get(key)
            status = await desk.put(client, key, size)
            found = await reading(client, key)
            may = desk.bodies[key].content() if key in desk.bodies else None
            assert found == may, (key, status, had)
            if key in desk.bodies and number % 3 == 0:
                await desk.delete(client, key)


async def _more_writes(desk: Desk, wanted: int) -> None:
    upto = len(desk.statuses) + wanted
    while len(desk.statuses) < upto:
        await desk.answered.wait()
