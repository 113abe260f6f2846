"""Overwrites, atomic names, rollback, and a second writer of the same path."""

from __future__ import annotations

import pytest

from tests.origin.conftest import OpenSite
from tests.origin.drive import Site


async def test_an_overwrite_shows_from_its_first_byte(site: Site) -> None:
    old = await site.put("/x", b"old")
    writer = await site.upload("/x")
    assert (await site.get("/x")).body == b"old"  # no byte of the new one yet
    await writer.chunk(b"new")
    reader = await site.follow("/x")
    receipt = await writer.end()
    assert receipt.status == 200
    assert (await reader.rest()).body == b"new"
    assert receipt.etag != old.etag
    await site.check_nothing_left()


async def test_readers_of_a_complete_one_finish_it(site: Site) -> None:
    old = bytes(range(256)) * 2000
    await site.put("/x", old)
    reader = site.connect(lockstep=True)
    await reader.begin("/x")
    writer = await site.upload("/x")
    await writer.chunk(b"new")
    charged = site.used_bytes
    await writer.end()
    assert site.used_bytes == charged  # both are in the budget while somebody reads the old one
    answer = await reader.rest()
    assert (answer.body, answer.is_whole) == (old, True)
    await site.check_nothing_left()


async def test_an_aborted_overwrite_rolls_back(site: Site) -> None:
    old = await site.put("/x", b"old")
    for _ in range(3):
        writer = await site.upload("/x")
        await writer.chunk(b"new")
        assert (await site.ask("HEAD", "/x")).etag != old.etag
        await writer.kill()
        got = await site.get("/x")
        assert (got.body, got.etag) == (b"old", old.etag)
    await site.check_nothing_left()


@pytest.mark.parametrize("name", ["/a/live.mpd", "/a/live.m3u8", "/a/meta.json"])
async def test_atomic_names_switch_when_complete(site: Site, name: str) -> None:
    first = await site.upload(name)
    await first.chunk(b"one")
    assert (await site.ask("HEAD", name)).status == 404
    assert await site.list() == []
    await first.end()
    second = await site.upload(name)
    await second.chunk(b"two, in part")
    got = await site.get(name)
    assert (got.body, got.fields["content-length"]) == (b"one", "3")
    assert "chunkstore-state" not in got.fields
    await second.kill()
    assert (await site.get(name)).body == b"one"
    third = await site.upload(name)
    await third.chunk(b"three")
    assert (await third.end()).status == 200
    assert (await site.get(name)).body == b"three"


async def test_the_newest_writer_wins(site: Site) -> None:
    first = await site.upload("/x")
    await first.chunk(b"first")
    reader = await site.follow("/x")
    second = await site.upload("/x")
    displaced = await first.answer()
    assert displaced.status == 409
    assert "connection" not in displaced.fields
    assert (await reader.rest()).is_whole is False  # as after an abort
    await second.chunk(b"second")
    assert (await second.end()).status == 201
    assert (await site.get("/x")).body == b"second"
    assert site.origin.metrics.aborts["displaced"] == 1
    # The rest of the displaced body is read away, and its connection lives on.
    await first.client.send(b"4\r\nmore\r\n0\r\n\r\n")
    assert (await first.client.ask("GET", "/x")).body == b"second"
    await site.check_nothing_left()


async def test_displacement_keeps_the_complete_one_to_roll_back_to(site: Site) -> None:
    await site.put("/x", b"old")
    first, second = await site.upload("/x"), await site.upload("/x")
    await second.chunk(b"second")
    await second.kill()
    assert (await first.answer()).status == 409
    assert (await site.get("/x")).body == b"old"
    await site.check_nothing_left()


async def test_the_displaced_writers_bytes_are_never_mixed_in(site: Site) -> None:
    first = await site.upload("/x")
    await first.chunk(b"first")
    second = await site.upload("/x")
    await first.chunk(b"more of the first")
    await second.chunk(b"second")
    await second.end()
    assert (await site.get("/x")).body == b"second"


async def test_single_writer_policy_refuses_the_newcomer(open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": "/s/", "single_writer": True}])
    first = await site.upload("/s/x")
    await first.chunk(b"first")
    assert (await site.put("/s/x", b"second")).status == 409
    assert (await first.end()).status == 201
    assert (await site.put("/s/x", b"second")).status == 200
