"""DELETE of complete and open objects: at once, for everybody."""

from __future__ import annotations

from trio.testing import wait_all_tasks_blocked

from tests.origin.drive import Site


async def test_delete_of_a_complete_object(site: Site) -> None:
    etag = (await site.put("/x", b"abc")).etag
    answer = await site.ask("DELETE", "/x")
    assert answer.status == 200
    assert answer.fields["content-type"] == "application/json"
    assert answer.json["path"] == "/x"
    assert answer.json["deleted"] == [{"etag": etag, "bytes": 3, "was_open": False}]
    assert (await site.get("/x")).status == 404
    assert await site.list() == []
    assert site.used_bytes == 0


async def test_delete_of_nothing(site: Site) -> None:
    for _ in range(2):
        answer = await site.ask("DELETE", "/x")
        assert answer.status == 404
        assert answer.fields["content-type"] == "application/problem+json"
    assert (await site.ask("DELETE", "/a/../b")).status == 400


async def test_delete_during_a_put_with_128_readers(site: Site) -> None:
    await site.put("/x", b"old")
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    readers = [await site.follow("/x") for _ in range(128)]
    await readers[0].until(3)
    answer = await site.ask("DELETE", "/x")
    assert [one["was_open"] for one in answer.json["deleted"]] == [True, False]
    assert (await site.get("/x")).status == 404  # not the old one either
    for reader in readers:
        cut = await reader.rest()
        assert cut.is_whole is False
        assert b"abc".startswith(cut.body)
    assert (await writer.answer()).status == 410
    assert site.origin.metrics.endings["deleted"] == 128
    assert site.origin.metrics.aborts["deleted"] == 1
    await site.check_nothing_left()


async def test_the_deleted_writers_connection_lives_on(site: Site) -> None:
    writer = await site.upload("/x")
    await writer.chunk(b"abc")
    await site.ask("DELETE", "/x")
    answer = await writer.end()
    assert answer.status == 410
    assert "connection" not in answer.fields
    assert (await writer.client.ask("PUT", "/x", body=b"again")).status == 201


async def test_delete_cuts_a_body_of_a_complete_object(site: Site) -> None:
    await site.put("/x", b"x" * 400_000)
    reader = site.connect(lockstep=True)
    await reader.begin("/x")
    await site.ask("DELETE", "/x")
    assert (await reader.rest()).is_whole is False
    assert site.used_bytes == 0
    await site.check_nothing_left()


async def test_delete_of_an_upload_without_a_byte(site: Site) -> None:
    writer = await site.upload("/x")
    assert (await site.ask("DELETE", "/x")).status == 200
    assert (await writer.answer()).status == 410
    await site.check_nothing_left()


async def test_delete_with_a_condition(site: Site) -> None:
    etag = (await site.put("/x", b"abc")).etag
    assert (await site.ask("DELETE", "/x", 'If-Match: "other"')).status == 412
    assert (await site.ask("DELETE", "/x", f"If-Match: {etag}")).status == 200


async def test_delete_then_put_is_a_new_generation(site: Site) -> None:
    first = (await site.put("/x", b"abc")).etag
    await site.ask("DELETE", "/x")
    second = await site.put("/x", b"abc")
    assert second.status == 201
    assert second.etag != first
    assert (await site.get("/x", f"If-None-Match: {first}")).status == 200


async def test_a_held_get_outlives_a_delete(site: Site) -> None:
    await site.upload("/x")
    reader = site.connect()
    await reader.request("GET", "/x", "Prefer: wait=5")
    await wait_all_tasks_blocked()
    await site.ask("DELETE", "/x")
    await site.put("/x", b"next")
    assert (await reader.read()).body == b"next"
