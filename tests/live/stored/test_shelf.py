"""An origin whose store fails, or takes its time: what shows, what is answered, what comes back."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.errors import DamagedError, DiskError, DiskFullError, StoreError
from chunkstore.live import spool
from chunkstore.live.shelf import RETRY_S
from chunkstore.testing import FaultyStore
from tests.live.stored.rig import Life, fail, later_delete, later_put, restarted, shows, work
from tests.origin.drive import Site

LARGE = 300_000
"""More than is kept in memory beside the store."""
ERRORS = pytest.mark.parametrize(
    ("error", "status", "text"),
    [(DiskFullError("full"), 507, "the disk is full"), (DiskError("no"), 500, "the disk failed")],
    ids=["full", "failed"],
)


# --- uploads that fail -------------------------------------------------------------------------


@ERRORS
@pytest.mark.parametrize("kind", ["append", "commit"])
async def test_a_put_that_fails_stores_nothing(
    kind: str, error: DiskError, status: int, text: str, site: Life, store: FaultyStore
) -> None:
    fail(store, kind, error)
    answer = await site.put("/a/x", b"one")
    assert answer.status == status
    assert text in answer.body.decode()
    assert await shows(site, "/a/x") is None
    work(store)
    assert (await site.put("/a/x", b"two")).status == 201
    assert await shows(site, "/a/x") == b"two"
    await site.check_nothing_left()


@ERRORS
@pytest.mark.parametrize("kind", ["append", "commit"])
@pytest.mark.parametrize("size", [3, LARGE])
async def test_a_failed_overwrite_leaves_the_old_one(
    size: int, kind: str, error: DiskError, status: int, text: str, site: Life, store: FaultyStore
) -> None:
    old = b"o" * size
    etag = (await site.put("/a/x", old)).etag
    fail(store, kind, error)
    assert (await site.put("/a/x", b"new")).status == status
    assert await shows(site, "/a/x") == old
    assert (await site.get("/a/x")).etag == etag
    await trio.sleep(61)  # and it still expires
    assert await shows(site, "/a/x") is None
    work(store)
    assert await shows(await restarted(site), "/a/x") is None


async def test_a_run_that_fails_in_mid_upload_cuts_its_readers(
    site: Life, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "RUN_BYTES", 10)
    writer = await site.upload("/a/x")
    await writer.chunk(b"0123456789")
    reader = await site.follow("/a/x")
    fail(store, "append", DiskError("no"))
    await writer.chunk(b"0123456789")
    await writer.chunk(b"more")
    answer = await reader.rest()
    assert b"01234567890123456789more".startswith(answer.body)
    assert answer.is_whole is False
    assert (await writer.answer()).status == 500
    assert await shows(site, "/a/x") is None
    await site.check_nothing_left()


# --- what is in flight -------------------------------------------------------------------------


async def test_a_commit_shows_at_once_and_is_answered_when_durable(
    site: Life, store: FaultyStore
) -> None:
    store.pause()
    put = await later_put(site, "/a/x", b"one")
    assert await shows(site, "/a/x") == b"one"
    assert not put.is_there
    store.resume()
    assert (await put.get()).status == 201


@pytest.mark.parametrize("does_commit", [True, False])
async def test_a_delete_while_a_commit_is_in_flight(
    does_commit: bool, site: Life, store: FaultyStore
) -> None:
    await site.put("/a/x", b"old")
    store.pause()
    put = await later_put(site, "/a/x", b"new")
    delete = await later_delete(site, "/a/x")
    assert await shows(site, "/a/x") is None
    third = await site.upload("/a/x")  # its name exists, and shows nothing yet
    if not does_commit:
        fail(store, "commit", DiskError("no"))
    store.resume()
    assert (await put.get()).status == (200 if does_commit else 500)
    assert (await delete.get()).status == 200
    assert site.origin.catalog.namespace.visible("/a/x") is None
    await third.kill()
    assert await shows(site, "/a/x") is None
    work(store)
    assert await shows(await restarted(site), "/a/x") is None


async def test_a_delete_that_fails_leaves_the_object(site: Life, store: FaultyStore) -> None:
    etag = (await site.put("/a/x", b"one")).etag
    fail(store, "delete", DiskError("no"))
    answer = await site.ask("DELETE", "/a/x")
    assert answer.status == 500
    assert "still there" in answer.body.decode()
    assert await shows(site, "/a/x") == b"one"
    assert (await site.get("/a/x")).etag == etag
    work(store)
    await trio.sleep(61)
    assert await shows(site, "/a/x") is None  # it expires as before
    assert await shows(await restarted(site), "/a/x") is None


async def test_a_second_put_behind_one_that_fails(site: Life, store: FaultyStore) -> None:
    await site.put("/a/x", b"old")
    store.pause()
    first = await later_put(site, "/a/x", b"one")
    second = await later_put(site, "/a/x", b"two")
    fail(store, "commit", DiskError("no"))
    left = iter([True])

    def before(kind: str, _: str) -> None:
        if kind == "commit" and next(left, False):
            raise DiskError("no")

    store.before = before
    store.resume()
    assert (await first.get()).status == 500
    assert (await second.get()).status == 200
    assert await shows(site, "/a/x") == b"two"
    assert await shows(await restarted(site), "/a/x") == b"two"


async def test_both_of_two_puts_fail(site: Life, store: FaultyStore) -> None:
    await site.put("/a/x", b"old")
    store.pause()
    puts = [await later_put(site, "/a/x", body) for body in (b"one", b"two")]
    fail(store, "commit", DiskFullError("full"))
    store.resume()
    assert [(await put.get()).status for put in puts] == [507, 507]
    assert await shows(site, "/a/x") == b"old"


async def test_if_none_match_against_one_in_flight(site: Life, store: FaultyStore) -> None:
    store.pause()
    put = await later_put(site, "/a/x", b"one")
    assert (await site.put("/a/x", b"two", "If-None-Match: *")).status == 412
    fail(store, "commit", DiskError("no"))
    store.resume()
    assert (await put.get()).status == 500
    work(store)
    assert (await site.put("/a/x", b"two", "If-None-Match: *")).status == 201


async def test_what_expired_meanwhile_does_not_come_back(site: Life, store: FaultyStore) -> None:
    await site.put("/a/x", b"old")
    await trio.sleep(50)
    store.pause()
    put = await later_put(site, "/a/x", b"new")
    await trio.sleep(20)
    fail(store, "commit", DiskError("no"))
    store.resume()
    assert (await put.get()).status == 500
    assert await shows(site, "/a/x") is None
    assert await shows(await restarted(site), "/a/x") is None


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_came_back_expires_though_nobody_asks(
    method: str, site: Life, store: FaultyStore
) -> None:
    await site.put("/a/x", b"old")
    fail(store, "commit" if method == "PUT" else "delete", DiskError("no"))
    assert (await site.ask(method, "/a/x", body=b"new")).status == 500
    work(store)
    await trio.sleep(61)
    await wait_all_tasks_blocked()
    assert store.stored("/a/x") is None


async def test_an_expiry_that_fails_is_tried_again(site: Life, store: FaultyStore) -> None:
    await site.put("/a/x", b"old")
    fail(store, "delete", DiskError("no"))
    await trio.sleep(61)
    assert await shows(site, "/a/x") is None
    assert store.stored("/a/x") is not None
    work(store)
    await trio.sleep(RETRY_S)
    await wait_all_tasks_blocked()
    assert store.stored("/a/x") is None
    await site.put("/a/x", b"new")
    assert await shows(site, "/a/x") == b"new"


async def test_a_drain_waits_for_a_commit_in_flight(site: Life, store: FaultyStore) -> None:
    store.pause()
    put = await later_put(site, "/a/x", b"one")
    site.origin.server.stop()
    await wait_all_tasks_blocked()
    store.resume()
    assert (await put.get()).status == 201
    assert await shows(await restarted(site), "/a/x") == b"one"


async def test_a_writer_that_leaves_before_its_commit_is_durable(
    site: Life, store: FaultyStore
) -> None:
    store.pause()
    client = site.connect()
    await client.request("PUT", "/a/x", body=b"one")
    await wait_all_tasks_blocked()
    await client.close()
    await wait_all_tasks_blocked()
    store.resume()
    await wait_all_tasks_blocked()
    assert await shows(site, "/a/x") == b"one"
    await site.check_nothing_left()


# --- reads that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hold", "range"])
@pytest.mark.parametrize("error", [DamagedError("/a/x", "there"), DiskError("no")])
async def test_what_cannot_be_read_is_500_before_the_head(
    error: StoreError, kind: str, site: Life, store: FaultyStore
) -> None:
    await site.put("/a/x", bytes(LARGE))
    fail(store, kind, error)
    for lines in ((), ("Range: bytes=100000-",)):
        answer = await site.get("/a/x", *lines)
        assert answer.status == 500
        assert "can't be read" in answer.body.decode()
    assert site.origin.metrics.reads_failed == 2
    work(store)
    assert await shows(site, "/a/x") == bytes(LARGE)
    await site.check_nothing_left()


async def test_a_small_one_that_cannot_be_read(site: Life, store: FaultyStore) -> None:
    await site.put("/a/x", b"one")
    site = await restarted(site)
    fail(store, "read", DamagedError("/a/x", "there"))
    assert (await site.get("/a/x")).status == 500
    assert (await site.ask("HEAD", "/a/x")).status == 200
    work(store)
    assert await shows(site, "/a/x") == b"one"


async def test_damage_behind_the_head_cuts_the_answer(site: Life, store: FaultyStore) -> None:
    body = bytes(range(256)) * 10_000  # three runs
    await site.put("/a/x", body)
    fail(store, "range", DamagedError("/a/x", "there"), after=2)
    answer = await site.get("/a/x")
    assert answer.status == 200
    assert answer.is_whole is False
    assert 0 < len(answer.body) < len(body)
    assert body.startswith(answer.body)
    assert site.origin.metrics.endings["damaged"] == 1
    await site.check_nothing_left()


# --- a restart ---------------------------------------------------------------------------------


async def facts_of(site: Site) -> dict[str, dict[str, Any]]:
    """All that LIST and HEAD say."""
    listed = (await site.ask("LIST", "/", "Accept: application/json")).json
    found: dict[str, dict[str, Any]] = {one["path"]: one for one in listed["objects"]}
    for path, one in found.items():
        one["expires"] = round(one["expires"], 3)  # it is told by another clock
        one["head"] = {**(await site.ask("HEAD", path)).fields, "date": ""}
    return found


async def test_all_that_is_known_survives_a_restart(site: Life, store: FaultyStore) -> None:
    etags = set()
    for number, kind in enumerate(["video/mp4", "text/plain; charset=utf-8", "x/y"]):
        await trio.sleep(3)
        path = f"/a/{number}"
        etags.add((await site.put(path, b"old", f"Content-Type: {kind}")).etag)
        etags.add((await site.put(path, bytes(number * LARGE), f"Content-Type: {kind}")).etag)
    before = await facts_of(site)
    writer = await site.upload("/a/open")
    await writer.chunk(b"never whole")
    site = await restarted(site)
    after = await facts_of(site)
    for path, facts in before.items():
        assert after[path] == facts, path
    assert after.keys() == before.keys()
    for number in range(3):
        assert await shows(site, f"/a/{number}") == bytes(number * LARGE)
        etags.add((await site.put(f"/a/{number}", b"new")).etag)
    assert len(etags) == 9
    await trio.sleep(45)
    assert len(await site.list()) == 3
    site = await restarted(site)
    await trio.sleep(16)
    assert await site.list() == []
    assert not list(store.objects())


async def test_what_expires_while_no_server_runs_is_not_shown(
    site: Life, store: FaultyStore
) -> None:
    for number in range(600):
        await site.put(f"/a/{number}", b"x")
    await site.end()
    await trio.sleep(100)
    site = await Life.begin(site.home, store)
    assert await shows(site, "/a/599") is None
    await wait_all_tasks_blocked()
    assert not list(store.objects())
