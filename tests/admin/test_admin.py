"""Who may ask the admin listener what, and what it says."""

from __future__ import annotations

import json
import re

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chunkstore.journal import KEPT_COUNT
from tests.admin.conftest import Office
from tests.origin.drive import Client

PATHS = ("/metrics", "/objects", "/connections", "/health/live", "/health/ready", "/time")


@pytest.mark.parametrize("path", PATHS)
async def test_each_path_answers_get_and_head(office: Office, path: str) -> None:
    answer = await office.get(path)
    assert answer.status == 200
    assert answer.body
    assert answer.fields["cache-control"] == "no-store"
    client = office.connect()
    head = await client.ask("HEAD", path, "Host: localhost")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8081", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8081"]
)
async def test_names_of_this_machine(office: Office, host: str) -> None:
    assert (await office.get("/health/live", f"Host: {host}")).status == 200


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:8081", "192.0.2.1", "[2001:db8::1]:1", "localhost.evil.test"]
)
async def test_a_foreign_name_that_leads_here_is_refused(office: Office, host: str) -> None:
    for path in (*PATHS, "/events", "/"):
        assert (await office.get(path, f"Host: {host}")).status == 421


async def test_what_is_not_there_or_not_allowed(office: Office) -> None:
    assert (await office.get("/nothing")).status == 404
    for method in ("PUT", "DELETE", "POST", "LIST"):
        answer = await office.connect().ask(method, "/metrics", "Host: localhost", body=b"")
        assert answer.status in (405, 501)


async def test_not_ready_while_draining(office: Office) -> None:
    upload = await office.site.upload("/x")
    await upload.chunk(b"one")
    office.site.origin.server.stop()
    await wait_all_tasks_blocked()
    assert (await office.get("/health/ready")).status == 503
    assert (await office.get("/health/live")).status == 200


async def test_time_is_iso_8601(office: Office) -> None:
    body = (await office.get("/time")).body.decode()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body)


async def test_objects(office: Office) -> None:
    await office.site.put("/b", b"hello")
    upload = await office.site.upload("/a%20live")
    await upload.chunk(b"one")
    await office.site.follow("/a%20live")
    await trio.sleep(2)
    await upload.chunk(b"two")
    await trio.sleep(1)
    found = (await office.get("/objects")).json
    assert [row["path"] for row in found["objects"]] == ["/a%20live", "/b"]
    live = found["objects"][0]
    assert (live["state"], live["bytes"], live["chunks"], live["readers"]) == ("open", 6, 2, 1)
    assert (live["longest_gap_s"], live["silent_s"]) == (2.0, 1.0)
    assert found["next"] is None
    rows = (await office.get("/objects?open")).json["objects"]
    assert rows == [live]
    assert (await office.get("/objects?after=/a%20live")).json["objects"] == found["objects"][1:]


async def test_connections(office: Office) -> None:
    upload = await office.site.upload("/x")
    await upload.chunk(b"one")
    await trio.sleep(2)
    found = (await office.get("/connections")).json
    assert found["count"] == 1
    [row] = found["connections"]
    assert (row["method"], row["path"], row["generation"], row["age_s"]) == ("PUT", "/x", 1, 2.0)


async def events(client: Client, count: int) -> list[tuple[int, str, dict[str, object]]]:
    """Read so many events."""
    while (body := (await client.until(0)).body).count(b"\ndata: ") < count:
        assert await client.more()
    found = re.findall(r"id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n", body.decode())
    return [(int(number), kind, json.loads(data)) for number, kind, data in found]


async def test_events_tell_what_happens(office: Office) -> None:
    client = office.connect()
    answer = await client.begin("/events", "Host: localhost")
    assert answer.fields["content-type"] == "text/event-stream"
    first = await office.site.upload("/x")
    await first.chunk(b"one")
    await office.site.follow("/x")
    second = await office.site.upload("/x")
    await second.chunk(b"onetwo")
    await second.end()
    await office.site.ask("DELETE", "/x")
    found = await events(client, 6)
    assert [(kind, data["generation"]) for _, kind, data in found] == [
        ("created", 1),
        ("displaced", 1),
        ("created", 2),
        ("taken_over", 2),
        ("complete", 2),
        ("deleted", 2),
    ]
    assert found[3][2]["readers"] == 1
    assert [number for number, _, _ in found] == [1, 2, 3, 4, 5, 6]


async def test_events_go_on_after_the_last_one_seen(office: Office) -> None:
    for _ in range(3):
        await office.site.put("/x", b"hello")
    client = office.connect()
    await client.begin("/events", "Host: localhost", "Last-Event-ID: 4")
    assert [number for number, _, _ in await events(client, 2)] == [5, 6]


@pytest.mark.parametrize("seen", ["0", "999999", "1" * 18])
async def test_what_is_forgotten_is_said(office: Office, seen: str) -> None:
    count = KEPT_COUNT // 2 + 10
    for _ in range(count):
        await office.site.put("/x", b"hello")
    client = office.connect()
    await client.begin("/events", "Host: localhost", f"Last-Event-ID: {seen}")
    found = await events(client, KEPT_COUNT + 1)
    body = (await client.until(0)).body
    assert b'event: lost\ndata: {"count": 20}\n\n' in body
    assert [number for number, _, _ in found] == list(range(21, KEPT_COUNT + 21))


@pytest.mark.parametrize("seen", ["x", "", "-1", "9" * 5000, "\u0661"])
async def test_an_id_that_is_none_begins_now(office: Office, seen: str) -> None:
    await office.site.put("/x", b"hello")
    client = office.connect()
    line = f"Last-Event-ID: {seen}".encode().decode("latin-1")
    await client.begin("/events", "Host: localhost", line)
    await office.site.put("/y", b"hello")
    assert {data["path"] for _, _, data in await events(client, 2)} == {"/y"}


async def test_silence_is_broken_and_who_left_is_noticed(office: Office) -> None:
    client = office.connect()
    await client.begin("/events", "Host: localhost")
    began = trio.current_time()
    await client.until(len("retry: 1000\n\n"))
    assert await client.more() == b":\n\n"
    assert trio.current_time() - began == pytest.approx(15)
    await client.close()
    await trio.sleep(31)
    assert not office.admin.server.connections
    assert not office.site.origin.catalog.journal.watchers
