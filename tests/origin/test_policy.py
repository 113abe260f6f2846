"""The built-in table of policies and its further keys, as answers show them."""

from __future__ import annotations

import pytest
import trio

from tests.origin.conftest import OpenSite
from tests.origin.drive import Site

ATOMIC = ["/a/x.mpd", "/a/x.m3u8", "/a/x.json"]
ENDINGS = "m4s mp4 m4v m4a cmfv cmfa cmft ts aac vtt m4s.0 m4s.12"
MEDIA = [f"/a/x.{ending}" for ending in ENDINGS.split()]
OTHER = ["/a/x", "/a/x.bin", "/a/x.M4S", "/a/m4s", "/a/x.mpd.bak", "/a/x.m4s.tmp"]


@pytest.mark.parametrize("name", [*ATOMIC, *MEDIA, *OTHER])
async def test_the_built_in_table(site: Site, name: str) -> None:
    missing = await site.get(name)
    assert missing.fields["cache-control"] == "no-store"
    writer = await site.upload(name)
    await writer.chunk(b"abc")
    shown = await site.ask("HEAD", name)
    if name in ATOMIC:
        assert shown.status == 404
    else:
        assert shown.fields["cache-control"] == "no-store"
    await writer.end()
    complete = (await site.get(name)).fields["cache-control"]
    assert complete == ("public, max-age=60" if name in MEDIA else "no-cache")
    began = trio.current_time()
    await site.get(name.replace("x", "y"))  # the folder is live: media segments are held for
    assert trio.current_time() - began == pytest.approx(2 if name in MEDIA else 0)
    listed = await site.ask("LIST", name, "Accept: application/json")
    assert [one["expires"] for one in listed.json["objects"]] == [None]  # no ttl


async def test_rows_of_the_user_come_first(open_site: OpenSite) -> None:
    site = await open_site(
        policies=[
            {"match": "/live/*.m4s", "cache_complete": "max-age=9", "cache_open": "max-age=1"},
            {"match": "/live/", "cache_complete": "max-age=8", "cache_missing": "max-age=2"},
        ]
    )
    writer = await site.upload("/live/x.m4s")
    await writer.chunk(b"abc")
    assert (await site.ask("HEAD", "/live/x.m4s")).fields["cache-control"] == "max-age=1"
    await writer.end()
    assert (await site.get("/live/x.m4s")).fields["cache-control"] == "max-age=9"
    await site.put("/live/x.mpd", b"")
    assert (await site.get("/live/x.mpd")).fields["cache-control"] == "max-age=8"
    assert (await site.get("/live/none")).fields["cache-control"] == "max-age=2"


async def test_ttl(open_site: OpenSite) -> None:
    site = await open_site(ttl_s=60.0, policies=[{"match": "/short/", "ttl": "5s"}])
    await site.put("/short/x", b"abc")
    await site.put("/long", b"abc")
    await trio.sleep(4.9)
    assert (await site.get("/short/x")).status == 200
    await trio.sleep(0.2)
    assert await site.list() == ["/long"]
    await trio.sleep(55)
    assert await site.list() == []
    assert site.used_bytes == 0
    assert site.origin.metrics.expired == 2


async def test_readers_of_an_expired_object_finish(open_site: OpenSite) -> None:
    site = await open_site(ttl_s=5.0)
    body = b"x" * 400_000
    await site.put("/x", body)
    reader = site.connect(lockstep=True)
    await reader.begin("/x")
    await trio.sleep(5.1)
    assert (await site.get("/x")).status == 404
    answer = await reader.rest()
    assert (answer.body, answer.is_whole) == (body, True)
    await site.check_nothing_left()


async def test_an_open_upload_does_not_expire(open_site: OpenSite) -> None:
    site = await open_site(ttl_s=5.0)
    writer = await site.upload("/x")
    for _ in range(3):
        await writer.chunk(b"abc")
        await trio.sleep(4)
    assert (await writer.end()).status == 201
    await trio.sleep(4.9)
    assert (await site.get("/x")).status == 200


async def test_max_object(open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": "/tiny/", "max_object": 10}])
    assert (await site.put("/tiny/x", b"x" * 10)).status == 201
    assert (await site.put("/tiny/x", b"x" * 11)).status == 413
    writer = await site.upload("/tiny/x")
    await writer.chunk(b"x" * 11)
    assert (await writer.answer()).status == 413
    assert (await site.put("/x", b"x" * 11)).status == 201


async def test_upload_idle(open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": "/fast/", "upload_idle": "2s"}])
    writer = await site.upload("/fast/x")
    began = trio.current_time()
    assert (await writer.answer()).status == 408
    assert 2 <= trio.current_time() - began <= 2.5


async def test_evict(open_site: OpenSite) -> None:
    site = await open_site(memory_bytes=3000, policies=[{"match": "/keep/", "evict": False}])
    await site.put("/keep/x", b"x" * 1000)
    await site.put("/1", b"x" * 1000)
    await site.put("/2", b"x" * 1000)
    assert await site.list() == ["/2", "/keep/x"]
    await site.put("/keep/y", b"x" * 1000)
    assert await site.list() == ["/keep/x", "/keep/y"]
    assert (await site.put("/3", b"x" * 1000)).status == 507


async def test_hold_and_atomic_by_the_user(open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": "*.seg", "hold": "3s", "atomic": True}])
    writer = await site.upload("/a/1.seg")
    await writer.chunk(b"abc")
    assert (await site.ask("HEAD", "/a/1.seg")).status == 404
    await writer.end()
    began = trio.current_time()
    assert (await site.get("/a/2.seg")).status == 404
    assert trio.current_time() - began == pytest.approx(3)
